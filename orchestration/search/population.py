"""Population based training: whoever is last of the population goes on from the weights of one of the first.

All trials are compared at the same epoch, so that the outcome does not depend on which of them was faster.

Source: "Population based training of neural networks", arXiv:1711.09846; truncation selection, section 4.1.1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestration.search.records import Record
from orchestration.search.space import Space, perturb
from training.tune_recipe import TuneRecipe


@dataclass(frozen=True)
class Exchange:
    """What one trial takes from another."""

    taker: Record
    donor: Record
    values: dict[str, Any]
    """The donor's, changed: what the taker goes on with."""


def next_stop(record: Record, tune: TuneRecipe, epochs: int) -> int:
    """Epoch after which a trial waits for the others."""
    return min((record.epoch // tune.interval + 1) * tune.interval, epochs)


def waits(record: Record, records: Sequence[Record], tune: TuneRecipe) -> bool:
    """Whether a trial has to wait for others that are not as far. Those that failed are not waited for."""
    if record.epoch == 0 or record.epoch % tune.interval:
        return False
    return len(records) < tune.trials or any(other.epoch < record.epoch for other in records if other.state != "failed")


def exchanges(records: Sequence[Record], epoch: int, space: Space, tune: TuneRecipe) -> list[Exchange]:
    """Return who takes over from whom after ``epoch``, but for those that already did.

    Depends on the numbers of that epoch alone: asked again after a restart, it answers the same.
    """
    scored = [(tune.sign * row[tune.metric], record) for record in records if (row := record.at(epoch)) is not None]
    if len(scored) < 2:
        return []
    ranked = [record for _, record in sorted(scored, key=lambda pair: (-pair[0], pair[1].number))]
    share = min(math.ceil(len(ranked) * tune.quantile), len(ranked) // 2)
    first, last = ranked[:share], ranked[-share:]
    found = []
    for taker in last:
        if taker.ended or taker.epoch != epoch or any(taken.epoch == epoch for taken in taker.takeovers):
            continue
        rng = np.random.default_rng([tune.seed, taker.number, epoch])
        donor = first[int(rng.integers(len(first)))]
        generation = taker.generation + 1
        values = perturb(space, donor.present_values, tune.seed, taker.number, generation)
        found.append(Exchange(taker, donor, values))
    return found
