"""Every program with every small input that once went wrong: the status, what is said, and what is written.

An input that is understood gives what its table says; one that is refused gets one line that names it, and nothing of
the output is written.
"""

import importlib
import re
import runpy
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.preprocessing.datasets.manifest import read_manifest
from kinebert.preprocessing.sets.reader import ShardSet
from tests.helpers.case_lists import REFUSED, UNDERSTOOD, Understood
from tests.helpers.paths import SHARED
from tests.helpers.requirements import needs

CASES = SHARED / "cases"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    needs("clips", CASES.is_dir(), f"there is no {CASES}"),
]


@dataclass(frozen=True)
class Said:
    """How a program ended and what it printed."""

    status: int
    out: str
    err: str


def run(line: str, capsys: pytest.CaptureFixture[str], **values: object) -> Said:
    """Run a program in this process; its words are formatted one by one, so that a value may have spaces."""
    name, *args = [word.format(cases=CASES, **values) for word in line.split()]
    capsys.readouterr()
    status = importlib.import_module(f"kinebert.pipelines.{name}").cli(args)
    printed = capsys.readouterr()
    assert "Traceback" not in printed.out + printed.err
    return Said(status, printed.out, printed.err)


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ------------------------------------------------------------------------------------------------------------ lists


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lists whose videos are not with them in the cases, with videos of these names."""
    folder, clip = tmp_path_factory.mktemp("beside"), CASES / "clips_shared" / "c0.mp4"
    shutil.copytree(CASES / "clips_shared", folder / "clips")
    for path in [*(CASES / "excel-lists").glob("*.csv")]:
        shutil.copy(path, folder)
    for name in ("hmdb51", "ucf101"):
        (folder / name).mkdir()
    shutil.copy(CASES / "tab-lists" / "wave_test_split1.txt", folder / "hmdb51")
    shutil.copy(CASES / "tab-lists" / "classInd.txt", folder / "ucf101")
    (folder / "ucf101" / "trainlist01.txt").write_text("wave/v_wave_g01_c01.avi 2\n")
    (folder / "ucf101" / "testlist01.txt").write_text("bend/v_bend_g02_c01.avi\n")
    for name in ("wave/a_wave_u_cm_np1_fr_med_0", "wave/v_wave_g01_c01", "bend/v_bend_g02_c01"):
        (folder / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, folder / "videos" / f"{name}.avi")
    return folder


@pytest.mark.parametrize("row", UNDERSTOOD, ids=lambda row: row.line.replace("{cases}/", ""))
def test_a_list_is_understood(
    row: Understood, beside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = run("index_videos " + row.line + " --output {out}/m.parquet", capsys, out=tmp_path, beside=beside)
    assert said.status == row.status, said
    assert re.search(row.says, said.out), said.out
    assert contents(tmp_path) == ["m.parquet"]
    videos = read_manifest(str(tmp_path / "m.parquet"))
    assert tuple(sorted({v.label_name for v in videos if v.label >= 0}, key=row.classes.index)) == row.classes
    assert all(v.label_name == row.classes[v.label] for v in videos if v.label >= 0)
    by_id = {v.video_id: v.label_name if v.label >= 0 else None for v in videos}
    assert by_id | row.labels == by_id
    parts = Counter((split, part) for v in videos for split, part in v.splits.items())
    assert {split for split, _ in parts} == row.parts.keys()
    for split, numbers in row.parts.items():
        assert tuple(parts[split, part] for part in ("train", "val", "test")) == numbers


@pytest.mark.parametrize("line", REFUSED, ids=lambda line: line.replace("{cases}/", ""))
def test_a_list_is_refused(line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = run("index_videos " + line + " --output {out}/m.parquet", capsys, out=tmp_path)
    assert (said.status, said.err.count("\n")) == (2, 1), said
    assert re.search("^error: .*" + REFUSED[line].replace("{cases}", re.escape(str(CASES))), said.err), said.err
    assert contents(tmp_path) == []


# ---------------------------------------------------------------------------------------------- files of another kind

TAKES = {
    "train": "train {file} --output {out}/x",
    "tune": "tune {file} --output {out}/x",
    "describe": "describe {file}",
    "bench_data": "bench_data {file}",
    "evaluate": "evaluate {file} --output {out}/x",
    "attend": "attend {file} --output {out}/x.png",
    "predict": "predict {cases}/clips_shared/c0.mp4 --checkpoint {file} --output {out}/x",
    "register": "register {file} --name m",
    "weights": "weights --check {file}",
    "fuse": "fuse {file} {file} --output {out}/x",
    "average": "average {file} {file} --output {out}/x",
    "compare": "compare {file} {file} --output {out}/x",
    "verify": "verify {file}",
    "show": "show {file} v --output {out}/x.png",
    "export_frames": "export_frames {file} --output {out}/x",
    "extract_frames": "extract_frames --manifest {file} --output {out}/x",
    "extract_flow": "extract_flow --manifest {file} --output {out}/x",
    "extract_pose": "extract_pose --backend blazepose --manifest {file} --output {out}/x",
}
NAME_SHARDS = ("train", "bench_data")


def wrong_files(program: str) -> list[Path]:
    """Whatever is in the cases, a folder and a path that is not there: none of it is what a program takes.

    Recipes are for those that take one: their shards do not lie there.
    """
    files = [path for path in sorted(CASES.rglob("*")) if path.is_file()]
    readable = [path for path in files if path.suffix != ".toml" or program != "describe"]
    return [*readable, CASES / "clips_shared", CASES / "absent"]


@pytest.mark.parametrize("program", TAKES)
def test_a_file_of_another_kind(
    program: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = []
    for file in wrong_files(program):
        said = run(TAKES[program], capsys, file=file, out=tmp_path)
        named = "sets/rgb" if file.suffix == ".toml" and program in NAME_SHARDS else str(file)
        as_it_should = said.status == 2 and re.fullmatch(f"error: [^\n]*{re.escape(named)}[^\n]*\n", said.err)
        written = [path for path in tmp_path.rglob("*") if path.is_file()]  # a folder may be made, to see if it can be
        if not as_it_should or said.out or written:
            wrong.append((file.name, said, written))
    assert wrong == []


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files that the script of the case writes, half a GB of them."""
    folder = tmp_path_factory.mktemp("checkpoints")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        runpy.run_path(str(CASES / "compiled-checkpoint" / "mk.py"))
    yield folder
    shutil.rmtree(folder)


