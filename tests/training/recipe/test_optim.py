"""How a recognizer learns, as recipes say it: what is refused, and what older runs do not know."""

from dataclasses import replace

import pytest

from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.config import to_plain
from kinebert.preprocessing.errors import ConfigError
from kinebert.training.recipe.train import DataRecipe, GroupRecipe, GroupsRecipe, LayerRecipe, OptimRecipe, TrainRecipe

RECIPE = TrainRecipe(data=DataRecipe(shards="/set"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: OptimRecipe(max_grad_norm=-1.0), "optim.max_grad_norm must be at least 0, got -1.0"),
        (lambda: OptimRecipe(schedule="multistep"), r"milestones is \[\] .* multistep needs milestones"),
        (lambda: OptimRecipe(milestones=(3,)), "'plateau': multistep needs milestones, and no other schedule takes"),
        (lambda: OptimRecipe(schedule="multistep", milestones=(4, 4)), r"epochs from 1 that rise, got \[4, 4\]"),
        (lambda: GroupRecipe(lr_scale=0.0), r"lr_scale must be positive, got 0.0. .* optim.frozen"),
        (lambda: GroupRecipe(weight_decay=-1.0), "weight_decay must be at least 0, got -1.0"),
        (lambda: LayerRecipe(match=""), "match is empty"),
        (lambda: OptimRecipe(warmup_steps=-1), "optim.warmup_steps must be at least 0, got -1"),
        (lambda: OptimRecipe(warmup_steps=5, warmup_epochs=1.0), "both say how long the warm-up is"),
        (lambda: OptimRecipe(warmup_from=0.1), "warmup_from is of a warm-up"),
        (lambda: OptimRecipe(warmup_steps=5, warmup_from=1.0), "must be at least 0 and below 1, got 1.0"),
        (lambda: OptimRecipe(cosine_from="warmup"), "of the schedule .cosine. after a warm-up"),
    ],
)
def test_values_out_of_range(make: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()  # type: ignore[operator]


def test_keys_that_came_later_leave_the_identity_of_older_runs_alone() -> None:
    assert RECIPE.digest() == "c7899a2d4368"  # as it was before the keys below came
    slow = GroupsRecipe(backbone=GroupRecipe(lr_scale=0.1))
    for optim in (OptimRecipe(decay_norms=False), OptimRecipe(frozen=("backbone",)), OptimRecipe(groups=slow)):
        changed = replace(RECIPE, optim=optim)
        assert changed.digest() != RECIPE.digest()
        assert from_mapping(TrainRecipe, to_plain(changed), "checkpoint") == changed
