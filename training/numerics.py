"""How the same computation is run: device, precision, memory layout, synchronisation, determinism."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models import Recognizer
from kinebert.training.recipe.train import TrainRecipe


def choose_device(name: str) -> torch.device:
    """Return the device of a name: ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ConfigError: If the name is another one, or there is no such device.
    """
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    except RuntimeError:
        raise ConfigError(f"device must be auto, cpu, cuda or cuda:N, got {name!r}.") from None
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device must be auto, cpu, cuda or cuda:N, got {name!r}.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {name!r}: there are {torch.cuda.device_count()} CUDA devices here.")
    return device


def autocast_dtype(amp: str, device: torch.device) -> torch.dtype | None:
    """Return the type of the forward pass in training; None for full precision.

    Args:
        amp: That of a recipe: ``auto``, ``bf16``, ``fp16``, ``off`` or ``fp64``.
        device: Where the network is trained.

    Raises:
        ConfigError: If the device does not compute in that type.
    """
    if amp == "fp16" and device.type != "cuda":
        raise ConfigError('amp = "fp16" needs a CUDA device. Take "auto", "bf16" or "off".')
    if amp == "auto":
        return torch.bfloat16 if device.type == "cuda" else None
    return {"bf16": torch.bfloat16, "fp16": torch.float16, "off": None, "fp64": None}[amp]


def scoring_dtype(amp: str, device: torch.device) -> torch.dtype | None:
    """Return the type of the forward pass where nothing is trained: that of training, but full precision on a CPU.

    Half precision is no faster there, and so all scores made on CPUs can be compared.
    """
    return None if device.type == "cpu" else autocast_dtype(amp, device)


def prepare(model: Recognizer, recipe: TrainRecipe, device: torch.device, world_size: int) -> Recognizer:
    """Move a network to its device and give it the recipe's precision, layout and synchronised norms.

    Raises:
        ConfigError: If norms cannot be synchronised there.
    """
    if recipe.sync_norm and world_size > 1:
        if device.type != "cuda":
            raise ConfigError(
                "sync_norm = true needs GPUs: torch synchronises batch norms there only. Leave it out, or take one "
                "worker with a larger micro_batch, which is the same."
            )
        changed = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        assert isinstance(changed, Recognizer)
        model = changed
    model = model.to(device)
    if recipe.amp == "fp64":
        model = model.double()
        model.register_forward_pre_hook(_in_double)
    if recipe.channels_last:
        for parameter in model.parameters():
            layout = _LAYOUTS.get(parameter.ndim)
            if layout is not None:
                parameter.data = parameter.data.contiguous(memory_format=layout)
        model.register_forward_pre_hook(_channels_last)
    return model


@contextmanager
def deterministic(on: bool) -> Iterator[None]:
    """Make torch choose algorithms that give the same bits every time, as far as there are such; undone at the end.

    An operation without one warns instead of ending the run: the backward passes of 3D pools have none on CUDA.
    """
    if not on:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = benchmark


_LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}
"""By number of axes: kernels of 2D and of 3D convolutions."""


def _in_double(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(x.double() if isinstance(x, Tensor) else x for x in inputs)


def _channels_last(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(x.contiguous(memory_format=torch.channels_last_3d) if isinstance(x, Tensor) else x for x in inputs)
