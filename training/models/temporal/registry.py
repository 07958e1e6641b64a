"""Temporal modules by name, what a network of pictures asks of them, and the options that it gets from them."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

from torch import Tensor, nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.lookup import find, suggest
from kinebert.training.models.blocks import Connected, OverTime, Size, Stage
from kinebert.training.models.interfaces import Backbone
from kinebert.training.models.temporal.steps import TemporalPool, as_clips


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where in a network a temporal module may stand."""

    name: str
    """Of the block, in the backbone: ``layer2.0``."""
    stage: int
    """Of the block, from 1; a stage begins where the picture is halved."""
    index: int
    """Of the block in its stage, from 0."""
    longest: int = 1
    """Blocks of the network's longest stage."""


Maker = Callable[[int, Place], nn.Module | None]
"""Called with the channels and the place; None where nothing is to stand there. What it makes is called as
``module(x, clips)``, with frames in the batch ``(B, C, H, W)``, or ``(N, C, T, H, W)`` where clips are kept, and N."""


def nothing(channels: int, place: Place) -> None:
    """Leave every place alone."""
    del channels, place


@dataclass(frozen=True, kw_only=True)
class TemporalModule:
    """What a temporal module makes of a network of pictures."""

    clips: bool = False
    """Whether the network's layers become layers of clips, ``(N, C, T, H, W)``."""
    over_time: Callable[[Callable[[int], nn.Module], bool], OverTime] | None = None
    """What makes the second half of each convolution that looks at frames, behind the norm of its first half, which is
    one of pictures; called with what makes norms, and whether it has a bias. None where they stay one."""
    before: Maker = nothing
    """What stands before a whole block, in front of its shortcut."""
    inside: Maker = nothing
    """What stands before a block's first convolution, which the shortcut does not see; in a network without shortcuts,
    behind each of its blocks."""
    behind: Maker = nothing
    """What stands behind a whole block."""
    anywhere: bool = False
    """Whether what it makes takes clips as well, so that it goes with modules that keep them."""
    named: tuple[str, ...] = ()
    """Names of blocks that its options speak of, which the network must have."""


TEMPORAL: dict[str, Callable[..., TemporalModule]] = {}
"""Every temporal module by name, a function whose keyword-only arguments are its options."""

TemporalBuilder = TypeVar("TemporalBuilder", bound=Callable[..., TemporalModule])


def register_temporal(name: str) -> Callable[[TemporalBuilder], TemporalBuilder]:
    """Make ``build(*, options)`` available as ``name``; its options are names that no other has."""

    def register(build: TemporalBuilder) -> TemporalBuilder:
        if name in TEMPORAL:
            raise ValueError(f"two temporal modules are called {name!r}: rename one of them")
        TEMPORAL[name] = build
        return build

    return register


