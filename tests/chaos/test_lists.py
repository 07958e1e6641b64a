"""Lists mutilated in hundreds of ways: each run understands its list, or refuses it in one line that names the file.

No run may end in a traceback, hang, or put a random split in the place of the one that the list gives.
"""

import json
import os
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import pytest

import kinebert.pipelines.index_videos as program
from kinebert.orchestration.jobs import indexing
from kinebert.preprocessing.datasets.manifest import PARTS
from kinebert.preprocessing.video.probe import Facts
from tests.helpers.lists import touch, ucf101_lists, write

NUM_RUNS = 300
LONGEST_S = 20
WORDS = [part for part in PARTS for _ in range(4)]
YOUTUBE = [f"abcdefghij{i:x}" for i in range(12)]


@dataclass(frozen=True)
class Source:
    """A data set whose lists give a split, and how it is indexed."""

    name: str
    lists: tuple[Path, ...]
    args: tuple[str, ...]


def csv_source(root: Path, name: str, delimiter: str, numbers: bool, end: str) -> Source:
    touch(root, [f"clips/c{i}.mp4" for i in range(12)])
    label = [str(i % 2) if numbers else ("run", "jump")[i % 2] for i in range(12)]
    rows = [("path", "label", "split", "note")]
    rows += [(f"clips/c{i}.mp4", label[i], WORDS[i], "a") for i in range(12)]
    write(root, {name: "".join(delimiter.join(row) + end for row in rows)})
    return Source("csv", (root / name,), (str(root / name),))


def three_lists(root: Path) -> Source:
    touch(root, [f"clips/c{i}.mp4" for i in range(12)])
    lists = {
        f"{part}.txt": "".join(f"clips/c{i}.mp4 {i % 2}\n" for i in range(12) if WORDS[i] == part) for part in PARTS
    }
    write(root, lists)
    return Source("csv", tuple(root / name for name in lists), tuple(str(root / name) for name in lists))


def kinetics(root: Path) -> Source:
    touch(root / "videos", [f"{name}_000001_000011.mp4" for name in YOUTUBE])
    rows = [f"{('run', 'jump')[i % 2]},{name},1,11,{WORDS[i]}\n" for i, name in enumerate(YOUTUBE)]
    write(root, {"all.csv": "label,youtube_id,time_start,time_end,split\n" + "".join(rows)})
    return Source("kinetics", (root / "all.csv",), (str(root / "videos"), str(root / "all.csv")))


def ava(root: Path) -> Source:
    touch(root / "videos", [f"{name}.mp4" for name in YOUTUBE])
    lists = {
        f"ava_{part}_v2.2.csv": "".join(
            f"{name},0902,0.1,0.1,0.9,0.9,{1 + i % 2},{i}\n" for i, name in enumerate(YOUTUBE) if WORDS[i] == part
        )
        for part in PARTS
    }
    write(root / "lists", lists)
    actions = "".join(f'label {{\n  name: "{name}"\n  label_id: {i}\n}}\n' for i, name in ((1, "run"), (2, "jump")))
    write(root / "lists", {"ava_action_list_v2.2.pbtxt": actions})
    paths = tuple(root / "lists" / name for name in (*lists, "ava_action_list_v2.2.pbtxt"))
    return Source("ava", paths, (str(root / "videos"), *map(str, paths)))


def hmdb51(root: Path) -> Source:
    names = {label: [f"{label}{i}.avi" for i in range(6)] for label in ("run", "jump")}
    touch(root / "videos", [f"{label}/{name}" for label, listed in names.items() for name in listed])
    lists = {
        f"{label}_test_split1.txt": "".join(f"{name} {1 + i % 2} \n" for i, name in enumerate(listed))
        for label, listed in names.items()
    }
    write(root / "lists", lists)
    return Source("hmdb51", tuple(root / "lists" / name for name in lists), (str(root / "videos"), str(root / "lists")))


