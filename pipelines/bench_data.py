"""Measure what this node's loader delivers for a recipe, and how many loader processes a GPU needs.

kinebert bench-data rgb --set data.shards=sets/rgb --clips-per-s 200
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from kinebert.orchestration.printing import Table, say, say_json
from kinebert.pipelines.options import Overrides, load_recipe, run
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.machine import available_cores

if TYPE_CHECKING:
    from kinebert.training.data.loader_bench import ClipCost, Delivery


@dataclass(frozen=True, kw_only=True)
class BenchDataConfig:
    """Measure how fast this node loads the training clips of a recipe, and where the time goes.

    Nothing is trained and nothing is written. What was read lately comes from the machine's memory and not from its
    disk: for a cold start, read something else before, or use a node that has not seen the set.
    """

    recipe: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RECIPE")]
    """TOML file of a training, or the name of a recipe (`kinebert recipes` lists them)."""
    overrides: Overrides = ()
    """Values to take instead of the recipe's, such as data.shards=sets/rgb."""
    clips_per_s: float | None = None
    """Clips per second that one GPU (or other training process) takes: how many loader processes are needed is said."""
    loader_workers: tuple[int, ...] = ()
    """Numbers of loader processes to measure; by default 0, 1, 2, 4, ... up to the cores of this node."""
    seconds: float = 5.0
    """Length of each measurement."""
    json: bool = False
    """Print JSON instead of a table."""


def main(config: BenchDataConfig) -> int:
    """Measure, print, and return the exit status."""
    for name, value in (("seconds", config.seconds), ("clips-per-s", config.clips_per_s)):
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"--{name} must be above 0, got {value}.")
    if any(number < 0 for number in config.loader_workers):
        raise ConfigError(f"--loader-workers must be 0 or more, got {min(config.loader_workers)}.")
    recipe = load_recipe(config.recipe, config.overrides)
    recipe = recipe.with_absolute_shards()
    from kinebert.training.aligned import open_shards  # OpenCV, after the quick refusals

    shards = open_shards(recipe.data.shards, recipe.data.beside)
    shards.select(recipe.data.split, recipe.data.train_part)
    from kinebert.training.data import loader_bench  # torch, after the quick refusals

    cores = available_cores()
    numbers = sorted(set(config.loader_workers) or {0, cores, *(2**i for i in range(10) if 2**i <= cores)})
    cost = loader_bench.clip_cost(recipe, shards, config.seconds)
    measured = [loader_bench.delivery(recipe, shards, number, config.seconds) for number in numbers]
    needed = None
    if config.clips_per_s is not None and any(one.loader_workers for one in measured):
        needed = loader_bench.workers_needed(measured, config.clips_per_s)
    if config.json:
        values = {
            "cores": cores,
            "seconds_per_clip": {**cost.parts(), "total": cost.total},
            "deliveries": [asdict(one) for one in measured],
            "clips_per_s": config.clips_per_s,
            "loader_workers_needed": needed,
        }
        say_json(values)
        return 0
    data = recipe.data
    say(
        f"{shards.uri}: {shards.modality}, {data.split}/{data.train_part}; clips of {data.clip_length} images, "
        f"{data.crop_size} px, {recipe.micro_batch} to a batch; {cores} cores",
        "",
    )
    say(*_cost(cost), "", *_deliveries(measured))
    if config.clips_per_s is not None:
        say("", _advice(measured, config.clips_per_s, needed, cores))
    return 0


def _cost(cost: "ClipCost") -> list[str | Table]:
    rows = [[name, f"{1000 * value:.2f}", f"{value / cost.total:.0%}", ""] for name, value in cost.parts().items()]
    rows.append(["all", f"{1000 * cost.total:.2f}", "", f"= {1 / cost.total:.1f} clips/s"])
    title = f"one clip in one process ({cost.num_clips} measured)"
    return [title, Table(header=["", "ms", "share", ""], rows=rows, align="lrrl", indent=2)]


def _deliveries(measured: Sequence["Delivery"]) -> list[str | Table]:
    rows = []
    for one in measured:
        where = "" if one.loader_workers else "(in the training process itself)"
        rates = f"{one.clips_per_s:.1f}", f"{one.per_worker:.1f}"
        rows.append([str(one.loader_workers), *rates, f"{one.first_s:.1f} s", where])
    header = ["loader_workers", "clips/s", "each", "start", ""]
    return ["what the loader delivers", Table(header=header, rows=rows, align="lrrrl")]


def _advice(measured: Sequence["Delivery"], clips_per_s: float, needed: int | None, cores: int) -> str:
    if needed is None:
        return "how many loader processes are needed is not known: measure at least one, with --loader-workers 1."
    best = max(measured, key=lambda one: one.clips_per_s)
    said = f"{clips_per_s:g} clips/s need loader_workers = {needed} per GPU"
    if needed > cores and best.clips_per_s < clips_per_s:
        return (
            f"{said}, more than this node's {cores} cores, which deliver {best.clips_per_s:.1f}: the GPU would wait "
            f"{1 - best.clips_per_s / clips_per_s:.0%} of the time. Take a node with more cores per GPU, or a set of "
            "smaller pictures (extract-frames --help)."
        )
    gpus = max(1, cores // (needed + 1))  # the training process wants a core as well
    return f"{said}; this node's {cores} cores feed {gpus} such GPU{'s' * (gpus > 1)}."


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, BenchDataConfig, args, "kinebert bench-data")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