class Temporal:
    """How a network of pictures sees time: one temporal module, or several, and pooling of frames.

    Args:
        modules: In the order in which they stand where they meet.
        pooling: Whether time is halved with the picture, three times.
    """

    def __init__(self, modules: tuple[TemporalModule, ...], pooling: bool) -> None:
        self.modules, self.pooling = modules, pooling
        self.clips = any(module.clips for module in modules)
        self._names: list[str] = []
        self._over_time = next((module.over_time for module in modules if module.over_time), None)

    def kernel(self, size: int, frames: int | None = None) -> Size:
        """Return the kernel that one of ``size`` x ``size`` becomes; ``frames`` is its length, 3 (1 for size 1)."""
        length = min(size, 3) if frames is None else frames
        return (length, size, size) if self.clips else (size, size)

    def stride(self, step: int, pools: bool = False) -> Size:
        """Return the stride; where one ``pools`` clips are halved in time as well."""
        return (2 if pools and self.pooling else 1, step, step) if self.clips else (step, step)

    @property
    def factored(self) -> bool:
        """Whether each convolution of clips is one of pictures and one over time."""
        return self._over_time is not None

    def over_time(self, norm: Callable[[int], nn.Module] = nn.BatchNorm3d, bias: bool = False) -> OverTime | None:
        """Return what makes the second half of factored convolutions, for blocks; None where they are not factored."""
        return None if self._over_time is None else self._over_time(norm, bias)

    def pool(self) -> nn.Module | None:
        """Return what halves the frames that lie in a batch, called as ``pool(x, clips)``; None without pooling."""
        return TemporalPool() if self.pooling and not self.clips else None

    def at(self, maker: str, channels: int, place: Place) -> nn.Module | None:
        """Return what stands ``before``, ``inside`` or ``behind`` the block at ``place``; None for nothing."""
        self._names.append(place.name)
        made = [getattr(module, maker)(channels, place) for module in self.modules]
        there = [module for module in made if module is not None]
        return None if not there else there[0] if len(there) == 1 else Stage(*there)

    def connect(self, block: Connected, channels_in: int, channels_out: int, place: Place) -> None:
        """Put around a block, or into a residual one, what stands at its ``place``."""
        block.before = self.at("before", channels_in, place)
        block.inside = self.at("inside", block.inside_channels(channels_in, channels_out), place)
        block.behind = self.at("behind", channels_out, place)

    def check_names(self) -> None:
        """Raise a ConfigError if options speak of a block that the network has not."""
        for name in (name for module in self.modules for name in module.named):
            if name not in self._names:
                raise ConfigError(f"The backbone has no block {name!r}. {suggest(name, self._names)}")

    def enter(self, x_NCTHW: Tensor) -> Tensor:
        """Return clips as the network's layers take them: frames in the batch ``(B, C, H, W)``, or as they are."""
        return x_NCTHW if self.clips else x_NCTHW.transpose(1, 2).flatten(0, 1)

    def leave(self, x: Tensor, clips: int) -> Tensor:
        """Return what the layers leave of ``clips`` clips as ``(N, C, T, H, W)``."""
        return x if self.clips else as_clips(x, clips).transpose(1, 2)


def compose(temporal: str, temporal_pooling: bool, options: Mapping[str, Any]) -> Temporal:
    """Return the temporal modules of those names, joined by ``+``, with those of ``options`` that are theirs.

    Raises:
        ConfigError: For an unknown name, a value out of range, or modules that do not go together.
    """
    names = temporal.split("+")
    builders = [find(TEMPORAL, name, "temporal module") for name in names]
    modules = tuple(build(**{name: options[name] for name in _defaults(build)}) for build in builders)
    strangers = [name for name, module in zip(names, modules, strict=True) if not (module.clips or module.anywhere)]
    kept = [name for name, module in zip(names, modules, strict=True) if module.clips]
    if len(names) > len(set(names)) or len(kept) > 1 or (kept and strangers):
        raise ConfigError(
            f"the temporal modules {temporal!r} do not go together: none twice, and {' and '.join(kept) or 'one'} "
            "replaces convolutions, so that it goes with those alone that stand behind a block, such as nonlocal."
        )
    return Temporal(modules, temporal_pooling)


def takes_temporal(build: Callable[..., Backbone]) -> Callable[..., Backbone]:
    """Give a backbone's builder the options ``temporal``, ``temporal_pooling`` and those of every temporal module.

    The function has a keyword-only argument ``temporal`` instead, a :class:`Temporal`.
    """
    given = inspect.signature(build).parameters
    added: dict[str, Any] = {"temporal": "none", "temporal_pooling": False}
    for module in TEMPORAL.values():
        added.update(_defaults(module))

    @wraps(build)
    def built(*args: Any, **options: Any) -> Backbone:
        chosen = {**added, **{name: options.pop(name) for name in [*options] if name in added}}
        name, pooling = chosen.pop("temporal"), chosen.pop("temporal_pooling")
        composed = compose(name, pooling, chosen)
        backbone = build(*args, temporal=composed, **options)
        composed.check_names()
        return backbone

    kept = [parameter for parameter in given.values() if parameter.name != "temporal"]
    extra = [inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=value) for key, value in added.items()]
    built.__signature__ = inspect.signature(build).replace(parameters=[*kept, *extra])  # type: ignore[attr-defined]
    return built


def _defaults(build: Callable[..., TemporalModule]) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in inspect.signature(build).parameters.items()}
