"""Files of a set and of a run that were edited, cut or damaged: programs take them or refuse them in one line."""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from kinebert.orchestration.jobs import training
from kinebert.pipelines import average, compare, evaluate, train, verify
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.training.checkpoints.recognizer import save_plain
from tests.helpers.sets import make_rows, make_set, small_recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PROGRAMS: dict[str, Callable[[Path], int]] = {
    "train": lambda f: train.cli([str(f / "recipe.toml"), "--output", str(f / "run")]),
    "evaluate": lambda f: evaluate.cli(
        [str(f / "run/best.pt"), "--shards", str(f / "set"), "--output", str(f / "new")]
    ),
    "verify": lambda f: verify.cli([str(f / "set"), "--threads", "1"]),
    "average": lambda f: average.cli([str(f / "scores/views.parquet"), "--output", str(f / "averaged")]),
    "compare": lambda f: compare.cli(
        [str(f / "run"), str(f / "scores/scores.parquet"), "--output", str(f / "compared")]
    ),
}
READERS = {
    "set/dataset.json": ["verify", "evaluate", "train"],
    "set/index.parquet": ["verify", "evaluate", "train"],
    "run/mlflow.json": ["train"],
    "run/state.pt": ["train"],
    "recipe.toml": ["train"],
    "run/history.json": ["compare"],
    "run/recipe.toml": ["compare"],
    "scores/scores.parquet": ["compare"],
    "scores/views.parquet": ["average"],
}
"""Which programs look at a file."""
OUTPUTS = ("new", "averaged", "compared")
WRONG: tuple[Any, ...] = (None, "a word", -1, [[]], {"x": {}})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, ray_cluster: Any) -> Path:
    """A set, a finished run of one epoch, the scores of its checkpoint; another set and run in `other`."""
    folder = tmp_path_factory.mktemp("made")
    for home, videos in ((folder, 12), (folder / "other", 8)):
        make_set(make_rows(home / "videos", [9] * videos), home / "set", FrameRecipe(resize="none"))
        _recipe(home)
        assert PROGRAMS["train"](home) == 0
    assert evaluate.cli([str(folder / "run/best.pt"), "--part", "val", "--output", str(folder / "scores")]) == 0
    return folder


def _recipe(folder: Path) -> None:
    (folder / "recipe.toml").write_text(small_recipe(folder / "set", epochs=1))


def _taken(*_: Any, **__: Any) -> Any:
    raise UserError("taken")


def harms(path: Path) -> Iterator[tuple[str, Callable[[Path], object]]]:
    """Ways to damage a file, by name: of bytes first, then of what is said in it."""
    data, rng = path.read_bytes(), random.Random(path.name)
    yield "empty", lambda p: p.write_bytes(b"")
    yield "cut in half", lambda p: p.write_bytes(data[: len(data) // 2])
    yield "deeply nested", lambda p: p.write_bytes(b"[" * 100_000)
    yield "not UTF-8", lambda p: p.write_bytes(b"\xff\x80" + data)
    yield "another kind of file", lambda p: pq.write_table(pa.table({"x": [1]}), p)
    yield "a number of PyTorch", lambda p: torch.save(3, p)
    for i in range(5):
        flipped = bytearray(data)
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        yield f"flip {i}", partial(_write, bytes(flipped))
    if path.suffix in (".json", ".pt", ".parquet"):
        for key in _values(path):
            yield f"without {key}", partial(_without, key)
            for wrong in WRONG:
                yield f"{key} = {wrong}", partial(_with, key, wrong)


def _write(data: bytes, path: Path) -> None:
    path.write_bytes(data)


def _without(key: str, path: Path) -> None:
    _edit(path, lambda values: values.pop(key))


def _with(key: str, wrong: Any, path: Path) -> None:
    _edit(path, lambda values: values.update({key: wrong}))


def _values(path: Path) -> dict[str, Any]:
    if path.suffix == ".json":
        plain = json.loads(path.read_bytes())
        return dict(plain if isinstance(plain, dict) else plain[0])
    if path.suffix == ".pt":
        return dict(torch.load(path, weights_only=True))
    table = pq.read_table(path)
    return {name: table[name] for name in table.column_names}


def _edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = _values(path)
    change(values)
    if path.suffix == ".json":
        is_list = isinstance(json.loads(path.read_bytes()), list)
        path.write_text(json.dumps([values] if is_list else values))
    elif path.suffix == ".pt":
        kind, version = values.pop("kind", "none"), values.pop("format", 0)
        save_plain(str(path), values, kind, version)
    else:
        meta = pq.read_table(path).schema.metadata
        rows = len(pq.read_table(path))
        columns = {
            name: value if isinstance(value, pa.ChunkedArray) else [None if value is None else str(value)] * rows
            for name, value in values.items()
        }
        pq.write_table(pa.table(columns).replace_schema_metadata(meta), path)


@pytest.mark.parametrize(("file", "program"), [(file, program) for file, of in READERS.items() for program in of])
def test_what_is_damaged_is_taken_or_refused_in_one_line(
    file: str,
    program: str,
    made: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Status 0 without an error, or another status with one line of it; never a traceback.

    `verify` ends with status 1 where it lists problems. What `train` takes is not trained: its checks are tried.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "fit", _taken)
    wrong, refused = [], 0
    spoilt = list(harms(made / file))
    if (made / "other" / file).exists():
        spoilt.append(("another's", lambda path: shutil.copy(made / "other" / file, path)))
    for i, (harm, spoil) in enumerate(spoilt):
        copy = tmp_path / f"{i}"
        for name in ("set", "run", "scores"):
            shutil.copytree(made / name, copy / name)
        _recipe(copy)
        spoil(copy / file)
        capfd.readouterr()
        try:
            status = PROGRAMS[program](copy)
        except BaseException as error:  # nothing may escape
            wrong.append(f"{harm}: {type(error).__name__}: {error}")
            continue
        out, err = capfd.readouterr()
        lines = [line for line in err.splitlines() if line.startswith("error:")]
        refused += status != 0
        if len(lines) != (status not in ((0, 1) if program == "verify" else (0,))) or "Traceback" in out + err:
            wrong.append(f"{harm}: status {status}: {err[-600:]}")
        if status and (begun := [path for name in OUTPUTS for path in (copy / name).rglob("*")]):
            wrong.append(f"{harm}: status {status}, and there are {begun}")
        shutil.rmtree(copy)
    assert not wrong, "\n".join(wrong)
    assert refused or file == "run/recipe.toml", "a file that nobody reads"
