"""Population based training: whoever is last of the population goes on from the weights of one of the first.

All trials are compared at the same epoch, so that the outcome does not depend on which of them was faster.

Source: "Population based training of neural networks", arXiv:1711.09846; truncation selection, section 4.1.1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kinebert.orchestration.search.records import Record, score
from kinebert.orchestration.search.space import Space, perturb
from kinebert.training.recipe.tune import TuneRecipe


@dataclass(frozen=True)
class Exchange:
    """One trial takes weights and values over from another."""

    taker: Record
    donor: Record
    values: dict[str, Any]
    """The donor's, changed: what the taker goes on with."""


def next_stop(record: Record, tune: TuneRecipe, epochs: int) -> int:
    """Return the epoch after which a trial waits for the others of its population."""
    if is_at_stop(record, tune) and record.settled < record.epoch:
        return record.epoch  # heard of, but the leg was killed before its state was written
    return min((record.epoch // tune.interval + 1) * tune.interval, epochs)


def is_at_stop(record: Record, tune: TuneRecipe) -> bool:
    """Whether the last epoch that was heard of is one at which the population is compared."""
    return record.epoch > 0 and record.epoch % tune.interval == 0


def waits(record: Record, records: Sequence[Record], tune: TuneRecipe) -> bool:
    """Whether a trial that is settled at a stop has to wait for others. Those that have ended are not waited for."""
    return len(records) < tune.trials or any(not other.ended and other.settled < record.epoch for other in records)


def exchanges(records: Sequence[Record], epoch: int, space: Space, tune: TuneRecipe) -> list[Exchange]:
    """Return who takes over from whom after ``epoch``, but for those that already did.

    Depends on what was at that epoch alone: asked again after a restart, or when some have gone on or failed since, it
    answers the same. Whoever had ended by then gives nothing, as its state is deleted.
    """
    there = [record for record in records if record.settled >= epoch]
    scored = [(score(row, tune.metric, tune.sign), record) for record in there if (row := record.at(epoch)) is not None]
    if len(scored) < 2:
        return []
    ranked = [record for _, record in sorted(scored, key=lambda pair: (-pair[0], pair[1].number))]
    share = min(math.ceil(len(ranked) * tune.quantile), len(ranked) // 2)
    first, last = [record for record in ranked[:share] if not record.ended], ranked[-share:]
    found = []
    for taker in last if first else []:
        if taker.ended or taker.epoch != epoch or any(taken.epoch == epoch for taken in taker.takeovers):
            continue
        rng = np.random.default_rng([tune.seed, taker.number, epoch])
        donor = first[int(rng.integers(len(first)))]
        generation = taker.generation + 1
        values = perturb(space, donor.present_values, tune.seed, taker.number, generation)
        found.append(Exchange(taker, donor, values))
    return found
