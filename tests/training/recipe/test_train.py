"""A recipe is strict: what is misspelt or does not fit is an error with numbers in it."""

from dataclasses import replace
from pathlib import Path

import pytest

from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.config import load_config, to_plain
from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models import build_recognizer
from kinebert.training.recipe.train import DataRecipe, ModelRecipe, OptimRecipe, ProtocolRecipe, TrainRecipe

DATA = DataRecipe(shards="/set")


def test_a_toml_file_with_overrides(tmp_path: Path) -> None:
    path = tmp_path / "rgb.toml"
    path.write_text('batch_size = 32\nmicro_batch = 4\n[data]\nshards = "s3://bucket/rgb"\nscales = [1, 0.5]\n')
    recipe = load_config(TrainRecipe, path, ["optim.name=sgd", "optim.lr=1e-2", "workers=2"])
    assert (recipe.data.scales, recipe.optim.name, recipe.optim.lr) == ((1.0, 0.5), "sgd", 0.01)
    assert recipe.accumulation == 4
    with pytest.raises(ConfigError, match=r"unknown key 'patiense' in OptimRecipe. Did you mean 'patience'"):
        load_config(TrainRecipe, path, ["optim.patiense=1"])
    with pytest.raises(ConfigError, match=r"data: .*'shards'|'shards' of DataRecipe is required"):
        from_mapping(TrainRecipe, {"data": {}}, "data")
    with pytest.raises(ConfigError, match=r"crops: 5 is not one of 1, 3, 10"):
        load_config(TrainRecipe, path, ["test.crops=5"])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TrainRecipe(data=DATA, batch_size=30, micro_batch=4, workers=2), "multiple of 4 x 2 = 8"),
        (lambda: TrainRecipe(data=DATA, workers=3), "micro-batches of 8 clips on 3 workers"),
        (lambda: TrainRecipe(data=DATA, epochs=0), "epochs must be at least 1, got 0"),
        (lambda: TrainRecipe(data=DATA, seed=2**32), "seed must be at most 4294967295"),
        (lambda: TrainRecipe(data=DATA, label_smoothing=1.0), "label_smoothing"),
        (lambda: DataRecipe(shards="/set", val_part="train"), "both 'train'"),
        (lambda: DataRecipe(shards="/set", clip_length=0), "data.clip_length must be at least 1, got 0"),
        (lambda: DataRecipe(shards="/set", scales=(0.5, 1.0)), "from large to small"),
        (lambda: DataRecipe(shards="/set", eval_scale=1.5), "at most at 1"),
        (lambda: DataRecipe(shards="/set", crop="resized", multi_scale=False), "data.crop is 'resized'. Leave one"),
        (lambda: DataRecipe(shards="/set", short_side=(256, 256)), "data.short_side is of data.crop = 'short_side'"),
        (
            lambda: DataRecipe(shards="/set", crop="short_side", area=(0.5, 1.0)),
            "data.area is of data.crop",
        ),
        (
            lambda: DataRecipe(shards="/set", crop="short_side", crop_size=300),
            r"crop_size = 300 on, got \[256, 320",
        ),
        (lambda: DataRecipe(shards="/set", crop="resized", area=(0.5, 1.5)), r"data.area must be .* at most 1, in"),
        (lambda: OptimRecipe(lr=-0.001), "optim.lr must be positive, got -0.001"),
        (lambda: OptimRecipe(lr=float("nan")), "optim.lr must be positive"),
        (lambda: OptimRecipe(dampening=1.0), "optim.dampening"),
        (lambda: OptimRecipe(betas=(0.9, 1.0)), "optim.betas"),
        (lambda: OptimRecipe(factor=1.0), "optim.factor"),
        (lambda: ModelRecipe(dropout=1.0), "model.dropout"),
    ],
)
def test_values_out_of_range(make: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()  # type: ignore[operator]


def test_what_may_change_in_a_run_that_goes_on() -> None:
    recipe = TrainRecipe(data=DATA)
    moved = replace(
        recipe,
        data=replace(DATA, shards="/elsewhere", modality="rgb"),
        test=ProtocolRecipe(clips="multi", crops=10),
        epochs=99,
        workers=2,
        loader_workers=3,
        save_every_s=1,
    )
    assert moved.digest() == recipe.digest()
    assert replace(recipe, seed=1).digest() != recipe.digest()
    assert replace(recipe, micro_batch=4).digest() != recipe.digest()  # batch normalisation sees it
    cosine = replace(recipe, optim=OptimRecipe(schedule="cosine"))
    assert replace(cosine, epochs=99).digest() != cosine.digest()


def test_plain_values_make_the_recipe_again() -> None:
    recipe = TrainRecipe(data=replace(DATA, scales=(1.0, 0.7)), model=ModelRecipe(head_options={"num_heads": 4}))
    assert from_mapping(TrainRecipe, to_plain(recipe), "checkpoint") == recipe


def test_a_recipe_s_model_can_be_built() -> None:
    model = ModelRecipe(backbone="resnet18", head="tgap", width=0.125)
    network = build_recognizer(**model.arguments(), modality="flow", num_classes=4, clip_length=2, size=32)
    assert network.config["dropout"] == 0.8