IN_CHECKPOINTS = {
    "compiled.pt": (0, "layout: torchvision_2d\nloaded: 122\n"),
    "compiled_ddp.pt": (0, "layout: torchvision_2d\nloaded: 122\n"),
    "dp.pth.tar": (0, "layout: torchvision_2d\nloaded: 122\n"),
    "lightning.ckpt": (0, "layout: torchvision_2d\nloaded: 122\n"),
    "weights.pth": (0, "layout: torchvision_2d\nloaded: 122\n"),
    "half.pth": (0, "layout: torchvision_2d\nloaded: 122\n"),
    "mm.pth": (1, "unexpected: 2\n  cls_head.fc_cls.weight\n"),
    "lfs.pth": (2, "lfs.pth: no weights: this is a pointer of Git LFS, which stands for 46,830,571 bytes"),
    "drive.pth": (2, r"drive.pth: no weights: this is a web page \('Google Drive - Virus scan warning'\)"),
    "model.safetensors": (0, "layout: torchvision_2d\nloaded: 122\n"),
    "empty.pth": (2, "empty.pth: no weights: this is an empty file"),
    "cut.pth": (2, "cut.pth: no weights: this is cut short or damaged"),
}


def test_checkpoints_as_people_have_them(checkpoints: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, (status, words) in IN_CHECKPOINTS.items():
        said = run("weights --check {folder}/{name}", capsys, folder=checkpoints, name=name)
        assert said.status == status, (name, said)
        assert re.search(words, said.err if status == 2 else said.out), (name, said)
        assert said.err.count("\n") == (status == 2), said.err


# ---------------------------------------------------------------------------------------------- extraction, training

SETS = {
    "cover-art-first": ("folder {cases}/cover-art-first/videos", 0, {"wave/cover_first": 50}),
    "cover-art-audio-only": ("folder {cases}/cover-art-audio-only/videos", 1, {}),
    "two-video-streams": ("folder {cases}/two-video-streams/videos", 0, {"wave/two_streams": 50}),
    "segment-columns": (
        "csv {cases}/segment-columns/list.csv",
        0,
        {"s1": 6, "s2": 6, "s3": 6, "s4": 12, "s5": 12, "s6": 12},
    ),
    "split-name-mlflow": (
        "csv {cases}/split-name-mlflow/list.csv",
        0,
        {f"clips_shared/c{i}": 12 for i in range(12)},
    ),
    "split-name-slash": ("csv {cases}/split-name-slash/list.csv", 0, {f"clips_shared/c{i}": 12 for i in range(12)}),
}


def extracted(case: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    """Index a case and extract frames to ``sets/rgb`` in a folder; return what the extraction said."""
    run("index_videos " + SETS[case][0] + " --output {out}/m.parquet", capsys, out=folder)
    line = "extract_frames --manifest {out}/m.parquet --output {out}/sets/rgb --width 64 --height 48"
    return run(line, capsys, out=folder)


@pytest.mark.parametrize("case", SETS)
def test_frames_of_a_case(case: str, tmp_path: Path, ray_cluster: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _, status, frames = SETS[case]
    said = extracted(case, tmp_path, capsys)
    assert said.status == status, said
    shards = ShardSet.open(str(tmp_path / "sets" / "rgb"))
    assert {video.video_id: video.num_frames for video in shards.videos} == frames
    assert [lost.problem for lost in shards.rejected] == ["manifest: no video stream"] * status
    assert run("verify {out}/sets/rgb", capsys, out=tmp_path).status == 0


def recorded(folder: Path) -> Any:
    """Return what MLflow has of the run in a folder."""
    address = RunAddress.load(str(folder))
    assert address is not None
    return MlflowClient(address.tracking_uri).get_run(address.run_id)


@pytest.mark.parametrize("case", ["split-name-mlflow", "split-name-slash"])
def test_a_split_whose_name_mlflow_forbids(
    case: str, tmp_path: Path, ray_cluster: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    extracted(case, tmp_path, capsys)
    said = run("train {cases}/{case}/r.toml --output runs/a --set epochs=1", capsys, case=case)
    assert (said.status, "MLflow" in said.err, "lost" in said.err) == (0, False, False), said
    before = set(recorded(tmp_path / "runs" / "a").data.metrics)
    said = run("evaluate runs/a/best.pt --output scored", capsys)
    assert (said.status, "MLflow" in said.err, "lost" in said.err) == (0, False, False), said
    added = set(recorded(tmp_path / "runs" / "a").data.metrics) - before
    assert any(name.endswith("top1") for name in added), added
    assert {"scores.parquet", "views.parquet", "metrics.json", "report"} <= set(contents(tmp_path / "scored"))


def test_mlflow_has_the_recipe_that_ran(
    tmp_path: Path, ray_cluster: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    extracted("split-name-mlflow", tmp_path, capsys)
    line = "train {cases}/stale-mlflow-run/r.toml --output runs/e --set epochs=1 optim.lr="
    failed = run(line + "1e30", capsys)
    assert (failed.status, failed.err.count("error: ")) == (2, 1), failed
    assert re.search("the loss is nan .*optim.lr", failed.err)
    first = recorded(tmp_path / "runs" / "e")
    assert (first.info.status, float(first.data.params["optim.lr"])) == ("FAILED", 1e30)
    assert run(line + "1e-3", capsys).status == 0
    second = recorded(tmp_path / "runs" / "e")
    assert (second.info.status, float(second.data.params["optim.lr"])) == ("FINISHED", 0.001)
    assert second.data.tags["recipe_digest"] != first.data.tags["recipe_digest"]
    assert "lr = 0.001" in (tmp_path / "runs" / "e" / "recipe.toml").read_text()
