"""Answers of OpenPose's own code, and of its older Python port, to maps and people that were made up: numbers only.

They lie in tests/golden/pose. A file holds several cases, the arrays of each under ``case.name``; a case that only
changes settings shares the maps of the one it is named after.
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from tests.helpers import golden
from tests.helpers.paths import ROOT
from tests.helpers.requirements import missing

FOLDER = ROOT / "tests" / "golden" / "pose"


def cases(name: str) -> list[str]:
    """Return the names of the cases in a file."""
    found: list[str] = _arrays(name)["cases"].tolist()
    return found


def case(name: str, tag: str) -> dict[str, np.ndarray]:
    """Return the arrays of one case."""
    arrays = _arrays(name)
    own = {key[len(tag) + 1 :]: value for key, value in arrays.items() if key.startswith(f"{tag}.")}
    plain = tag.split("_maximize")[0]
    shared = {key: arrays[f"{plain}.{key}"] for key in ("heat", "paf") if f"{plain}.{key}" in arrays}
    return shared | own


def network(name: str) -> tuple[dict[str, Tensor], Tensor, dict[str, np.ndarray]]:
    """Return the seeded weights under their published names, an input ``(1, 3, H, W)``, and the maps of both."""
    arrays = _arrays(name)
    generator = torch.Generator().manual_seed(int(arrays["input_seed"]))
    given = torch.randn(arrays["input_shape"].tolist(), generator=generator)
    answers = {key: value for key, value in arrays.items() if key.startswith(("heat", "paf"))}
    return {key: golden.seeded(key, shape) for key, shape in network_keys(name).items()}, given, answers


def network_keys(name: str) -> dict[str, tuple[int, ...]]:
    """Return the published names and shapes of the weights."""
    arrays = _arrays(name)
    return {str(k): tuple(map(int, text.split(","))) for k, text in zip(arrays["keys"], arrays["shapes"], strict=True)}


@cache
def _arrays(name: str) -> dict[str, np.ndarray]:
    path = FOLDER / f"{name}.npz"
    if not path.is_file():
        missing("golden", f"there is no {path}")
    with np.load(path, allow_pickle=False) as file:
        return dict(file)
