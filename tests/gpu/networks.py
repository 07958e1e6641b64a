"""Steps of the papers' networks on this card: layouts, cuDNN's algorithms and compiling, beside a plain reading.

    python -m tests.gpu.networks [--seconds 300] [--json networks.json]

A step is forward and backward of one micro-batch in bf16. All that are compared take turns, so that whatever else the
machine does meets them alike. First every network without compiling, then compiled while time is left, those that
compile fastest first. Where there is no CUDA device, a tiny network takes the same way on the CPU.
"""

import math
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import torch

from kinebert.training.models.sizes.measure import sizes_of
from tests.benchmarks.models import CASES, Case
from tests.gpu.cards import about, half_precision, peak_of, product_rate
from tests.gpu.lanes import LaneError, RemoteLane, Variant, Work
from tests.gpu.stage import Stage, stage_of
from tests.helpers.measuring import print_table

BATCH = 16
TINY = Case(
    name="ResNet-18, tiny",
    network={"backbone": "resnet18", "head": "bert", "width": 0.125},
    full=(2, 32),
    small=(2, 32),
)
EAGER_S, COMPILE_S, ROUND_S = 8.0, 25.0, 0.15
"""Least time in which a network is tried at all, the same for a compiled one, and time of a variant in each round."""
ROUNDS = 5
BY_COMPILING = ("ResNet-50", "I3D", "R(2+1)D", "SlowFast", "ResNeXt")
"""From fewest to most operations to compile."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    network: str
    variant: Variant
    batch: int
    clip: tuple[int, int]
    """Frames, and height and width."""
    ms: float
    """Of a step, the median."""
    clips_per_s: float
    operations_per_s: float
    """Of convolutions and matrix products, a multiply-add counted as two, the backward pass as two forward passes."""
    times_plain: float
    """How many times as fast as the plain reading, the median over the rounds in which they took turns."""
    first_s: float
    """Until the first step was done: built, compiled, algorithms measured."""

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "variant": asdict(self.variant)}


class Lanes:
    """A process for each position of cuDNN's switch; one that failed is replaced."""

    def __init__(self, device: torch.device) -> None:
        self._arguments = device, "aot_eager" if device.type == "cpu" else "inductor"
        self._lanes: dict[bool, RemoteLane] = {}

    def __getitem__(self, benchmark: bool) -> RemoteLane:
        if benchmark not in self._lanes:
            self._lanes[benchmark] = RemoteLane(benchmark, *self._arguments)
        return self._lanes[benchmark]

    def close(self) -> None:
        """End them; the next use starts others."""
        for lane in self._lanes.values():
            lane.close()
        self._lanes.clear()


def measure(lanes: Lanes, work: Work, variants: Sequence[Variant], stage: Stage, rounds: int = ROUNDS) -> list[Any]:
    """Return for each variant its seconds per step in every round, and those until its first step was done.

    Raises:
        LaneError: If one of them failed, or no time is left.
    """
    both = sorted({variant.benchmark for variant in variants})
    for benchmark in both:
        lanes[benchmark].ask(stage.left(), "open", work)
    first: dict[Variant, float] = {}
    queues = [[variant for variant in variants if variant.benchmark == benchmark] for benchmark in both]
    for turn in zip_all(queues):  # processes build beside each other, each one thing after the other
        for variant in turn:
            lanes[variant.benchmark].send("build", variant)
        for variant in turn:
            first[variant] = lanes[variant.benchmark].wait(stage.left())
    steps = {}
    for variant in variants:  # a second step, since the first may have compiled or measured
        least = 0.0 if stage.is_tiny else ROUND_S
        steps[variant] = math.ceil(least / lanes[variant.benchmark].ask(stage.left(), "run", variant, 1)) or 1
    taken: dict[Variant, list[float]] = {variant: [] for variant in variants}
    for round_ in range(1 if stage.is_tiny else rounds):
        for variant in variants if round_ % 2 else reversed(variants):
            taken[variant].append(lanes[variant.benchmark].ask(stage.left(), "run", variant, steps[variant]))
    return [(taken[variant], first[variant]) for variant in variants]


def zip_all(queues: Sequence[Sequence[Variant]]) -> Iterator[list[Variant]]:
    """Yield the first of each queue, then the second, as long as one has any."""
    for i in range(max(map(len, queues))):
        yield [queue[i] for queue in queues if i < len(queue)]


def rows_of(case: Case, batch: int, variants: Sequence[Variant], measured: Sequence[Any], macs: int) -> list[Row]:
    """Reckon with what was measured; the first variant is the plain reading."""
    base = measured[0][0]
    rows = []
    for variant, (taken, first_s) in zip(variants, measured, strict=True):
        median = statistics.median(taken)
        rows.append(
            Row(
                network=case.name,
                variant=variant,
                batch=batch,
                clip=case.full,
                ms=1e3 * median,
                clips_per_s=batch / median,
                operations_per_s=3 * 2 * macs * batch / median,
                times_plain=statistics.median(a / b for a, b in zip(base, taken, strict=True)),
                first_s=first_s,
            )
        )
    return rows


