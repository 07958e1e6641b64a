"""Accounting for weights: what becomes of every key of a file and of every parameter of a network."""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby

from torch import Tensor

from kinebert.training.models.recognizer import Recognizer
from kinebert.training.models.weights.adapting import adapt
from kinebert.training.models.weights.keys import Inflation, Layout, Shape


@dataclass(frozen=True, kw_only=True)
class Report:
    """What became of every weight. ``str(report)`` is a table.

    ``loaded``, ``adapted``, ``reinitialized`` and ``missing`` name the network's own parameters and buffers, and hold
    each of them once; ``unexpected`` and ``ignored`` name keys of the file.
    """

    layout: str
    """Name of the layout that the file was read as."""
    loaded: list[str] = field(default_factory=list)
    """Taken from the file as they are."""
    adapted: list[str] = field(default_factory=list)
    """Taken from the file and changed to fit: the first convolution, kernels without time."""
    reinitialized: list[str] = field(default_factory=list)
    """Fresh, since the file cannot have them: the classifier of other classes, a head or reduction that it lacks."""
    missing: list[str] = field(default_factory=list)
    """Fresh, although the file should have them."""
    unexpected: list[str] = field(default_factory=list)
    """Keys of the file for which the network has no place."""
    ignored: list[str] = field(default_factory=list)
    """Keys of the file that are known to be of no use in this network."""
    reasons: dict[str, str] = field(default_factory=dict)
    """More about single names of the other lists."""
    notes: list[str] = field(default_factory=list)
    """Sentences about what was done to the network."""

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """Return what is known of every weight, as lines for people."""
        lines = [f"layout: {self.layout}", *(f"note: {note}" for note in self.notes)]
        lines.append(f"loaded: {len(self.loaded) or 'none'}")
        lines += [f"  {part}: {len(list(names))}" for part, names in groupby(sorted(self.loaded), _part)]
        for kind in ("adapted", "reinitialized", "missing", "unexpected", "ignored"):
            names = getattr(self, kind)
            lines.append(f"{kind}: {len(names) or 'none'}")
            lines += [f"  {name}" + (f"  ({why})" if (why := self.reasons.get(name)) else "") for name in names]
        return lines


