"""A folder in which the programs have run, for the modules that look at what they leave."""

from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.pipelines import (
    extract_flow,
    extract_frames,
    index_videos,
    train,
)
from tests.helpers.sets import RECIPE_OF_PROGRAMS, make_videos
from tests.helpers.without_ray import train_here


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory, ray_cluster: Any) -> Path:
    """A folder in which the programs have run, from videos to a fused result."""
    folder = tmp_path_factory.mktemp("work")
    make_videos(folder / "videos", [9] * 20)
    manifest = str(folder / "manifest.parquet")
    assert index_videos.cli(["folder", str(folder / "videos"), "--output", manifest]) == 0
    common = ["--manifest", manifest, "--resize", "none", "--videos-per-shard", "10"]
    for program, kind, more in ((extract_frames, "rgb", []), (extract_flow, "flow", ["--backend", "numba"])):
        assert program.cli([*common, *more, "--output", str(folder / "sets" / kind)]) == 0
        recipe = folder / f"{kind}.toml"
        recipe.write_text(RECIPE_OF_PROGRAMS.format(shards=folder / "sets" / kind))
        with pytest.MonkeyPatch.context() as patch:
            if kind == "flow":
                train_here(patch)  # that Ray Train trains as well is seen with rgb
            assert train.cli([str(recipe), "--output", str(folder / "runs" / kind)]) == 0
    return folder


@pytest.fixture
def kept(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder, for reading; the present folder is an empty one."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    return work