def ucf101(root: Path) -> Source:
    lists = Path(ucf101_lists(root / "lists"))
    names = [f"{c}/v_{c}_g{g:02d}_c01.avi" for c in ("ApplyEyeMakeup", "HandstandPushups", "YoYo") for g in (1, 2, 3)]
    touch(root / "videos", names)
    return Source("ucf101", tuple(sorted(lists.iterdir())), (str(root / "videos"), str(lists)))


def ssv2(root: Path) -> Source:
    touch(root / "videos", [f"{i}.webm" for i in range(12)])
    entries = [{"id": str(i), "template": f"Holding [something] {'ab'[i % 2]}"} for i in range(12)]
    lists = {
        "labels.json": json.dumps({"Holding something a": "0", "Holding something b": "1"}, indent=1),
        "train.json": json.dumps(entries[:6], indent=1),
        "validation.json": json.dumps(entries[6:9], indent=1),
        "test.json": json.dumps([{"id": entry["id"]} for entry in entries[9:]], indent=1),
        "test-answers.csv": "".join(f"{i};Holding something {'ab'[i % 2]}\n" for i in range(9, 12)),
    }
    write(root / "lists", lists)
    return Source("ssv2", tuple(root / "lists" / name for name in lists), (str(root / "videos"), str(root / "lists")))


MAKERS: dict[str, Callable[[Path], Source]] = {
    "csv with commas": lambda root: csv_source(root, "list.csv", ",", True, "\n"),
    "csv with semicolons": lambda root: csv_source(root, "list.csv", ";", False, "\r\n"),
    "csv with tabs": lambda root: csv_source(root, "list.tsv", "\t", True, "\r"),
    "three lists": three_lists,
    "kinetics": kinetics,
    "ava": ava,
    "hmdb51": hmdb51,
    "ucf101": ucf101,
    "ssv2": ssv2,
}

Mutilation = Callable[[random.Random, bytes], bytes]


STRANGE = (
    *(b"\0", b'"', b"'", b",", b";", b"\t", b"|", b"#", b"\\", b"\r", b"\n\n", b"\xff", b"\xef\xbb\xbf", b"\x1b[2J"),
    *("\u2028".encode(), "\u202e".encode(), b"a" * 200_000, b"9" * 5000, b"nan", b"1e400", b"[" * 50_000),
)
"""What comes between the characters of a list by accident, or on purpose."""


def _flip(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 3, 20))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def _hole(rng: random.Random, data: bytes) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.randrange(1, 30) :]


def _insert(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data))
    thing = rng.choice(STRANGE)
    return data[:at] + thing + data[at:]


def _words(rng: random.Random, data: bytes) -> bytes:
    """One word becomes what people and programs write by mistake."""
    words = [word for word in (b"train", b"val", b"test", b"0", b"1", b"11", b"run", b"jump") if word in data]
    word = rng.choice(words or [data[:1]])
    new = rng.choice([b"tset", b"99999999999", b"-1", b"-7", b"0.5", b"3.0", b"", b"inf", b"1e9", b"walk", b"None"])
    parts = data.split(word)
    at = rng.randrange(1, len(parts))
    return word.join(parts[:at]) + new + word.join(parts[at:])


def _lines(rng: random.Random, data: bytes) -> bytes:
    """Lines change places, are lost or come twice."""
    lines = data.splitlines(keepends=True)
    do = rng.randrange(3)
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    if do == 0:
        lines[i], lines[j] = lines[j], lines[i]
    elif do == 1:
        lines.insert(j, lines[i])
    else:
        del lines[i]
    return b"".join(lines)


