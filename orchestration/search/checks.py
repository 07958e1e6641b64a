"""What can be found out about a search before a cluster is started."""

from collections.abc import Iterator
from typing import Any

from kinebert.orchestration.search.space import Space, Values, trial_seed
from kinebert.orchestration.search.suggest import check_installed, known_beforehand
from kinebert.orchestration.search.trials import Job
from kinebert.preprocessing.config import digest, to_plain
from kinebert.preprocessing.errors import UserError
from kinebert.training.aligned import OpenedSet, open_shards
from kinebert.training.checkpoints.state import about as about_shards
from kinebert.training.loop.preflight import check_training
from kinebert.training.recipe.settings import identity_of
from kinebert.training.recipe.train import TrainRecipe

_MOST_NETWORKS = 16


def about(base: TrainRecipe, shards: OpenedSet) -> dict[str, Any]:
    """Return what a search is as plain values: its recipe, its space, the digests of its data."""
    assert base.tune is not None, "a search was checked before"
    fixed = {*identity_of(base.tune), *(["trials"] if base.tune.scheduler == "pbt" else [])}  # populations do not grow
    tune = {key: value for key, value in to_plain(base.tune).items() if key in fixed}
    return {"recipe": {**base.identity(), "epochs": base.epochs}, "tune": tune, "shards": about_shards(shards)}


def check_trials(job: Job, space: Space, shards: OpenedSet) -> list[str]:
    """Look at every trial whose values are known, and build every network that is asked for, without its weights.

    Returns:
        Sentences about what is unusual but allowed.

    Raises:
        UserError: If a trial could not be trained; it says which values.
    """
    assert job.base.tune is not None, "a search was checked before"
    check_installed(job.base.tune)
    known = known_beforehand(job.base.tune, space) or list(_corners(space))
    notes: dict[str, None] = {}
    seen: set[str] = set()
    for number, values in enumerate(known):
        words = ", ".join(f"{field} = {value!r}" for field, value in values.items())
        try:
            recipe = job.recipe(values, trial_seed(job.base.tune.seed, number))
            kind = digest(recipe.model, recipe.data)
            if kind in seen or len(seen) >= _MOST_NETWORKS:
                continue
            seen.add(kind)
            data, base = recipe.data, job.base.data
            same = (data.shards, data.beside) == (base.shards, base.beside)
            found = check_training(recipe, shards if same else open_shards(data.shards, data.beside), job.output)
            notes |= dict.fromkeys(found)
        except UserError as error:
            reason = str(error).removeprefix(f"{job.where}: ")
            raise type(error)(f"{job.where}: a trial with {words}: {reason}") from None
    return list(notes)


def _corners(space: Space) -> Iterator[Values]:
    """Each end of each field alone, with the base's values in the others."""
    for field, dimension in space.items():
        for value in dimension.ends():
            yield {field: value}
