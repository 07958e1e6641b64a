"""Rows of the papers' tables: what is printed, and the network of ours that it is printed of."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from functools import cache, cached_property
from typing import Any, Literal

from torch.nn.modules.batchnorm import _BatchNorm

from kinebert.training.models.sizes.measure import Sizes, sizes_of
from kinebert.training.models.sizes.unallocated import build_unallocated

HMDB51_CLASSES = 51
Count = Literal["paper_flops", "macs"]
Network = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a paper's table. Figures are as printed, sizes in millions and in 1e9; empty where there is none."""

    name: str
    networks: tuple[Network, ...] = ()
    """Arguments of ``build_recognizer``; one for each stream of a row of several, none where it is not built here."""
    parameters: str = ""
    operations: str = ""
    accuracies: tuple[str, ...] = ()
    """As many as the table has columns of them, in percent."""
    recipe: str = ""
    """The recipe that trains it, by its name; of several streams with ``and`` between."""
    changes: tuple[str, ...] = ()
    """What is changed in that recipe, as ``key=value`` of ``kinebert train --set``."""
    stream_changes: tuple[tuple[str, ...], ...] = ()
    """Of a row of several streams, what is changed in the recipe of each; nothing where it is empty."""
    fused: str = ""
    """Of a row of several streams, the score tables that `kinebert fuse` takes, as a shell reads them."""
    count: Count = "paper_flops"
    """Which of our counts the paper's operations are."""
    operations_per: int = 1
    """Images that the clip's operations are divided by, as printed."""
    operations_times: int = 1
    """Printed operations for each of ours."""
    cause: str = ""
    """Why a printed figure is not ours."""
    unexplained: bool = False
    """The cause is not known, and the printed figure does not follow from it."""
    cut: bool = False
    """The parameters were cut to the digits that are printed, not rounded."""
    parameters_besides: int = 0
    """Parameters in the printed figure that are not in our network."""
    without_norms: bool = False
    """The printed parameters leave those of batch norms out."""
    operations_sum: tuple[str, ...] = ()
    """Printed figures that the printed operations are the sum of."""
    parameters_sum: tuple[str, ...] = ()
    """Printed figures that the printed parameters are the sum of."""

    @property
    def trainings(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The recipe of each stream, and what is changed in it."""
        if not self.recipe:
            return ()
        recipes = self.recipe.split(" and ")
        changes = self.stream_changes or ((self.changes,) if len(recipes) == 1 else ((),) * len(recipes))
        return tuple(zip(recipes, changes, strict=True))

    @cached_property
    def sizes(self) -> tuple[Sizes, ...]:
        """Sizes of each network of the row."""
        return tuple(_sizes(_plain(network)) for network in self.networks)

    @property
    def our_parameters(self) -> int:
        """Our parameters, with those that the printed figure holds besides, and without those that it leaves out."""
        left_out = sum(_in_norms(_plain(net)) for net in self.networks) if self.without_norms else 0
        return sum(sizes.parameters for sizes in self.sizes) + self.parameters_besides - left_out

    @property
    def our_operations(self) -> int:
        """Operations in the paper's count."""
        whole = sum(sizes.macs if self.count == "macs" else sizes.paper_flops for sizes in self.sizes)
        return self.operations_times * whole // self.operations_per

    @property
    def macs(self) -> int:
        """Multiply-adds of all networks of the row, for one clip each."""
        return sum(sizes.macs for sizes in self.sizes)

    def is_explained(self) -> bool:
        """Whether every printed figure is ours, at its printed precision, or follows from ``cause``."""
        return not self.networks or (self._parameters_agree() and self._operations_agree())

    def _parameters_agree(self) -> bool:
        if self.parameters_sum:
            return sum(map(Decimal, self.parameters_sum)) == Decimal(self.parameters)
        return not self.parameters or printed(self.our_parameters, 6, self.parameters, self.cut) == self.parameters

    def _operations_agree(self) -> bool:
        if self.operations_sum:
            return sum(map(Decimal, self.operations_sum)) == Decimal(self.operations)
        return not self.operations or printed(self.our_operations, 9, self.operations) == self.operations


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a paper, or what several tables print alike."""

    source: str
    """Short name of the paper, and the table's number."""
    title: str
    """What all its rows have in common."""
    rows: tuple[Row, ...]
    accuracies: tuple[str, ...] = ()
    """What its columns of accuracies are of."""
    note: str = ""
    """What must be known of all its rows."""

    def __str__(self) -> str:
        return f"{self.source}: {self.title}"

    def __post_init__(self) -> None:
        for row in self.rows:
            if row.accuracies and len(row.accuracies) != len(self.accuracies):
                raise ValueError(
                    f"{self}, {row.name}: {len(row.accuracies)} accuracies for {len(self.accuracies)} columns"
                )


def _plain(network: Network) -> str:
    return json.dumps({"num_classes": HMDB51_CLASSES, **network})


@cache
def _in_norms(arguments: str) -> int:
    norms = (m for m in build_unallocated(**json.loads(arguments)).modules() if isinstance(m, _BatchNorm))
    return sum(parameter.numel() for norm in norms for parameter in norm.parameters())


@cache  # many rows are of one network
def _sizes(arguments: str) -> Sizes:
    return sizes_of(**json.loads(arguments))


def printed(value: int, exponent: int, like: str, cut: bool = False) -> str:
    """Write ``value`` in units of ``10 ** exponent`` with as many decimals as ``like`` has."""
    digits = Decimal(like).as_tuple().exponent
    rounding = ROUND_DOWN if cut else ROUND_HALF_UP
    return str((Decimal(value).scaleb(-exponent)).quantize(Decimal(1).scaleb(int(digits)), rounding))


def network(backbone: str, head: str, frames: int, size: int, reduction: str | None = None, **others: Any) -> Network:
    """Return arguments of ``build_recognizer``."""
    given = {"backbone": backbone, "reduction": reduction, "head": head, "clip_length": frames, "size": size}
    return {**given, **others}


def one(row: str, of: Network, parameters: str, operations: str, *accuracies: str, **others: Any) -> Row:
    """Return a row of one network."""
    return Row(name=row, networks=(of,), parameters=parameters, operations=operations, accuracies=accuracies, **others)