def _encoding(rng: random.Random, data: bytes) -> bytes:
    encoding = rng.choice(["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "utf-7", "cp037"])
    return data.decode().encode(encoding)


def _ends(rng: random.Random, data: bytes) -> bytes:
    return (
        data.replace(b"\r\n", b"\n")
        .replace(b"\r", b"\n")
        .replace(b"\n", rng.choice([b"\r", b"\r\n", b"\n\r", b"\r\r\n"]))
    )


def _other(rng: random.Random, _: bytes) -> bytes:
    """Something else has the list's name."""
    return rng.choice(
        [b"", b"\n" * 9, b"PK\x03\x04", b"{}", b"[]", b"null", b"<html>", b"sep=;", b"\xff\xfe", b"a", b"0 0"]
    )


MUTILATIONS: Sequence[Mutilation] = (_flip, _cut, _hole, _insert, _words, _lines, _encoding, _ends, _other)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """No video is opened; a call for a random split is noted."""
    made: list[int] = []
    make_split = indexing.make_split  # type: ignore[attr-defined]

    def probe(paths: Sequence[str], **_: object) -> list[Facts]:
        return [Facts(bytes=1) if os.path.isfile(path) else Facts(problem="missing file") for path in paths]

    def noted(*args: object, **kwargs: object) -> dict[str, str]:
        made.append(1)
        return make_split(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(indexing, "probe_videos", probe)
    monkeypatch.setattr(indexing, "make_split", noted)
    return made


@pytest.fixture
def no_hang() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"a list took more than {LONGEST_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_a_mutilated_list_is_understood_or_refused_in_one_line(
    name: str, tmp_path: Path, quick: list[int], no_hang: None, capsys: pytest.CaptureFixture[str]
) -> None:
    source = MAKERS[name](tmp_path / "data")
    output = tmp_path / "m.parquet"
    args = [source.name, *source.args, "--output", str(output), "--max-problems", "0.5"]
    assert program.cli(args) == 0
    assert not quick
    capsys.readouterr()
    faults = []
    statuses = set()
    for seed in range(-(-NUM_RUNS // len(MAKERS))):
        rng = random.Random(f"{name} {seed}")
        victim = rng.choice(source.lists)
        whole = victim.read_bytes()
        mutilate = MUTILATIONS[seed % len(MUTILATIONS)]
        victim.write_bytes(mutilate(rng, whole))
        output.unlink(missing_ok=True)
        quick.clear()
        case = f"seed {seed}, {mutilate.__name__.strip('_')} of {victim.name}"
        signal.alarm(LONGEST_S)
        try:
            status = program.cli(args)
        except BaseException as error:  # a traceback is what is looked for
            status = 99
            faults.append(f"{case}: {type(error).__name__}: {str(error)[:200]}")
        signal.alarm(0)
        said = capsys.readouterr()
        statuses.add(status)
        told = said.err.splitlines()
        if status == 2 and not (len(told) == 1 and told[0].startswith("error: ") and len(told[0]) < 2000):
            faults.append(f"{case}: not one line: {said.err[:300]!r}")
        elif status == 2 and not any(
            str(path) in told[0] or path.name in told[0] for path in (*source.lists, victim.parent)
        ):
            faults.append(f"{case}: names no file: {told[0][:300]}")
        elif status == 2 and output.exists():
            faults.append(f"{case}: refused, and something is written")
        elif status in (0, 1) and quick:
            faults.append(f"{case}: a random split in the place of the one given: {said.out[:400]!r}")
        elif status not in (0, 1, 2, 99):
            faults.append(f"{case}: status {status}")
        victim.write_bytes(whole)
    assert faults == []
    assert statuses >= {0, 2}  # the mutilations are neither all harmless nor all fatal


@pytest.mark.parametrize("column", ["split", "split1", "Split_2"])
def test_an_empty_column_for_a_split_is_not_filled_at_random(
    column: str, tmp_path: Path, quick: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    touch(tmp_path, [f"c{i}.mp4" for i in range(12)])
    rows = "".join(f"c{i}.mp4,{i % 2},\n" for i in range(12))
    (tmp_path / "list.csv").write_text(f"path,label,{column}\n{rows}")
    assert program.cli(["csv", str(tmp_path / "list.csv"), "--output", str(tmp_path / "m")]) == 2
    assert (
        f"list.csv: line 2: the column {column} is empty, here and in all other lines. Fill" in capsys.readouterr().err
    )
    assert not quick