class Table:
    """Measures networks and prints what was found, one after the other."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.lanes = stage, Lanes(stage.device)
        self.rows: list[Row] = []
        self.batches: dict[str, int] = {}
        self.left_out: list[str] = []
        self.peak = peak_of(torch.cuda.get_device_name(stage.device)) if stage.device.type == "cuda" else None

    def begin(self) -> None:
        """Say which card this is and what it can do."""
        device = self.stage.device
        reached = product_rate(device, 256 if self.stage.is_tiny else 8192)
        said = "its peak is not in tests/gpu/cards.py" if self.peak is None else f"peak {self.peak[0] / 1e12:.0f} Top/s"
        source = "" if self.peak is None else f" ({self.peak[1]})"
        print(f"{about(device)}\n{said}{source}; a matrix product reaches {reached / 1e12:.2f} Top/s", flush=True)
        self.stage.keep(
            device=about(device),
            peak=self.peak and self.peak[0],
            product=reached,
            dtype=str(half_precision(device)).removeprefix("torch."),
        )

    def add(self, case: Case, variants: Sequence[Variant], least_s: float) -> None:
        """Measure a network and print its rows; less memory than it needs halves the batch."""
        what = f"{case.name}: {', '.join(dict.fromkeys(' '.join(variant.words()[::2]) for variant in variants[1:]))}"
        if self.stage.left() < least_s:
            self.left_out.append(f"{what}: no time was left")
            return
        arguments = case.arguments(case.full)
        batch = self.batches.get(case.name, 2 if self.stage.is_tiny else BATCH)
        while True:
            try:
                measured = measure(self.lanes, Work(arguments, batch), variants, self.stage)
                break
            except LaneError as error:
                self.lanes.close()
                if "OutOfMemory" not in str(error) or batch == 1:
                    self.left_out.append(f"{what}: {error}")
                    return
                batch //= 2
        self.batches[case.name] = batch
        found = rows_of(case, batch, variants, measured, sizes_of(**arguments).macs)
        self._print(case, found if least_s == EAGER_S else found[1:])

    def _print(self, case: Case, rows: list[Row]) -> None:
        self.rows += rows
        self.stage.keep(rows=[row.plain() for row in self.rows], left_out=self.left_out)
        frames, size = case.full
        print_table(
            f"{case.name}: forward and backward, {rows[0].batch} clips of {frames} x {size} x {size}",
            ["layout", "cuDNN", "run", "ms", "clips/s", "Top/s", "of peak", "x plain", "first step s"],
            [
                [
                    *row.variant.words(),
                    f"{row.ms:.1f}",
                    f"{row.clips_per_s:.1f}",
                    f"{row.operations_per_s / 1e12:.2f}",
                    self.peak and f"{row.operations_per_s / self.peak[0]:.1%}",
                    f"{row.times_plain:.2f}",
                    f"{row.first_s:.1f}",
                ]
                for row in rows
            ],
            words=3,
        )

    def fastest_layout(self, case: Case) -> bool:
        """Whether channels last were faster, without compiling."""
        eager = [row for row in self.rows if row.network == case.name and not row.variant.is_plain]
        return max(eager, key=lambda row: row.clips_per_s).variant.channels_last if eager else True


def compiled(channels_last: bool) -> list[Variant]:
    """The plain reading, and what is compiled in one layout."""
    return [Variant(is_plain=True), *(Variant(measured, channels_last, compiled=True) for measured in (False, True))]


def main(stage: Stage, cases: Sequence[Case] = ()) -> int:
    """Print the tables, and return the exit status."""
    table = Table(stage)
    table.begin()
    chosen = list(cases) or ([TINY] if stage.is_tiny else list(CASES))
    eager = [Variant(is_plain=True), *(Variant(one, last) for last, one in product((False, True), repeat=2))]
    try:
        for case in chosen:
            table.add(case, eager, EAGER_S)
        chosen.sort(key=lambda case: [case.name.startswith(name) for name in BY_COMPILING], reverse=True)
        for case in chosen:
            table.add(case, compiled(table.fastest_layout(case)), COMPILE_S)
        for case in chosen:
            table.add(case, compiled(not table.fastest_layout(case)), COMPILE_S)
    finally:
        table.lanes.close()
        stage.keep(left_out=table.left_out)
    for words in table.left_out:
        print(f"not measured: {words}")
    return int(not table.rows)


if __name__ == "__main__":
    sys.exit(main(stage_of(__doc__)))
