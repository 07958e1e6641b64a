"""What a process of a training will hold in memory, reckoned from its recipe without allocating any of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from kinebert.training.clips.calendar import Grid
from kinebert.training.models import Recognizer
from kinebert.training.models.sizes.unallocated import build_unallocated
from kinebert.training.numerics import autocast_dtype
from kinebert.training.optim.groups import freeze
from kinebert.training.optim.registry import build_optimizer
from kinebert.training.recipe.multigrid import phases_of
from kinebert.training.recipe.optim import OptimRecipe
from kinebert.training.recipe.train import TrainRecipe

_SHAPE = (2, 3)
"""Of a parameter that an optimizer is tried with."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of one process of a training, at the end of a forward pass. Kernels' own scratch memory comes on top."""

    weights: int
    """Parameters and running statistics."""
    gradients: int
    """Of what is trained; twice where several workers exchange them."""
    optimizer: int
    """What the optimizer keeps of every parameter that is trained."""
    average: int
    """The average of the weights, with ``ema``."""
    activations: int
    """What a micro-batch leaves for the gradients."""
    teacher: int = 0
    """The weights of a teacher, and what is in memory of it at once while it answers: at that time there are no
    activations of the student."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.average + self.activations + self.teacher


def training_memory(
    recipe: TrainRecipe, modality: str, num_classes: int, device: torch.device, teacher: Recognizer | None = None
) -> Memory:
    """Return what a process holds on ``device``, in the stage that needs most.

    Args:
        recipe: Of the training.
        modality: Of its pictures.
        num_classes: Of its data.
        device: Decides, with ``amp``, whether activations are of half precision.
        teacher: The network of its teacher, on the meta device; None leaves it out.

    Raises:
        ConfigError: If the network cannot be built, or the device does not compute as ``amp`` says.
    """
    shapes = [(stage, grid) for stage in recipe.in_stages() for grid in _largest(stage)]
    found = [_of_shape(stage, grid, modality, num_classes, device) for stage, grid in shapes]
    if teacher is not None:
        found = [
            replace(one, teacher=teaching_bytes(teacher, stage)) if stage.distill is not None else one
            for one, (stage, _) in zip(found, shapes, strict=True)
        ]
    return max(found, key=lambda m: m.total)


def teaching_bytes(teacher: Recognizer, recipe: TrainRecipe) -> int:
    """Return what a teacher holds in full precision: its weights, a micro-batch, and what its largest layer has.

    That is the layer's input and output and a shortcut beside it, as large as the larger of the two.

    Args:
        teacher: Its network, on the meta device.
        recipe: Of the student.
    """
    sizes = [0]

    def took(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        numbers = [sum(value.numel() for value in side if isinstance(value, Tensor)) for side in (inputs, (output,))]
        sizes.append(sum(numbers) + max(numbers))

    data, channels = recipe.data, len(teacher.spec.mean)
    images = teacher.spec.num_frames if teacher.head.num_steps is not None else data.clip_length
    x_NCTHW = torch.empty((recipe.micro_batch, channels, images, data.crop_size, data.crop_size), device="meta")
    leaves = [module for module in teacher.modules() if not list(module.children())]
    hooks = [module.register_forward_hook(took) for module in leaves]
    try:
        teacher.eval()(x_NCTHW)
    finally:
        for hook in hooks:
            hook.remove()
    size = 8 if recipe.amp == "fp64" else 4
    weights = sum(value.numel() for value in teacher.state_dict().values())
    return int(size * (weights + x_NCTHW.numel() + max(sizes)))


def _largest(recipe: TrainRecipe) -> list[Grid]:
    """Return the shapes of a stage whose micro-batches have the most pixels."""
    grids = dict.fromkeys(replace(grid, lr_scale=1.0) for _, cycle in phases_of(recipe) for grid in cycle)
    most = max(grid.micro_pixels for grid in grids)
    return [grid for grid in grids if grid.micro_pixels == most]


def _of_shape(recipe: TrainRecipe, grid: Grid, modality: str, num_classes: int, device: torch.device) -> Memory:
    data = recipe.data
    net = build_unallocated(
        **recipe.model.arguments(),
        modality=modality,
        num_classes=num_classes,
        clip_length=data.clip_length,
        size=data.crop_size,
        frame_interval=data.frame_interval,
        flow_stack=data.flow_stack,
    ).train()
    freeze(net, recipe.optim.frozen)
    size = 8 if recipe.amp == "fp64" else 4
    dtype = autocast_dtype(recipe.amp, device)
    shape = (grid.micro_batch, len(net.spec.mean), grid.clip_length, grid.crop_size, grid.crop_size)
    weights = sum(value.numel() for value in net.state_dict().values())
    trained = sum(value.numel() for value in net.parameters() if value.requires_grad)
    return Memory(
        weights=size * weights,
        gradients=size * trained * (1 + (recipe.workers > 1)),
        optimizer=size * trained * kept_per_parameter(recipe.optim),
        average=size * weights * bool(recipe.ema),
        activations=kept_bytes(net, torch.empty(shape, device="meta"), dtype.itemsize if dtype else size),
    )


def kept_per_parameter(recipe: OptimRecipe) -> int:
    """Return how many numbers the optimizer of a recipe keeps of each number that is trained."""
    parameter = nn.Parameter(torch.zeros(_SHAPE))
    parameter.grad = torch.ones(_SHAPE)
    optimizer = build_optimizer([parameter], recipe)
    optimizer.step()
    kept = optimizer.state[parameter].values()
    return sum(isinstance(value, Tensor) and value.shape == _SHAPE for value in kept)


def kept_bytes(net: Recognizer, x_NCTHW: Tensor, per_number: int = 4) -> int:
    """Return how many bytes a forward pass keeps for the gradients, beside the parameters.

    A network that computes its stages twice keeps what goes into them, and the values of one stage at a time.

    Args:
        net: In training; on the meta device, or with numbers.
        x_NCTHW: The clips of a micro-batch, on the same device.
        per_number: Bytes of a floating-point number; places that pools remember are whole numbers of 8.
    """
    kept = _Kept(net, per_number)
    recomputes, net.backbone.checkpointing = net.backbone.checkpointing, False
    try:
        with kept.stages(net) if recomputes else kept.watched():
            net(x_NCTHW)
    finally:
        net.backbone.checkpointing = recomputes
    return kept.total


class _Kept:
    """Counts what autograd saves, each storage once."""

    def __init__(self, net: nn.Module, per_number: int) -> None:
        self._per_number = per_number
        held = (*net.parameters(), *net.buffers())
        self._seen: dict[int, Any] = {value.untyped_storage()._cdata: value for value in held}
        self.total = 0

    def take(self, value: Tensor) -> Tensor:
        """Count a tensor that is saved; it is held, so that no other gets its place."""
        storage = value.untyped_storage()
        if storage._cdata not in self._seen:
            self._seen[storage._cdata] = value
            size = value.element_size()
            self.total += storage.nbytes() // size * (self._per_number if value.is_floating_point() else size)
        return value

    def watched(self) -> Any:
        """Return the context in which everything that is saved is counted."""
        return torch.autograd.graph.saved_tensors_hooks(self.take, lambda value: value)

    @contextmanager
    def stages(self, net: Recognizer) -> Iterator[None]:
        """Count, of the stages that are computed twice, what goes in, and all of the largest."""
        largest, plain = 0, net.backbone.run
        forgotten = []  # held all the same, so that no other storage gets their places

        def run(stage: nn.Module, *inputs: Any) -> Any:
            nonlocal largest
            for value in inputs:
                if isinstance(value, Tensor):
                    self.take(value)
            before, seen = self.total, dict(self._seen)
            output = plain(stage, *inputs)
            largest, self.total = max(largest, self.total - before), before
            forgotten.append(self._seen)
            self._seen = seen
            return output

        replaced: Callable[..., Any] = run
        net.backbone.run = replaced  # type: ignore[method-assign]
        try:
            with self.watched():
                yield
        finally:
            del net.backbone.run
        self.total += largest
