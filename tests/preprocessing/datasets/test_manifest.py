"""The manifest survives the disk, and says what is wrong with one that is not a manifest."""

import random
import re
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinebert.preprocessing.datasets.manifest import (
    ManifestRow,
    check_ids,
    check_numbers,
    name_some,
    read_manifest,
    write_manifest,
)
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.schema import MANIFEST
from kinebert.preprocessing.video.intervals import Interval


def some_rows() -> list[ManifestRow]:
    names = ["b/(HQ) jump + run!", "a/日本ü", "a/x#;1"]
    rows = [
        ManifestRow(
            video_id=name,
            path=f"/videos/{name}.avi",
            label=int(name[0] == "b"),
            label_name=name[0],
            group=name,
            splits={"split2": "test", "split1": "train"},
            width=320,
            height=240,
            fps=29.97,
            duration_s=2.5,
            codec="mpeg4",
            rotation=-90,
            pixel_aspect=64 / 51,
            bytes=5_000_000_000,
        )
        for name in names
    ]
    return [
        *rows,
        ManifestRow(video_id="c", path="s3://b/c.mp4", label=-1, label_name="", group="c", problem="0 bytes"),
    ]


def test_reads_back_what_was_written_in_the_order_of_ids(tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    write_manifest(str(path), some_rows())
    assert read_manifest(str(path)) == sorted(some_rows(), key=lambda row: row.video_id)
    schema = pq.read_schema(path)
    assert schema.equals(MANIFEST)
    assert schema.field("fps").metadata == MANIFEST.field("fps").metadata
    assert [file.name for file in tmp_path.iterdir()] == ["manifest.parquet"]


def test_the_same_rows_in_any_order_give_the_same_bytes(tmp_path: Path) -> None:
    rows = some_rows()
    write_manifest(str(tmp_path / "one"), rows)
    random.Random(1).shuffle(rows)
    write_manifest(str(tmp_path / "two"), [replace(row, splits=dict(sorted(row.splits.items()))) for row in rows])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_failed_write_leaves_the_old_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "manifest.parquet"
    write_manifest(str(path), some_rows()[:2])

    def fail(table: pa.Table, where: Path, **_: object) -> None:
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kinebert.preprocessing.datasets.manifest.pq.write_table", fail)
    with pytest.raises(UserError, match="no space is left on the device"):
        write_manifest(str(path), some_rows())
    assert len(read_manifest(str(path))) == 2
    assert [file.name for file in tmp_path.iterdir()] == ["manifest.parquet"]


def test_refuses_ids_that_occur_twice_or_cannot_name_files(tmp_path: Path) -> None:
    rows = some_rows()
    with pytest.raises(UserError, match=r"^1 video id occurs more than once: a/日本ü\. "):
        write_manifest(str(tmp_path / "m"), [*rows, rows[1]])
    assert not (tmp_path / "m").exists()
    for wrong in ("", "/a", "a/../b", "a//b", "a\nb", "./a", "a/"):
        with pytest.raises(UserError, match=r"^1 video id cannot be used"):
            check_ids(["fine (1) + ü", wrong])
    with pytest.raises(UserError, match=r"^7 video ids occur more than once: 0, 1, 2, 3, 4 and 2 more\."):
        check_ids([str(i) for i in range(7)] * 2)


def test_says_what_is_wrong_with_a_manifest(tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    with pytest.raises(UserError, match=r"no such manifest. `kinebert index` makes one"):
        read_manifest(str(path))
    with pytest.raises(UserError, match="this is a folder"):
        read_manifest(str(tmp_path))
    path.write_text("video_id,path\n")
    with pytest.raises(UserError, match="not a Parquet file"):
        read_manifest(str(path))

    write_manifest(str(path), some_rows())
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["label_name", "problem"]), path)
    with pytest.raises(UserError, match="lacks the columns label_name, problem"):
        read_manifest(str(path))
    pq.write_table(table.slice(0, 0), path)
    with pytest.raises(UserError, match="has no videos"):
        read_manifest(str(path))
    pq.write_table(pa.concat_tables([table, table.slice(2, 1)]), path)
    with pytest.raises(UserError, match=r"1 video id occurs more than once: b/\(HQ\) jump \+ run!"):
        read_manifest(str(path))
    pq.write_table(table.set_column(2, "label", pa.array(["a", "b", "c", "d"])), path)
    with pytest.raises(UserError, match="another type"):
        read_manifest(str(path))
    pq.write_table(table.set_column(3, "label_name", pa.array(["a", "A", "b", ""])), path)
    with pytest.raises(UserError, match="label 0 has two names, 'a' and 'A'"):
        read_manifest(str(path))
    splits = pa.array([[("s", "training")]] * 4, MANIFEST.field("splits").type)
    pq.write_table(table.set_column(5, "splits", splits), path)
    with pytest.raises(UserError, match="split 's' says 'training'; it must be one of train, val, test"):
        read_manifest(str(path))


