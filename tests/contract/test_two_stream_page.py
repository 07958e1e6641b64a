"""docs/two_stream.md: its recipes can be read and build the networks that it tells of."""

import re
import tomllib
from typing import Any

from kinebert.preprocessing.checked.values import from_mapping
from kinebert.training.models.sizes.unallocated import build_unallocated
from kinebert.training.recipe.train import TrainRecipe
from tests.helpers.paths import ROOT

PAGE = (ROOT / "docs" / "two_stream.md").read_text()


def test_its_recipes_build_what_it_says() -> None:
    values: dict[str, Any] = {}
    for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL):
        values |= tomllib.loads(block)
    recipe = from_mapping(TrainRecipe, values, "docs/two_stream.md")
    data = recipe.data
    assert (data.modality, data.beside) == ("rgb+flow", ("sets/flow",))
    net = build_unallocated(
        **recipe.model.arguments(), modality=data.modality, num_classes=8, clip_length=8, size=data.crop_size
    )
    modules = {name for name, _ in net.named_modules()}
    named = re.findall(r"`((?:backbone|head|classifier)\.streams\.(?!\*)[\w.]+)`", PAGE)
    assert len(named) == 3
    assert modules >= set(named)
    for recipe_file in re.findall(r"`(recipes/[\w/]+\.toml)`", PAGE):
        assert (ROOT / "pipelines" / recipe_file).exists()
