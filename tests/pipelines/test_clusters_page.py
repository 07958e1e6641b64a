"""docs/clusters.md: its commands for one machine run in their order; those for a cluster run in test_submit.py."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.orchestration.jobs import submission
from kinebert.pipelines import bench_data, train
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.training.recipe.train import TrainRecipe
from tests.helpers.paths import ROOT
from tests.helpers.sets import make_rows, make_set, small_recipe

PAGE = (ROOT / "docs" / "clusters.md").read_text()
COMMANDS = [
    line for block in re.findall(r"^```\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]
LOCAL = [line for line in COMMANDS if line.split()[1] in ("bench-data", "train")]


def test_no_command_is_left_to_nobody() -> None:
    programs = {tuple(line.split()[:2]) for line in COMMANDS}
    ours = {("kinebert", "bench-data"), ("kinebert", "train")}
    assert programs == ours | {("ray", "start"), ("kinebert", "submit"), ("ray", "job")}


def test_what_the_page_names_is_there() -> None:
    keys = {"workers", "min_workers", "hang_after_s", "keep_best", "save_every_s", "loader_workers", "micro_batch"}
    assert keys <= set(TrainRecipe.__dataclass_fields__)
    for key in keys:
        assert f"`{key}" in PAGE
    assert f"{submission.MAX_BYTES // 2**20} MiB" in PAGE


@pytest.mark.slow
def test_the_commands_for_one_machine(
    ray_cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    make_set(make_rows(tmp_path / "videos", [6] * 12), tmp_path / "set", FrameRecipe(resize="none"))
    (tmp_path / "rgb.toml").write_text(small_recipe(tmp_path / "set", epochs=2, head="bert"))
    told = []
    for line in LOCAL:
        name, *args = shlex.split(line)[1:]
        program = {"bench-data": bench_data, "train": train}[name]
        assert program.cli([*args, *(["--seconds", "0.2"] if name == "bench-data" else [])]) == 0, line
        told.append(capsys.readouterr().out)
    assert "200 clips/s need loader_workers =" in told[0]
    assert "2 workers" in told[1]
    assert "going on in epoch 3 of 3, with other settings than before (before != now): epochs: 2 != 3" in told[2]
    assert len(list((tmp_path / "runs" / "rgb").glob("epoch-*.pt"))) == 3
    assert train.cli(["rgb.toml", "--output", "runs/other", "--new"]) == 2
    assert "With --new it is left alone" in capsys.readouterr().err
