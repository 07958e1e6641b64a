"""Start-up of trials: seconds from the search's decision to the first step, with and without workers of their own.

python -m tests.benchmarks.tuning [--trials N]

Trials of one worker train in the process that Ray Tune gives them, and the next trial takes that process over; trials
of several workers start a group of Ray Train each. Takes about 3 minutes on two cores.
"""

import argparse
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from kinebert.orchestration.cluster import cluster
from kinebert.orchestration.search.records import Record
from kinebert.orchestration.search.run import Resources, search
from kinebert.orchestration.search.space import read_space
from kinebert.orchestration.search.trials import Job
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.training.recipe.train import DataRecipe, ModelRecipe, TrainRecipe
from kinebert.training.recipe.tune import TuneRecipe
from tests.helpers.sets import make_rows, make_set

MOST_S = 5.0


def startups(base: TrainRecipe, folder: Path) -> list[float]:
    """Search, one trial at a time, and return the seconds of each in turn."""
    folder.mkdir()
    job = Job(base=base, output=str(folder), cpus_per_worker=1.0, where="benchmark")
    assert base.tune is not None, "a search needs one"
    space = read_space(base.tune, base, "benchmark")
    found: list[Record] = search(job, space, [], Resources(), lambda record, at_work: None)
    return [record.startup_s for record in found if record.startup_s is not None]


def main() -> int:
    """Measure, print, and return whether a trial of one worker takes too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kb-bench-") as name:
        folder = Path(name)
        rows = make_rows(folder / "videos", [6] * 12)
        shards = make_set(rows, folder / "set", FrameRecipe(resize="none"))
        base = TrainRecipe(
            data=DataRecipe(shards=shards.uri, clip_length=4, crop_size=32),
            model=ModelRecipe(backbone="resnet18", head="tgap", width=0.125),
            tune=TuneRecipe(
                space={"optim.lr": {"log_uniform": [1e-4, 1e-2]}}, scheduler="none", trials=options.trials, concurrent=1
            ),
            batch_size=4,
            micro_batch=2,
            epochs=1,
        )
        with cluster(2):  # is there before the search, as in a job
            alone = startups(base, folder / "alone")
            group = startups(replace(base, workers=2), folder / "group")
    first, others, grouped = alone[0], statistics.median(alone[1:]), statistics.median(group)
    print(f"{'':52} {'s':>6} {'to the group':>13}")
    for label, seconds in (
        ("one worker, the first trial of a process", first),
        ("one worker, the next trials (median)", others),
        ("two workers, a group of their own (median)", grouped),
    ):
        print(f"{label:52} {seconds:6.2f} {seconds / grouped:13.2f}")
    print(f"the limit for one worker is {MOST_S:g} s")
    return int(max(first, others) > MOST_S)


if __name__ == "__main__":
    sys.exit(main())
