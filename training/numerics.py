"""How the same computation is run: device, precision, memory layout, synchronisation, determinism."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models import Recognizer
from kinebert.training.recipe.train import TrainRecipe

COMPILER = "inductor"
"""What turns the graphs of ``torch.compile`` into kernels."""
_TF32 = {"off": False, "fp64": False, "tf32": True}
"""By ``amp``: whether float32 may be TF32, with 10 bits of mantissa instead of 23; others leave that to torch."""


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
        amp: That of a recipe: ``auto``, ``bf16``, ``fp16``, ``tf32``, ``off`` or ``fp64``.
        device: Where the network is trained.

    Raises:
        ConfigError: If the device does not compute in that type.
    """
    if amp == "fp16" and device.type != "cuda":
        raise ConfigError('amp = "fp16" needs a CUDA device. Take "auto", "bf16" or "off".')
    if amp == "auto":
        return torch.bfloat16 if device.type == "cuda" else None
    return {"bf16": torch.bfloat16, "fp16": torch.float16, "tf32": None, "off": None, "fp64": None}[amp]


def scoring_dtype(amp: str, device: torch.device) -> torch.dtype | None:
    """Return the type of the forward pass where nothing is trained: that of training, but full precision on a CPU.

    Half precision is no faster there, and so all scores made on CPUs can be compared.
    """
    return None if device.type == "cpu" else autocast_dtype(amp, device)


def doubtful(recipe: TrainRecipe, device: torch.device) -> str:
    """Return a sentence about what cannot be relied on where a recipe's numbers are computed; empty if all can."""
    if device.type != "cpu" or recipe.amp != "bf16":
        return ""
    return (
        'amp = "bf16" on a CPU is for trying out only: where pictures come down to 1x1 pixels, torch leaves parts of '
        'gradients unset there, so that no two runs are alike. "auto" computes in float32'
    )


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
    if recipe.channels_last:
        _lay_out(model)
    take_inputs(model, recipe)
    return model


def take_inputs(module: nn.Module, recipe: TrainRecipe) -> None:
    """Let a module turn whatever it is given into the recipe's precision and layout, in place."""
    if recipe.amp == "fp64":
        module.register_forward_pre_hook(_in_double)
    if recipe.channels_last:
        module.register_forward_pre_hook(_channels_last)


def put_channels_last(model: nn.Module) -> None:
    """Lay out the kernels of a network, and whatever it is given, with their channels last."""
    _lay_out(model)
    model.register_forward_pre_hook(_channels_last)


def _lay_out(model: nn.Module) -> None:
    for parameter in model.parameters():
        layout = _LAYOUTS.get(parameter.ndim)
        if layout is not None:
            parameter.data = parameter.data.contiguous(memory_format=layout)


def compile_networks(networks: Iterable[nn.Module]) -> None:
    """Let torch compile networks in place, at their first calls: for each way of calling one graph, of that shape.

    What was compiled in this process before is forgotten: it counts towards torch's limit of graphs, beyond which
    torch silently no longer compiles.
    """
    torch.compiler.reset()
    for network in networks:
        network.compile(dynamic=False, backend=COMPILER)


@contextmanager
def computing(recipe: TrainRecipe, device: torch.device) -> Iterator[None]:
    """Set this process up to compute as a recipe says; undone at the end.

    That is: which algorithms are chosen, and whether float32 is TF32.
    """
    with deterministic(recipe.deterministic), float32_of(recipe.amp, device):
        yield


@dataclass(frozen=True, kw_only=True)
class Inference:
    """How networks compute where nothing is trained; fields are those of a recipe."""

    amp: str = "auto"
    channels_last: bool = False
    compile: bool = False
    """On GPUs only, since a CPU may be that of a laptop without a compiler."""
    deterministic: bool = False

    @staticmethod
    def of(recipe: TrainRecipe) -> "Inference":
        """Return how the network of a recipe is tested."""
        return Inference(
            amp=recipe.amp,
            channels_last=recipe.channels_last,
            compile=recipe.compile,
            deterministic=recipe.deterministic,
        )

    @contextmanager
    def on(self, device: torch.device) -> Iterator[None]:
        """Compute so without gradients; undone at the end."""
        dtype = scoring_dtype(self.amp, device)
        with (
            deterministic(self.deterministic),
            float32_of(self.amp, device),
            torch.inference_mode(),
            torch.autocast(device.type, dtype, enabled=dtype is not None),
        ):
            yield


AS_USUAL = Inference()
"""As recipes have it by default."""


@contextmanager
def float32_of(amp: str, device: torch.device) -> Iterator[None]:
    """Let a GPU compute float32 as ``amp`` means: in TF32 with ``tf32``, exactly with ``off``; undone at the end.

    torch has two switches, and by default convolutions are TF32 where matrix products are not.
    """
    if device.type != "cuda" or amp not in _TF32:
        yield
        return
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    convolutions.allow_tf32 = products.allow_tf32 = _TF32[amp]
    try:
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32 = before


@contextmanager
def deterministic(on: bool) -> Iterator[None]:
    """Make torch choose algorithms that give the same bits every time, or the fastest ones; undone at the end.

    The fastest are found by measuring (cuDNN's benchmark), once for each shape. Of those that give the same bits there
    is not always one: such an operation warns instead of ending the run, as the backward passes of 3D pools on CUDA.
    torch would also fill all memory that it hands out, so that reading it before it is written gives the same bits;
    nothing here reads such memory, so that is left out.
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = not on
    try:
        with _same_bits() if on else nullcontext():
            yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextmanager
def _same_bits() -> Iterator[None]:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    fills = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        memory.fill_uninitialized_memory = fills


def in_words(recipe: TrainRecipe, device: torch.device) -> str:
    """Say in what numbers and by which algorithms a recipe is computed on a device, to be recorded.

    To be asked while :func:`computing` is open.
    """
    dtype = autocast_dtype(recipe.amp, device) or (torch.float64 if recipe.amp == "fp64" else torch.float32)
    told = [str(dtype).removeprefix("torch.")]
    if device.type == "cuda":
        switches = {"convolutions": torch.backends.cudnn.allow_tf32, "products": torch.backends.cuda.matmul.allow_tf32}
        told.append(f"TF32 in {' and '.join(name for name, on in switches.items() if on) or 'nothing'}")
        told.append("same bits" if recipe.deterministic else "fastest algorithms")
    return ", ".join([*told, *["compiled"] * recipe.compile])


_LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}
"""By number of axes: kernels of 2D and of 3D convolutions."""


def _in_double(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(x.double() if isinstance(x, Tensor) else x for x in inputs)


def _channels_last(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(x.contiguous(memory_format=torch.channels_last_3d) if _is_clips(x) else x for x in inputs)


def _is_clips(x: Any) -> bool:
    return isinstance(x, Tensor) and x.ndim == 5
