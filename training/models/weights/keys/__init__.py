"""Published weights, read under our parameter names. One file per source, in rooms; every key is accounted for."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, Literal

from kinebert.preprocessing.discovery import modules_of
from kinebert.training.models.inputs import Normalization

Shape = tuple[int, ...]
Inflation = Literal["divide", "copy"]
"""How a kernel without time becomes one of T steps: ``divide`` by T (a clip of one repeated picture then gives what the
picture gave, as in I3D's paper, arXiv:1705.07750), or ``copy`` as it is (T times as much)."""


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """A file that its authors offer. We ship none."""

    name: str
    """Name of the file."""
    backbone: str
    """Name of our backbone that reads it."""
    num_classes: int | None
    """Classes of its classifier; None without one."""
    num_frames: int
    """Images in a clip that it was trained on."""
    crop_size: int
    """Height and width of its input, pixels."""
    modality: str = "rgb"
    """Modality that it was trained on: ``rgb`` or ``flow``."""
    frame_interval: int = 1
    """Frames of the video from one image of a clip to the next."""
    flow_stack: int = 1
    """Flow fields in the channels of each image of a clip."""
    data: str = "Kinetics-400"
    """Data set that it was trained on."""
    backbone_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the backbone that are not its defaults."""
    reduction: str | None = None
    """Feature reduction of the published network: ``frab`` or ``frmb``."""
    head: str = "tgap"
    """Name of our head that reads it."""
    head_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the head that are not its defaults on this backbone."""

    def arguments(self) -> dict[str, Any]:
        """Return the arguments with which ``build_recognizer`` makes the network that the file is of."""
        return {
            **self.head_options,
            "backbone": self.backbone,
            "backbone_options": dict(self.backbone_options),
            "reduction": self.reduction,
            "head": self.head,
            "modality": self.modality,
            "num_classes": self.num_classes or 1,
            "clip_length": self.num_frames,
            "size": self.crop_size,
            "frame_interval": self.frame_interval,
            "flow_stack": self.flow_stack,
        }


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one source names its parameters, and what is known of its files."""

    name: str
    """Unique; what a user gives as ``layout=``."""
    source: str
    """Repository or project that publishes the weights."""
    paper: str
    """Title and arXiv number of the paper."""
    licence: str
    """Licence of the weights (of the code, where nothing else is said)."""
    url: str
    """Where the authors offer the weights."""
    rules: tuple[tuple[str, str], ...]
    """Pairs of a regular expression for whole published keys, prefixes such as ``module.`` off, and our full key (a
    template of its groups: ``backbone.``, ``head.`` or ``classifier.`` and so on). The first that matches counts."""
    normalization: Mapping[str, Normalization] = field(default_factory=dict)
    """What the weights expect, by modality; empty for the backbone's default."""
    files: tuple[PublishedFile, ...] = ()
    """The files that are known by name."""
    variants: tuple[PublishedFile, ...] = ()
    """Networks with these names of which no file is offered: what a file of somebody's own may be of."""
    ignored: tuple[str, ...] = ()
    """Regular expressions of published keys that have no use in our network; the report names them."""
    options: Callable[[Mapping[str, Shape], Mapping[str, Any]], dict[str, Any] | None] | None = None
    """``options(shapes of the published keys, backbone options of the model)`` returns the options to change so that
    the model becomes the published variant, empty if it is; None if these weights cannot be of this layout."""
    inflated: bool = False
    """Whether kernels may lack the time axis that ours have: they are then spread over it."""
    inflation: Inflation = "divide"
    """How such kernels are spread, unless somebody says otherwise: as the published programs do it."""
    fresh: tuple[str, ...] = ()
    """Regular expressions of our names that these weights cannot have: they stay fresh where the file lacks them."""
    replaceable: tuple[str, ...] = ()
    """Parts of the published network (prefixes of our names) that ours may lack, or have in other shapes, as another
    head or a feature reduction wants: what the file has for them is then left aside, and ours stay fresh."""
    caution: str = ""
    """What a report says of what these files do not tell."""
    shared: bool = False
    """Whether two published keys may name one tensor; the later one counts, as in the implementation that saved it."""

    def rename(self, key: str) -> str | None:
        """Return our name of the published ``key``; None if the layout does not know it, or knows it to be useless."""
        return _renamed(self.rules, key)

    def ignores(self, key: str) -> bool:
        """Whether the published ``key`` is known to have no use here."""
        return _matches(self.ignored, key)

    def lacks(self, name: str) -> bool:
        """Whether such weights never have what our network calls ``name``."""
        return _matches(self.fresh, name)

    def covers(self, keys: Iterable[str]) -> bool:
        """Whether every one of the published ``keys`` has a rule or is known to be useless."""
        return all(self.ignores(key) or self.rename(key) is not None for key in keys)


@lru_cache(2**17)  # whoever looks for the network of a file asks the same for each that it may be
def _renamed(rules: tuple[tuple[str, str], ...], key: str) -> str | None:
    for pattern, template in rules:
        match = _compiled(pattern).fullmatch(key)
        if match:
            return match.expand(template)
    return None


@lru_cache(2**17)
def _matches(patterns: tuple[str, ...], key: str) -> bool:
    return any(_compiled(pattern).fullmatch(key) for pattern in patterns)


@cache  # re keeps only 512 of them, and there are more
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


@cache
def layouts() -> tuple[Layout, ...]:
    """Return every layout of the modules in this folder's rooms, in the order of their names, whatever their room.

    A module has its layouts in ``LAYOUTS``.
    """
    rooms = modules_of(__name__)
    modules = [*rooms, *(module for room in rooms if hasattr(room, "__path__") for module in modules_of(room.__name__))]
    modules.sort(key=lambda module: module.__name__.rpartition(".")[2])
    found = [layout for module in modules for layout in getattr(module, "LAYOUTS", ())]
    names = [layout.name for layout in found]
    if len(set(names)) < len(names):
        raise ValueError(f"two layouts have one name: {sorted(name for name in names if names.count(name) > 1)}")
    return tuple(found)
