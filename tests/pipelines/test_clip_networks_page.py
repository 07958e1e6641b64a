"""docs/clip_networks.md: its code runs, and the clips of its table are what each network takes."""

import re

import pytest

from kinebert.training.models import BACKBONES
from kinebert.training.models.sizes.unallocated import unallocated
from tests.helpers.networks import admits
from tests.helpers.paths import ROOT

PAGE = (ROOT / "docs" / "clip_networks.md").read_text()
LEAST = {"repflow_50": (11, 15), "blvnet_tam_50": (2, 1), "c3d": (16, 96), "p3d": (16, 1)}
"""Frames and pixels of the smallest clip of each network that does not take every clip."""


def test_its_code_runs() -> None:
    (code,) = re.findall(r"```python\n(.+?)```", PAGE, flags=re.DOTALL)
    exec(code, {})


@pytest.mark.parametrize("backbone", ["csn_ir_50", "mfnet", "r2plus1d_152", *LEAST])
def test_the_smallest_clips_are_those_of_the_table(backbone: str) -> None:
    assert f"`{backbone}`" in PAGE
    with unallocated():
        net = BACKBONES[backbone].build(channels_in=3, width=0.125)
    frames, size = LEAST.get(backbone, (1, 1))
    assert admits(net, frames, size)
    assert not admits(net, frames - 1, size)
    assert not admits(net, frames, size - 1)
