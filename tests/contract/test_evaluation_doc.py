"""Every command of docs/evaluation.md, in its order, on small generated sets."""

import importlib
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.pipelines.cli import PROGRAMS
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.training.recipe.train import ProtocolRecipe
from tests.helpers.checkpoints import make_checkpoint
from tests.helpers.paths import ROOT
from tests.helpers.sets import make_rows, make_set
from tests.helpers.videos import moving_texture, write_video

DOC = ROOT / "docs" / "evaluation.md"


def commands() -> list[list[str]]:
    """Return the command lines of the plain code blocks."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", DOC.read_text(), re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for language, block in blocks if not language for line in block.splitlines()]


def test_every_command_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray_cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    parts = ("train", "val", "test", "test")
    rows = [
        replace(row, splits={f"split{k}": parts[(i + k) % 4] for k in (1, 2, 3)})
        for i, row in enumerate(make_rows(tmp_path / "videos", [9] * 12))
    ]
    runs = tmp_path / "runs"
    for name, recipe in (("rgb", FrameRecipe(resize="none")), ("flow", FlowRecipe(resize="none"))):
        shards = make_set(rows, tmp_path / "sets" / name, recipe, solver=FlowSolver(backend="numba"))
        make_checkpoint(runs / name / "best.pt", shards, ProtocolRecipe())
        if name == "rgb":
            for k in (1, 2, 3):
                make_checkpoint(runs / f"rgb-split{k}" / "best.pt", shards, ProtocolRecipe(), f"split{k}", seed=k)
    write_video(tmp_path / "clip.mp4", moving_texture(9))
    write_video(tmp_path / "match.mp4", moving_texture(30))
    lines = commands()
    assert {line[1] for line in lines} == {"evaluate", "average", "fuse", "predict"}
    for kinebert, program, *args in lines:
        assert kinebert == "kinebert"
        status = importlib.import_module(f"kinebert.pipelines.{PROGRAMS[program][0]}").cli(args)
        assert status == 0, f"{shlex.join(args)}\n{capsys.readouterr().err}"
    for path in (
        "runs/rgb/split1-test-10-x3-scale1/views.parquet",
        "runs/rgb/split1-test-multi-x10/metrics.json",
        "softmax/scores.parquet",
        "fitted/report/report.md",
        "seen/class0/v00.mp4",
        "sliding/predictions.csv",
    ):
        assert (tmp_path / path).exists(), path
