"""The page on poses: its commands are understood, and its program runs."""

import re
import shlex
from pathlib import Path

import pytest

from kinebert.orchestration.jobs.extraction_requests import PoseRequest
from kinebert.pipelines.extraction import ExtractPoseConfig
from kinebert.pipelines.options import parse
from kinebert.preprocessing.config import to_plain
from kinebert.preprocessing.extraction.pose_finder import PoseFinder
from kinebert.preprocessing.pose.estimator import BACKENDS, all_backends
from kinebert.preprocessing.pose.openpose.settings import OpenPoseParams
from kinebert.preprocessing.recipe import PoseRecipe
from tests.helpers.page_commands import commands_of, understood
from tests.helpers.paths import ROOT
from tests.helpers.poses import SHA256, bright_backend, write_weights
from tests.helpers.sets import make_rows, make_set

PAGE = (ROOT / "docs" / "pose.md").read_text()
COMMANDS = re.findall(r"^kinebert extract-pose .*$", PAGE, re.MULTILINE)
(PROGRAM,) = (code for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "ShardSet" in code)


@pytest.mark.parametrize("line", COMMANDS)
def test_its_commands_are_understood(line: str) -> None:
    all_backends()
    name, program, *args = shlex.split(line)
    assert (name, program) == ("kinebert", "extract-pose")
    if args == ["--backends"]:
        return
    asked = parse(ExtractPoseConfig, args, "kinebert extract-pose", from_file=True).asked()
    assert isinstance(asked, PoseRequest)
    backend = asked.recipe.backend
    assert set(asked.files) <= {file.role for file in BACKENDS[backend].files} if backend else asked.redraw


def test_the_recipe_of_the_thesis_is_what_the_page_decides() -> None:
    args = ["--config", "metu2020/extract_pose", "--weights", "network=pose_iter_584000.caffemodel"]
    asked = parse(
        ExtractPoseConfig, [*args, "--manifest", "m", "--output", "o"], "kinebert extract-pose", from_file=True
    ).asked()
    recipe = asked.recipe
    assert (recipe.backend, recipe.look, recipe.background) == ("openpose", "gpu", "black")
    assert (recipe.resize, recipe.width, recipe.height) == ("fixed", 340, 256)
    assert recipe.params == to_plain(OpenPoseParams()), "OpenPose's own defaults"


@pytest.mark.parametrize("line", [line for line in commands_of("pose.md") if line not in COMMANDS])
def test_the_commands_of_three_streams_are_understood(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    understood(line, tmp_path, monkeypatch)


def test_its_program_reads_joints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"network": str(write_weights(tmp_path))}
    with bright_backend():
        recipe = PoseRecipe(backend="bright", weights={"network": SHA256})
        rows = make_rows(tmp_path / "videos", [6])
        make_set(rows, tmp_path / "sets" / "pose", recipe, solver=PoseFinder(files=files))
    monkeypatch.chdir(tmp_path)
    exec(compile(PROGRAM, "docs/pose.md", "exec"), {})
    assert capsys.readouterr().out == "class0/v00 64 48 [(1, 25, 3), (1, 25, 3), (1, 25, 3)]\n"