@dataclass(frozen=True)
class Rules:
    """How published weights are brought to fit a network, and what may be left over."""

    allow: tuple[str, ...]
    """Patterns of our names that may be missing, and of published keys without a place."""
    rescale: bool = True
    """Whether kernels over averaged channels grow by the ratio of the numbers of channels."""
    inflation: Inflation | None = None
    """How kernels of pictures are spread over time: divided by their frames, or copied to each of them; None as the
    layout says."""

    def allows(self, name: str) -> bool:
        """Whether a pattern of ``allow`` matches ``name``."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.allow)


@dataclass(frozen=True)
class Target:
    """The network to fill: shapes by name, input channels, and the parts that may stay fresh as a whole."""

    shapes: dict[str, Shape]
    channels: int
    reduced: tuple[str, ...]

    @classmethod
    def of(cls, model: Recognizer) -> "Target":
        """Return what ``model`` needs."""
        shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        return cls(shapes, len(model.spec.mean), tuple(f"backbone.{name}" for name in model.backbone.reduced))


class Draft:
    """Sorts keys of a file and names of a network into the lists of a report."""

    def __init__(self, layout: Layout, target: Target, rules: Rules) -> None:
        self.layout, self.target, self.rules = layout, target, rules
        self.keys: dict[str, str] = {}
        self.tensors: dict[str, Tensor] = {}
        self.adapted: set[str] = set()
        self.misfits: set[str] = set()
        self.fresh: list[str] = []
        self.unexpected: list[str] = []
        self.ignored: list[str] = []
        self.reasons: dict[str, str] = {}

    def claim(self, state: Mapping[str, Tensor]) -> None:
        """Give every key of the file its name in the network."""
        for key, tensor in state.items():
            name = self.layout.rename(key)
            if name is None:
                (self.ignored if self.layout.ignores(key) else self.unexpected).append(key)
                continue
            if name in self.keys:
                earlier = self.keys[name]
                (self.ignored if self.layout.shared else self.unexpected).append(earlier)
                self.reasons[earlier] = f"{key} is {name} as well, and counts"
            self.keys[name] = key
            if name in self.target.shapes:
                self._fit(name, tensor)

    def _fit(self, name: str, tensor: Tensor) -> None:
        shape = self.target.shapes[name]
        made = adapt(
            tensor,
            shape,
            self.target.channels,
            inflated=self.layout.inflated,
            inflation=self.rules.inflation or self.layout.inflation,
            rescale=self.rules.rescale,
        )
        self.misfits.discard(name)
        if made is None:
            self.misfits.add(name)
            self.reasons[name] = f"{tuple(tensor.shape)} in the file, {shape} in the network"
            return
        self.tensors[name], how = made
        if how:
            self.adapted.add(name)
            self.reasons[name] = how

    def settle(self) -> None:
        """Decide which parts stay fresh, and what is left over."""
        self._leave_fresh("classifier", may_differ=True)
        for part in self.layout.replaceable:
            self._leave_fresh(part, may_differ=True)
            self._leave_aside(part)
        self._leave_fresh("head", may_differ=False)
        for part in self.target.reduced:
            self._leave_fresh(part, may_differ=True)
        for name in self.target.shapes:
            if name not in self.keys and name not in self.fresh and self.layout.lacks(name) and not _is_counter(name):
                self.fresh.append(name)
                self.reasons[name] = "such weights have none"
        for name, key in self.keys.items():
            if name not in self.target.shapes and key not in self.ignored:
                self.unexpected.append(key)
                self.reasons.setdefault(key, f"would be {name}")
            elif name in self.misfits:
                self.unexpected.append(key)

    def _leave_fresh(self, part: str, may_differ: bool) -> None:
        names = [name for name in self.target.shapes if name.startswith(f"{part}.")]
        given = [name for name in names if name in self.keys]
        misfits = [name for name in names if name in self.misfits]
        if not names or (given and not (misfits and may_differ)):
            return
        why = f"{misfits[0]} is {self.reasons[misfits[0]]}" if misfits else "the file has none"
        for name in [name for name in self.keys if name.startswith(f"{part}.") and may_differ]:
            self.ignored.append(self.keys.pop(name))
            self.reasons[self.ignored[-1]] = f"{part} stays fresh"
        for name in names:
            self.tensors.pop(name, None)
            self.misfits.discard(name)
            self.reasons[name] = why
        self.fresh += [name for name in names if not _is_counter(name)]

    def _leave_aside(self, part: str) -> None:
        if any(name.startswith(f"{part}.") for name in self.target.shapes):
            return
        for name in [name for name in self.keys if name.startswith(f"{part}.")]:
            self.ignored.append(self.keys.pop(name))
            self.reasons[self.ignored[-1]] = f"this network has no {part}"

    def missing(self) -> list[str]:
        """Names in the network that the file should fill and does not."""
        return [
            name
            for name in self.target.shapes
            if name not in self.tensors and name not in self.fresh and not _is_counter(name)
        ]

    def refused(self) -> list[str]:
        """What is unaccounted for: names and keys that are neither placed nor allowed."""
        excused = {self.keys[name] for name in self.misfits if self.rules.allows(name)}
        excused |= {name for name in self.misfits if self.rules.allows(self.keys[name])}
        found = [*self.missing(), *self.unexpected]
        return [name for name in found if name not in excused and not self.rules.allows(name)]

    def report(self, notes: list[str]) -> Report:
        """Return the lists as a report."""
        return Report(
            layout=self.layout.name,
            loaded=[name for name in self.tensors if name not in self.adapted],
            adapted=[name for name in self.tensors if name in self.adapted],
            reinitialized=self.fresh,
            missing=self.missing(),
            unexpected=self.unexpected,
            ignored=self.ignored,
            reasons=self.reasons,
            notes=notes,
        )


def _is_counter(name: str) -> bool:
    return name.endswith(".num_batches_tracked")  # old files have none, and nothing here reads them


def _part(name: str) -> str:
    return ".".join(name.split(".")[:2]) if name.startswith("backbone.") else name.split(".")[0]
