"""Which values the next trial gets: a function of the search's seed, the trial's number and what is known by then."""

import importlib.util
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kinebert.orchestration.search.records import Record
from kinebert.orchestration.search.space import Numbers, Options, Space, Values, draw, grid_cells
from kinebert.preprocessing.errors import ConfigError
from kinebert.training.recipe.tune import TuneRecipe

_STARTUP = 10
"""Trials that tpe draws at random before it estimates (Optuna's default)."""


def num_trials(tune: TuneRecipe, space: Space) -> int:
    """Return how many trials a whole search has."""
    return len(grid_cells(space)) if tune.search == "grid" else tune.trials


def known_beforehand(tune: TuneRecipe, space: Space) -> list[Values]:
    """Return the values, by field, of every trial that does not depend on others."""
    if tune.search == "tpe":
        return []
    return [draw(space, tune.seed, number) for number in range(num_trials(tune, space))]


def check_installed(tune: TuneRecipe) -> None:
    """Refuse a search by tpe where Optuna is not installed."""
    if tune.search == "tpe" and importlib.util.find_spec("optuna") is None:
        raise ConfigError('tune.search = "tpe" needs Optuna: pip install "kinebert[tune]", or take "random".')


def suggest(tune: TuneRecipe, space: Space, number: int, records: Sequence[Record]) -> Values:
    """Return the values of trial ``number``; ``records`` are those of the trials before it, as far as they are."""
    return _SEARCHES[tune.search](tune, space, number, records)


def _drawn(tune: TuneRecipe, space: Space, number: int, _: Sequence[Record]) -> Values:
    return draw(space, tune.seed, number)


def _tpe(tune: TuneRecipe, space: Space, number: int, records: Sequence[Record]) -> Values:
    """Ask a study that is made anew from ``records``, by a sampler with a seed of this number's own.

    So a restart asks the same, and there is no other state to save. Trials that run count as bad for now (the constant
    liar), or several at a time would all be sent to the same place.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = int(np.random.SeedSequence([tune.seed, number]).generate_state(1)[0])
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP, constant_liar=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    distributions = {field: _distribution(dimension) for field, dimension in space.items()}
    for record in records:
        study.add_trial(_frozen(tune, space, record, distributions))
    asked = study.ask(distributions).params
    return {field: _decoded(dimension, asked[field]) for field, dimension in space.items()}


def _distribution(dimension: Any) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Options):
        return CategoricalDistribution(tuple(range(len(dimension.values))))
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high))
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _decoded(dimension: Numbers | Options, value: Any) -> Any:
    return dimension.values[value] if isinstance(dimension, Options) else dimension.tidy(value)


def _encoded(dimension: Numbers | Options, value: Any) -> Any:
    return dimension.values.index(value) if isinstance(dimension, Options) else value


def _frozen(tune: TuneRecipe, space: Space, record: Record, distributions: dict[str, Any]) -> Any:
    from optuna.trial import TrialState, create_trial

    params = {field: _encoded(dimension, record.values[field]) for field, dimension in space.items()}
    states = {"finished": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}
    state = states.get(record.state, TrialState.RUNNING)
    best = record.best(tune.metric, tune.sign)
    numbers = {row["epoch"]: tune.sign * row[tune.metric] for row in record.rows if math.isfinite(row[tune.metric])}
    if state in (TrialState.COMPLETE, TrialState.PRUNED) and not numbers:
        state = TrialState.FAIL
    return create_trial(
        state=state,
        params=params,
        distributions=distributions,
        value=tune.sign * best[tune.metric] if best is not None and state == TrialState.COMPLETE else None,
        intermediate_values=numbers,
    )


_SEARCHES: dict[str, Callable[[TuneRecipe, Space, int, Sequence[Record]], Values]] = {
    "random": _drawn,
    "grid": _drawn,
    "tpe": _tpe,
}
