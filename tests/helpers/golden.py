"""Answers of published networks to weights that anybody can make: numbers only, in tests/golden.

A file holds the names and shapes of a published state dict, the seed and shape of an input, and what the published
implementation answers in evaluation. The weights themselves are drawn from the names, so none are stored: a network
that reads them under those names, and computes the same function, gives the same answer. ``index.json`` says where each
network comes from, and holds its parameters and operations as they were counted there.
"""

import json
import zlib
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.helpers.paths import ROOT
from tests.helpers.requirements import missing

FOLDER = ROOT / "tests" / "golden"


def facts(name: str) -> dict[str, Any]:
    """Return what is known of the network: ``classes``, ``params``, ``macs`` by kind, ``mac_input``, ``out_shape``."""
    found: dict[str, Any] = _index()[name]
    return found


def names() -> list[str]:
    """Return every golden network and part (``_part_`` in its name)."""
    return sorted(_index())


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of every entry of the published state dict, in its order."""
    file = arrays(name)
    each = (tuple(map(int, text.split(","))) if text else () for text in file["shapes"].tolist())
    return dict(zip(file["keys"].tolist(), each, strict=True))


def state(name: str) -> dict[str, Tensor]:
    """Return the seeded weights under the published names."""
    return {key: seeded(key, shape) for key, shape in shapes(name).items()}


def unallocated(name: str) -> dict[str, Tensor]:
    """Return the published names and shapes without numbers, on the meta device."""
    return {key: torch.empty(shape, device="meta") for key, shape in shapes(name).items()}


def given(name: str) -> Tensor:
    """Return the input that the answer belongs to: clips ``(1, C, T, H, W)``, or what a part takes."""
    file = arrays(name)
    generator = torch.Generator().manual_seed(int(file["input_seed"]))
    return torch.randn(file["input_shape"].tolist(), generator=generator)


def answer(name: str) -> np.ndarray:
    """Return what the published implementation gives, float32."""
    found: np.ndarray = arrays(name)["logits"]
    return found


def exact_answer(name: str) -> np.ndarray:
    """Return what the published implementation gives in float64; few files have it."""
    found: np.ndarray = arrays(name)["logits64"]
    return found


def relative_error(ours: Tensor, theirs: np.ndarray) -> float:
    """Return the largest difference over the standard deviation of ``theirs``."""
    theirs = theirs.astype(np.float64)
    return float(np.abs(ours.detach().double().numpy() - theirs).max() / theirs.std())


def arrays(name: str) -> dict[str, np.ndarray]:
    """Return everything that the file holds."""
    with np.load(_path(f"{name}.npz"), allow_pickle=False) as file:
        return dict(file)


def seeded(key: str, shape: tuple[int, ...]) -> Tensor:
    """Return the tensor that the entry ``key`` of a state dict stands for.

    Kernels are He-normal, scales and variances lie in 0.75..1.25, means have the deviation 0.1 and biases 0.02.
    """
    kind = key.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.long)
    generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    if len(shape) > 1:
        return torch.randn(shape, generator=generator) * (2 * shape[0] / prod(shape)) ** 0.5
    if kind in ("running_var", "weight", "a_2"):
        return torch.rand(shape, generator=generator) * 0.5 + 0.75
    return torch.randn(shape, generator=generator) * (0.1 if kind == "running_mean" else 0.02)


def _path(file: str) -> Path:
    if not (FOLDER / file).exists():
        missing("golden", f"{FOLDER / file} is not there")
    return FOLDER / file


@cache
def _index() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_path("index.json").read_text())
    return found
