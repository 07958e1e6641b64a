"""What the papers' networks cost, beside a plain reading of the same ones (tests/helpers/plain_networks.py).

    python -m tests.benchmarks.models [--full] [--json numbers.json]

Both hold the same weights and take turns, so that whatever else the machine does meets both alike. Clips are shorter or
smaller than the papers', unless --full is given: the ratio is what counts. `make gpu` measures on a CUDA device.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from kinebert.training.models import Recognizer, build_recognizer
from kinebert.training.models.sizes.measure import sizes_of
from tests.helpers.measuring import print_table, processor
from tests.helpers.plain_networks import plain

NUM_CLASSES = 51


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network of the papers, its clip there, and a smaller one."""

    name: str
    network: Mapping[str, Any]
    full: tuple[int, int]
    """Frames, and height and width."""
    small: tuple[int, int]

    def arguments(self, clip: tuple[int, int]) -> dict[str, Any]:
        """For ``build_recognizer``."""
        return {**self.network, "num_classes": NUM_CLASSES, "clip_length": clip[0], "size": clip[1]}


CASES = (
    Case(
        name="ResNeXt-101-BERT",
        network={"backbone": "resnext101", "reduction": "frmb", "head": "bert"},
        full=(64, 112),
        small=(16, 112),
    ),
    Case(name="R(2+1)D-34-BERT", network={"backbone": "r2plus1d_34", "head": "bert"}, full=(32, 112), small=(8, 112)),
    Case(
        name="I3D-BERT",
        network={"backbone": "i3d", "reduction": "frab", "head": "bert"},
        full=(64, 224),
        small=(16, 224),
    ),
    Case(
        name="SlowFast-BERT",
        network={"backbone": "slowfast_50", "reduction": "frab", "head": "bert_late"},
        full=(64, 224),
        small=(64, 112),
    ),
    Case(name="ResNet-50-BERT", network={"backbone": "resnet50", "head": "bert"}, full=(16, 224), small=(4, 224)),
)


def forward(net: Recognizer, clips_NCTHW: Tensor) -> Tensor:
    """Score clips as in a test."""
    net.eval()
    with torch.no_grad():
        return net(clips_NCTHW)


def forward_backward(net: Recognizer, clips_NCTHW: Tensor) -> Tensor:
    """Make gradients as in training."""
    net.train()
    net.zero_grad(set_to_none=True)
    loss = functional.cross_entropy(net(clips_NCTHW), clips_NCTHW.new_zeros(len(clips_NCTHW), dtype=torch.long))
    loss.backward()
    return loss


WORK: Mapping[str, Callable[[Recognizer, Tensor], Tensor]] = {
    "forward": forward,
    "forward + backward": forward_backward,
}


@dataclass(frozen=True, kw_only=True)
class Times:
    """Seconds of one piece of work in every round."""

    clock: list[float]
    processor: list[float]
    """Of all threads. Neighbours hardly disturb it; but a thread that waits for another one may spin."""

    def median_ms(self) -> float:
        """By the clock."""
        return 1e3 * statistics.median(self.clock)


def in_turns(works: list[Callable[[], object]], repeats: int) -> list[Times]:
    """Measure each of ``works`` in every round, in alternating order, after one round that does not count."""
    times = [Times(clock=[], processor=[]) for _ in works]
    for round_ in range(repeats + 1):
        order = list(zip(works, times, strict=True))
        for work, found in order if round_ % 2 else reversed(order):
            clock, processor_s = time.perf_counter(), time.process_time()
            work()
            if round_:
                found.processor.append(time.process_time() - processor_s)
                found.clock.append(time.perf_counter() - clock)
    return times


def ratio(these: list[float], those: list[float]) -> float:
    """How many times as long ``these`` took as ``those``: the median over the rounds, in which they took turns."""
    return statistics.median(a / b for a, b in zip(these, those, strict=True))


def check_equal(ours: Recognizer, theirs: Recognizer, clips_NCTHW: Tensor) -> float:
    """The largest difference of the scores, in their standard deviations."""
    scores, plainly = forward(ours, clips_NCTHW).double(), forward(theirs, clips_NCTHW).double()
    difference = float((scores - plainly).abs().max() / plainly.std())
    if not difference < 1e-3:
        raise SystemExit(f"the plain network is another one: its scores differ by {difference:.1e} deviations")
    return difference


def on_cpu(cases: list[Case], full: bool, repeats: int) -> list[dict[str, Any]]:
    """Ours and the plain reading, in turns."""
    found, rows = [], []
    for case in cases:
        clip = case.full if full else case.small
        torch.manual_seed(0)
        ours = build_recognizer(**case.arguments(clip))
        theirs = plain(ours)
        clips_NCTHW = torch.randn(1, 3, clip[0], clip[1], clip[1])
        difference = check_equal(ours, theirs, clips_NCTHW)
        macs = sizes_of(**case.arguments(clip)).macs
        for name, work in WORK.items():
            mine, plainly = in_turns([partial(work, net, clips_NCTHW) for net in (ours, theirs)], repeats)
            ratios = ratio(plainly.clock, mine.clock), ratio(plainly.processor, mine.processor)
            medians = mine.median_ms(), plainly.median_ms()
            rate = macs * (3 if "backward" in name else 1) / medians[0] / 1e6
            found.append({"network": case.name, "work": name, "clip": clip, "ms": medians, "ratios": ratios})
            shape = f"{clip[0]} x {clip[1]} x {clip[1]}"
            numbers = (*(f"{m:.0f}" for m in medians), *(f"{r:.3f}" for r in ratios), f"{rate:.1f}")
            rows.append([case.name, shape, name, *numbers])
            print(f"  {case.name}, {name}: done (scores differ by {difference:.0e} deviations)", flush=True)
    print_table(
        f"One clip on {processor()}, {torch.get_num_threads()} thread(s) of torch, medians of {repeats} in turns",
        ["network", "clip", "work", "ours ms", "plain ms", "plain / ours", "of processor time", "GMac/s"],
        rows,
        words=3,
    )
    return found


def arguments(cases: Sequence[Case], description: str) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=[case.name for case in cases], help="names of the table")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--repeats", type=int, default=7, help="rounds that count")
    parser.add_argument("--full", action="store_true", help="clips of the papers' sizes; ten times as long")
    parser.add_argument("--json", type=Path, help="write the numbers to this file as well")
    return parser.parse_args()


def main(known: Sequence[Case] = CASES, description: str = __doc__ or "") -> None:
    """Print the tables."""
    chosen = arguments(known, description)
    torch.set_num_threads(chosen.threads)
    cases = [case for case in known if case.name in chosen.networks]
    print(f"{processor()}; torch {torch.__version__}; programs running beside this one: {os.getloadavg()[0]:.1f}")
    found = on_cpu(cases, chosen.full, chosen.repeats)
    print("\nGPU: not measured here; `make gpu` does it on a CUDA device.")
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