@pytest.mark.parametrize("labels", [[0, 50_000], [2, 3, -1], [], [*range(6001), 60_000]])
def test_numbers_of_classes_may_have_gaps(labels: list[int]) -> None:
    check_numbers(labels)


@pytest.mark.parametrize("labels", [[0, 2_000_000_000], [50_001], [*range(5000), 60_000, -1]])
def test_numbers_that_are_names_rather_are_refused(labels: list[int], tmp_path: Path) -> None:
    said = f"label {max(labels)}: classes are numbered from 0, and a network would have {max(labels) + 1} outputs"
    with pytest.raises(UserError, match=f"{said}.*make names of the numbers: c{max(labels)}"):
        check_numbers(labels)
    row = some_rows()[0]
    rows = [replace(row, video_id=f"v{label}", label=label, label_name=f"n{label}") for label in labels]
    write_manifest(str(tmp_path / "m"), rows)
    with pytest.raises(UserError, match=f"m: {said}"):
        read_manifest(str(tmp_path / "m"))


def test_names_some_and_counts_the_rest() -> None:
    assert name_some(["a", "b"]) == "a, b"
    assert name_some("abcdefg") == "a, b, c, d, e and 2 more"


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[31mred", "\x9b2J", "half\udc80"])
@pytest.mark.parametrize("kind", ["class", "group", "split"])
def test_refuses_names_with_control_characters(tmp_path: Path, kind: str, name: str) -> None:
    values = {"class": {"label_name": name}, "group": {"group": name}, "split": {"splits": {name: "train"}}}[kind]
    row = replace(some_rows()[0], **values)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=f"of a {kind}") as caught:
        write_manifest(str(tmp_path / "m"), [row])
    assert repr(name) in str(caught.value)


def test_segments_come_back_and_whole_videos_cost_no_column(tmp_path: Path) -> None:
    whole = ManifestRow(video_id="w", path="/v.mp4", label=0, label_name="a", group="v")
    parts = [
        replace(whole, video_id="p0", interval=Interval(0.1, 2.5, "s")),
        replace(whole, video_id="p1", interval=Interval(3, None, "frames")),
    ]
    write_manifest(str(tmp_path / "whole.parquet"), [whole])
    assert pq.read_schema(tmp_path / "whole.parquet").names == MANIFEST.names
    write_manifest(str(tmp_path / "parts.parquet"), [whole, *parts])
    assert pq.read_schema(tmp_path / "parts.parquet").names == [*MANIFEST.names, "start", "end", "unit"]
    assert read_manifest(str(tmp_path / "parts.parquet")) == [*parts, whole]


def test_fingerprints_come_back_and_manifests_without_cost_no_column(tmp_path: Path) -> None:
    without = ManifestRow(video_id="a", path="/a.mp4", label=0, label_name="a", group="a")
    rows = [without, replace(without, video_id="b", fingerprint="0" * 32, interval=Interval(0, 1, "s"))]
    write_manifest(str(tmp_path / "m.parquet"), rows)
    assert pq.read_schema(tmp_path / "m.parquet").names == [*MANIFEST.names, "start", "end", "unit", "fingerprint"]
    assert read_manifest(str(tmp_path / "m.parquet")) == rows
    earlier = pq.read_table(tmp_path / "m.parquet").drop_columns(["fingerprint"])
    pq.write_table(earlier, tmp_path / "m.parquet")
    assert read_manifest(str(tmp_path / "m.parquet")) == [replace(row, fingerprint=None) for row in rows]


@pytest.mark.parametrize(
    ("start", "end", "unit", "said"),
    [
        (2.0, 1.0, "s", "v: a segment ends after it begins, got 2.0 to 1.0 s"),
        (float("nan"), 1.0, "s", "v: a segment begins at 0 or later, got nan"),
        (-1.0, 1.0, "s", "v: a segment begins at 0 or later, got -1.0"),
        (None, 1.0, "s", "v: a segment begins at 0 or later, got None"),
        (0.5, 1.0, "frames", "v: frames have whole numbers, got 0.5 to 1.0"),
        (0.5, 1.0, "minutes", "v: the unit of a segment is s or frames, got 'minutes'"),
    ],
)
def test_a_manifest_with_an_impossible_segment_is_refused(
    start: float | None, end: float, unit: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.parquet"
    row = ManifestRow(video_id="v", path="/v.mp4", label=0, label_name="a", group="v")
    write_manifest(str(path), [replace(row, interval=Interval(0, 1, "s"))])
    table = pq.read_table(path)
    for name, value in (("start", start), ("end", end), ("unit", unit)):
        field = table.schema.field(name)
        table = table.set_column(table.schema.get_field_index(name), field, pa.array([value], field.type))
    pq.write_table(table, path)
    with pytest.raises(UserError, match=re.escape(said)):
        read_manifest(str(path))
