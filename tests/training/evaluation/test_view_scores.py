"""Tables of scores as files: whole or refused, with what they say of themselves, in the form that older ones have."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.training.evaluation.evaluate import VideoScores, read_scores, write_scores
from kinebert.training.evaluation.view_scores import (
    About,
    ScoreTable,
    ViewScores,
    is_views,
    list_column,
    matrix_of,
    read_views,
    write_views,
)

ABOUT: About = {
    "modality": "rgb",
    "split": "split1",
    "part": "test",
    "shards": "0123456789ab",
    "content": "c0",
    "protocol": {"clips": "multi", "crops": 3},
    "checkpoint": "ba9876543210",
    "run_folder": "/runs/öl",
    "recipe": {"resize": "none"},
    "model": "resnet18 + bert",
    "epoch": 7,
}


def views() -> ViewScores:
    return ViewScores(
        video_ids=["b", "a", "ü"],
        labels=np.array([1, 0, 2]),
        classes=["open", "close", "wave"],
        rejected=[{"video_id": "x", "problem": "no frame decodes"}],
        about=ABOUT,
        notes=["1 of 3 videos is short"],
        videos=np.array([0, 0, 1, 2, 2]),
        clips=np.array([0, 1, 0, 0, 0]),
        crops=np.array([0, 0, 0, 0, 1]),
        starts=np.array([0, 16, 3, 0, 0]),
        logits=np.array([[1, 2, 3], [4, 5, 6], [-1, 0, 1e30], [0, 0, 0], [7, 8, 9]], np.float32),
    )


def videos(about: About) -> VideoScores:
    return VideoScores(
        video_ids=["b", "a"],
        labels=np.array([1, 0]),
        classes=["open", "close"],
        about=about,
        scores=np.array([[0.1, 0.9], [2, -2]], np.float32),
        num_clips=np.array([3, 1]),
    )


def test_views_come_back_as_they_were(tmp_path: Path) -> None:
    uri = str(tmp_path / "views.parquet")
    write_views(uri, views())
    before, after = views(), read_views(uri)
    for name in ("video_ids", "classes", "rejected", "about", "notes"):
        assert getattr(after, name) == getattr(before, name), name
    for name in ("labels", "videos", "clips", "crops", "starts", "logits"):
        found, expected = getattr(after, name), getattr(before, name)
        np.testing.assert_array_equal(found, expected, name)
        assert found.dtype == expected.dtype, name
    assert is_views(uri)


def test_columns_that_other_programs_read(tmp_path: Path) -> None:
    uri = str(tmp_path / "views.parquet")
    write_views(uri, views())
    table = pq.read_table(uri)
    assert table.column_names == ["video_id", "label", "clip", "crop", "start", "logits"]
    assert table["video_id"].to_pylist() == ["b", "b", "a", "ü", "ü"]
    assert table["label"].to_pylist() == [1, 1, 0, 2, 2]
    assert table.schema.field("logits").type == pa.list_(pa.float32(), 3)
    meta = json.loads(table.schema.metadata[b"kinebert_views"])
    assert list(meta) == ["format", "classes", "rejected", "about", "notes"]
    assert meta["about"] == ABOUT


@pytest.mark.parametrize(
    ("about", "scale", "tested", "part"),
    [
        (ABOUT, "logits", "None", "split1/test"),
        ({**ABOUT, "scale": "probabilities", "views": "multi-x3"}, "probabilities", "multi-x3", "split1/test"),
        (
            {"streams": [{"views": "multi"}, {"views": "multi"}], "split": None, "part": None},
            "logits",
            "multi",
            "None/None",
        ),
        ({"streams": [{"views": "multi"}, {"views": "single"}], "scale": "sums"}, "sums", "multi+single", "None/None"),
        ({}, "logits", "None", "None/None"),
    ],
)
def test_what_a_table_says_of_itself(about: Any, scale: str, tested: str, part: str, tmp_path: Path) -> None:
    """Also one of an older version, or of a fusion, that does not know everything."""
    write_scores(str(tmp_path / "s.parquet"), videos(cast(About, about)))
    found = read_scores(str(tmp_path / "s.parquet"))
    assert found.about == about
    assert (found.scale, found.views, found.tested_part) == (scale, tested, part)


def test_one_kind_of_table_is_not_taken_for_the_other(tmp_path: Path) -> None:
    write_views(str(tmp_path / "views.parquet"), views())
    write_scores(str(tmp_path / "scores.parquet"), videos(ABOUT))
    assert not is_views(str(tmp_path / "scores.parquet"))
    with pytest.raises(UserError, match=r"views.parquet: not a table of scores. Give a file that `kinebert evaluate`"):
        read_scores(str(tmp_path / "views.parquet"))
    with pytest.raises(UserError, match=r"scores.parquet: not a table of scores of views. Give a views.parquet"):
        read_views(str(tmp_path / "scores.parquet"))


@pytest.mark.parametrize("harm", ["cut", "text", "empty", "of another program", "of a later version", "gone"])
def test_other_files_are_refused_by_name(harm: str, tmp_path: Path) -> None:
    path = tmp_path / "views.parquet"
    write_views(str(path), views())
    whole = path.read_bytes()
    if harm == "of another program":
        pq.write_table(pa.table({"video_id": ["a"]}), path)
    elif harm == "of a later version":
        meta = {b"kinebert_views": json.dumps({"format": 2})}
        pq.write_table(pq.read_table(path).replace_schema_metadata(meta), path)
    elif harm == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": whole[:-20], "text": b"video_id,label\n", "empty": b""}[harm])
    with pytest.raises(UserError, match=r"views\.parquet"):
        read_views(str(path))


def spoilt(path: Path, key: bytes, change: Any) -> None:
    """Change what a table says of itself, or replace it by a text."""
    table = pq.read_table(path)
    text = change
    if callable(change):
        meta = json.loads(table.schema.metadata[key])
        change(meta)
        text = json.dumps(meta)
    pq.write_table(table.replace_schema_metadata({key: text}), path)


@pytest.mark.parametrize("kind", ["views", "scores"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("", "it is empty"),
        ("[" * 50_000, "nested too deeply"),
        ("[]", "not a table of scores"),
        (lambda meta: meta.pop("classes"), "the key 'classes'"),
        (lambda meta: meta.pop("notes"), "the key 'notes'"),
        (lambda meta: meta.update(about=[]), "about: expected About"),
        (lambda meta: meta["about"].update(epoch="7"), "about: epoch: expected int, got '7'"),
        (lambda meta: meta["about"].update(streams=[1]), r"about: streams\[0\]: expected About, got 1"),
        (lambda meta: meta.update(classes=["a"]), "it names 1 classes, and has rows of "),
        (lambda meta: meta.update(rejected=[{"video_id": 1}]), "expected str, got 1"),
    ],
)
def test_what_a_table_says_of_itself_is_checked(kind: str, change: Any, reason: str, tmp_path: Path) -> None:
    path = tmp_path / f"{kind}.parquet"
    if kind == "views":
        write_views(str(path), views())
    else:
        write_scores(str(path), videos(ABOUT))
    spoilt(path, f"kinebert_{kind}".encode(), change)
    with pytest.raises(UserError, match=rf"{kind}\.parquet: .*{reason}") as told:
        read_views(str(path)) if kind == "views" else read_scores(str(path))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["video_id", "label", "scores", "num_clips"])
def test_columns_that_are_missing_or_of_another_type_are_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    write_scores(str(path), videos(ABOUT))
    table = pq.read_table(path)
    for changed in (
        table.drop_columns([name]),
        table.set_column(table.schema.get_field_index(name), name, pa.array([["x"], ["x"]])),
        table.set_column(table.schema.get_field_index(name), name, pa.nulls(2, pa.string())),
    ):
        pq.write_table(changed, path)
        with pytest.raises(UserError, match=rf"scores\.parquet: .*column '{name}'"):
            read_scores(str(path))


def test_a_full_disk_leaves_the_table_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = str(tmp_path / "scores.parquet")
    write_scores(uri, videos(ABOUT))
    before = storage.read_bytes(uri)

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full_disk)
    with pytest.raises(UserError, match="cannot write the scores: no space is left"):
        write_scores(uri, videos({**ABOUT, "epoch": 8}))
    assert storage.read_bytes(uri) == before
    assert storage.list_files(str(tmp_path)) == ["scores.parquet"]


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (5, 4)])
def test_matrices_are_columns_of_lists(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    for order in (matrix, np.asfortranarray(matrix), matrix.astype(np.float64)):
        column = list_column(order)
        assert column.to_pylist() == matrix.tolist()
        np.testing.assert_array_equal(matrix_of(pa.chunked_array([column]), shape[1]), matrix)
        if shape[0] > 1:
            halves = pa.chunked_array([column[:2], column[2:]])
            np.testing.assert_array_equal(matrix_of(halves, shape[1]), matrix)


def test_tables_do_not_share_what_they_say() -> None:
    one, other = (ScoreTable(video_ids=[], labels=np.zeros(0, np.int64), classes=[]) for _ in range(2))
    one.about["epoch"] = 1
    one.notes.append("short")
    assert (other.about, other.notes) == ({}, [])
