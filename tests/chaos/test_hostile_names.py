"""Names that terminals, pages, spreadsheets and formats take for commands go through every program and do nothing."""

import csv
import json
import re
import shlex
import sqlite3
import tomllib
from collections.abc import Callable
from contextlib import closing, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow.tracking import MlflowClient

from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.pipelines import (
    average,
    compare,
    evaluate,
    export_frames,
    extract_frames,
    fuse,
    index_videos,
    predict,
    register,
    show,
    train,
    tune,
    verify,
)
from kinebert.preprocessing.plain_text import toml_string
from kinebert.preprocessing.sets.reader import ShardSet
from tests.helpers.sets import small_recipe
from tests.helpers.videos import moving_texture, write_video

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CLASSES = (
    "<script>alert(1)</script>",
    '=HYPERLINK("http://x.example","y")',
    "a|b `c` [x](javascript:alert(1)) ![i](http://x.example/i.png)",
    "@SUM(1+1) $\\frac{1}{0}$ %s {} {0.__class__}",
    "+1+1 [red]x[/red] :smile: \u202eevil\u202c \u200b\U0001f600",
    "-2+3 ../../etc && $(id) ${HOME} ' \" \\",
)
FILES = (
    "<img src=x onerror=alert(1)>",
    "=1+1",
    "a|b `c` [x](javascript:alert(1))",
    "$mathtext_{$ %s {} %(x)s",
    "+[bold red]x[/] \u202egp4.evil\u202c",
    "-rf \u200b\U0001f600 ' \" ;id",
    "@SUM(1+1)",
)
SPLIT = "=1+1|<b>x</b> [red] $a$ %s {} \u202ex"
RUN = "=1+1 <img src=x onerror=alert(1)> |`x` [red] [x](javascript:alert(1)) $a_{$ %s {} \u202e\u200b\U0001f600"
TAG = re.compile(r"<(script>alert|img src=x|b>x)")
LINK = re.compile(r"(?<!\\)\]\((javascript|http://x\.example)")
FORMULA = re.compile(r"\s*[=+\-@\uff1d]")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?%?|[+-]?(inf|nan)", re.IGNORECASE)
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")
TUNE = '\n[tune]\ntrials = 2\nscheduler = "none"\n[tune.space]\n"optim.lr" = { choice = [0.1, 0.01] }\n'
TEXTS = {".md", ".html", ".csv", ".json", ".toml", ".txt", ".yaml", ".svg", ""}


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, ray_cluster: Any) -> tuple[Path, dict[str, str]]:
    """A folder with all that the programs made of hostile names, and what each of them printed."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("hostile")
    lines = [f"path,label,video_id,{quoted(SPLIT)}"]
    for i, (name, part) in enumerate((c, p) for p in ("train", "val", "test") for c in CLASSES):
        file = f"{FILES[i % len(FILES)]} {i}"
        write_video(folder / "given" / f"{file}.mp4", moving_texture(6, seed=i))
        lines.append(f"{quoted(file + '.mp4')},{quoted(name)},{quoted(file)},{part}")
    (folder / "given" / "list.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder, run_programs(folder)


def run_programs(folder: Path) -> dict[str, str]:
    printed = dict[str, str]()
    out = folder / "out"
    out.mkdir()
    shards, run, video = str(out / f"set {RUN}"), str(out / f"run {RUN}"), f"{FILES[0]} 0"
    recipe = small_recipe("X", epochs=1, head="bert").replace('"X"', toml_string(shards))
    recipe = recipe.replace("clip_length", f"split = {toml_string(SPLIT)}\nclip_length")
    (folder / "given" / "train.toml").write_text(recipe, encoding="utf-8")
    (folder / "given" / "tune.toml").write_text(recipe + TUNE, encoding="utf-8")
    best, scores, other = f"{run}/best.pt", str(out / f"scores {RUN}"), str(out / f"more {RUN}")

    def do(name: str, program: Callable[[list[str]], int], *args: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(out)
            said = _heard(lambda: program(list(args)))
        printed[name] = said[1]
        assert said[0] == 0, (name, said)

    do("index", index_videos.cli, "csv", str(folder / "given" / "list.csv"), "--output", f"{out}/m {RUN}.parquet")
    do("extract", extract_frames.cli, "--manifest", f"{out}/m {RUN}.parquet", "--resize", "none", "--output", shards)
    do("train", train.cli, str(folder / "given" / "train.toml"), "--output", run, f"--experiment={RUN}")
    do("evaluate", evaluate.cli, best, "--part", "test", "--output", scores)
    do("again", evaluate.cli, best, "--part", "test", "--views", "multi", "--output", other)
    tables = [f"{scores}/scores.parquet", f"{other}/scores.parquet"]
    do("fuse", fuse.cli, *tables, "--output", f"{out}/fused {RUN}", f"--experiment={RUN}")
    do("average", average.cli, f"{other}/views.parquet", "--output", f"{out}/averaged {RUN}")
    do("compare", compare.cli, *tables, "--anyway", "--output", f"{out}/compared {RUN}")
    given = str(folder / "given" / f"{video}.mp4")
    do("predict", predict.cli, given, "--checkpoint", best, "--annotate", "--output", f"{out}/said {RUN}")
    do("show", show.cli, shards, video)
    do("verify", verify.cli, shards)
    do("export", export_frames.cli, shards, "--output", f"{out}/pictures {RUN}")
    do("tune", tune.cli, str(folder / "given" / "tune.toml"), "--output", f"{out}/search {RUN}")
    do("register", register.cli, best, "--name", "=1+1 <b>x [red] \u202e| $(id) `id`")
    return printed


def _heard(work: Callable[[], int]) -> tuple[int, str]:
    heard = StringIO()
    with redirect_stdout(heard), redirect_stderr(heard):
        status = work()
    return status, heard.getvalue()


def texts(folder: Path) -> dict[Path, str]:
    """All text that was written, by file."""
    return {
        path: path.read_bytes().decode()
        for path in sorted((folder / "out").rglob("*"))
        if path.is_file() and path.suffix in TEXTS
    }


def test_names_come_through_as_they_were(told: tuple[Path, dict[str, str]]) -> None:
    shards = ShardSet.open(str(told[0] / "out" / f"set {RUN}"))
    assert set(shards.classes) == set(CLASSES)
    assert {video.video_id for video in shards.videos} == {f"{FILES[i % len(FILES)]} {i}" for i in range(18)}


def test_terminals_obey_nothing(told: tuple[Path, dict[str, str]]) -> None:
    for program, said in told[1].items():
        assert said.strip(), program
        assert OBEYED.findall(said.replace("\r", "")) == [], (program, said)
    (line,) = [line for line in told[1]["register"].splitlines() if line.startswith("next: ")]
    *_, code = shlex.split(line)  # what a shell makes of it: one argument, in which it expands nothing
    assert "$(id) `id`" in code
    assert line.count("'") == 2


def test_files_hide_nothing_and_are_what_they_are_called(told: tuple[Path, dict[str, str]]) -> None:
    found = texts(told[0])
    assert {".md", ".html", ".csv", ".json", ".toml"} <= {path.suffix for path in found}
    for path, text in found.items():
        assert OBEYED.findall(text.replace("\r\n", "\n")) == [], path
        if path.suffix == ".json":
            json.loads(text)
        elif path.suffix == ".toml":
            tomllib.loads(text)
        elif path.suffix in (".md", ".html", ".svg"):
            assert TAG.findall(text) == [], path
            assert path.suffix == ".html" or LINK.findall(text) == [], path
        elif path.suffix == ".csv":
            rows = csv.reader(text.splitlines(keepends=True))
            assert [cell for row in rows for cell in row if FORMULA.match(cell) and not NUMBER.fullmatch(cell)] == []


def test_what_mlflow_shows_as_markdown_is_harmless(told: tuple[Path, dict[str, str]]) -> None:
    address = RunAddress.load(str(told[0] / "out" / f"run {RUN}"))
    assert address is not None
    client = MlflowClient(address.tracking_uri)
    (experiment,) = [one for one in client.search_experiments() if one.name == RUN]
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) >= 2
    notes = [run.data.tags.get("mlflow.note.content", "") for run in runs]
    assert any(notes)
    for note in notes:
        assert (TAG.findall(note), LINK.findall(note), OBEYED.findall(note)) == ([], [], [])


def test_nothing_of_them_was_computed_or_left_its_folder(told: tuple[Path, dict[str, str]]) -> None:
    folder, _ = told
    assert {path.name for path in folder.iterdir()} == {"given", "out"}
    with closing(sqlite3.connect(folder / "out" / "mlflow.db")) as store:
        assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
