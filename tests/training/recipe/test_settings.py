"""What of a recipe enters its digest, and what may change in a continued run: as it was, field by field.

The digests are those that trainings have been stored with; a test that fails here means that a run begun earlier is
taken for another one.
"""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

import pytest

from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.errors import UserError
from kinebert.training.checkpoints.state import TrainState, check_continues
from kinebert.training.recipe.settings import changeable
from kinebert.training.recipe.train import TrainRecipe

PLAIN = "c7899a2d4368"
"""Digest of the recipe that names a shard set and nothing else."""
DECIDING: dict[str, tuple[Any, str]] = {
    "data.split": ("split2", "bdc5353dee69"),
    "data.val_part": ("test", "eb9269e1a3d0"),
    "data.sampling": ("sections", "1c8dadd0953e"),
    "data.clips": ("centre", "7c1da876cbae"),
    "data.clip_length": (8, "cb1b7a766727"),
    "data.frame_interval": (2, "2624bc6c32ae"),
    "data.flow_stack": (10, "39ea1bc0840f"),
    "data.crop_size": (64, "6523c3367384"),
    "data.scales": ([1.0, 0.5], "48b53e8ed0ca"),
    "data.multi_scale": (False, "518ec415cf84"),
    "data.eval_scale": (1.0, "16d5c47d9844"),
    "data.flip": (False, "fc4ae15bba14"),
    "data.order": ("shards", "f02429c31232"),
    "data.crop": ("resized", "757a1699232b"),
    "data.augment.brightness": (0.5, "55ed9918b5ff"),
    "data.augment.contrast": (0.5, "6cb672e0a024"),
    "data.augment.saturation": (0.5, "fbd1438e4ba3"),
    "data.augment.hue": (0.5, "8c482c98feb0"),
    "data.augment.randaugment": (2, "ee23141f3a7c"),
    "data.augment.magnitude": (7, "7234eed2af35"),
    "data.augment.erase": (0.5, "ef5551075572"),
    "data.augment.erase_area": ([0.1, 0.2], "55aeaf9af6c8"),
    "data.augment.erase_aspect": ([0.5, 2.0], "00a34c531d0d"),
    "data.augment.erase_with": ("mean", "39e4c41f9db0"),
    "data.resize_on": ("device", "921004c59d01"),
    "data.flip_swaps_sides": (True, "1ec7a5936e16"),
    "data.half_size": (True, "aa9b787ea6b8"),
    "model.backbone": ("resnet18", "9b6ca45d9de2"),
    "model.reduction": ("frab", "3a320f65dd32"),
    "model.head": ("tgap", "a266664e1c38"),
    "model.width": (0.5, "0a896dab3eb0"),
    "model.dropout": (0.5, "d083b82a61d5"),
    "model.head_options": ({"num_layers": 2}, "3b8e75d0d9e1"),
    "model.weights_allow": (["head.*"], "89079f1aa0d8"),
    "optim.name": ("sgd", "d2f4718b0a6e"),
    "optim.lr": (0.01, "0fee6eea9b68"),
    "optim.lr_batch": (64, "d3a1f6e4b000"),
    "optim.weight_decay": (0.0, "c0b3f97551b9"),
    "optim.decay_norms": (False, "5db9a8d01aa2"),
    "optim.groups.backbone.lr_scale": (0.1, "1e7f1afe8713"),
    "optim.groups.backbone.weight_decay": (0.0, "88838a9d8bd2"),
    "optim.groups.reduction.lr_scale": (0.1, "deb8b8bd9ae0"),
    "optim.groups.reduction.weight_decay": (0.0, "6358e6d6a158"),
    "optim.groups.head.lr_scale": (0.1, "34c9d5550fde"),
    "optim.groups.head.weight_decay": (0.0, "8edd3e6e20a9"),
    "optim.groups.classifier.lr_scale": (0.1, "1da8c0911806"),
    "optim.groups.classifier.weight_decay": (0.0, "1a6d30378ca4"),
    "optim.frozen": (["backbone"], "8888e412f32c"),
    "optim.lr_zero": (["head"], "20b4c5e6027a"),
    "optim.betas": ([0.8, 0.99], "e5f90182cd1e"),
    "optim.switch_tolerance": (1.0, "be270d4b2b9f"),
    "optim.momentum": (0.5, "23146912530f"),
    "optim.dampening": (0.9, "5fa82e1d43eb"),
    "optim.max_grad_norm": (0.0, "a991ca5b0530"),
    "optim.schedule": ("constant", "bbc39c93374e"),
    "optim.monitor": ("top1", "4268ebdbda49"),
    "optim.patience": (9, "7d11422192d1"),
    "optim.factor": (0.5, "f261daf457cd"),
    "optim.warmup_epochs": (1.0, "18518626dc0b"),
    "optim.warmup_steps": (5, "0a9499ba4dbc"),
    "optim.layers": ([{"match": "head.*", "lr_scale": 0.1}], "155ecfac0f37"),
    "batch_size": (64, "907a7018d871"),
    "micro_batch": (4, "bcc624aed6f7"),
    "stages": ([{"clip_length": 4, "epochs": 1}], "1bf3d2bc9afe"),
    "multigrid.long_cycle": (True, "893010a881b8"),
    "multigrid.short_cycle": (True, "d572e0ed712e"),
    "label_smoothing": (0.1, "8eacf0770bf8"),
    "mixing.mixup": (0.2, "3e33be47a5e5"),
    "mixing.cutmix": (1.0, "daeb2f5daa3d"),
    "mixing.share": (0.5, "d155a69987e3"),
    "distill": ({"method": "mars", "teacher": "/t.pt"}, "6e6453d142c1"),
    "ema": (0.5, "f016d0ba9311"),
    "seed": (1, "958a974b8f88"),
    "amp": ("off", "51a2593a7cd5"),
    "compile": (True, "6fd69b53fb2f"),
    "sync_norm": (True, "530b135d0a35"),
}
"""Fields that decide what is trained: another value, and the digest with it."""
DECIDING_WITH: dict[str, tuple[Any, dict[str, Any], str]] = {
    "data.train_part": ("test", {"data.val_part": "val"}, "68008c7190a9"),
    "data.short_side": ([256, 340], {"data.crop": "short_side"}, "29a048e7832c"),
    "data.area": ([0.5, 1.0], {"data.crop": "resized"}, "39d27e7852e9"),
    "data.aspect": ([0.5, 2.0], {"data.crop": "resized"}, "e7907b9ab5ce"),
    "model.fusion": ("l2", {}, "5f9785007a58"),
    "model.streams": ({"flow": {"width": 0.5}}, {}, "b7c0cb4823b5"),
    "model.reduction_width": (256, {"model.reduction": "frmb"}, "27c4b9f67546"),
    "model.backbone_options": (
        {"reduced_paths": "both"},
        {"model.backbone": "slowfast_50", "model.reduction": "frab"},
        "1e01ba00f21a",
    ),
    "model.weights_digest": ("ab", {"model.weights": "/w.pth"}, "e6799dc2b5d1"),
    "optim.milestones": ([3], {"optim.schedule": "multistep"}, "ac242e62a352"),
    "optim.warmup_from": (0.5, {"optim.warmup_epochs": 1.0}, "41753df2c7a2"),
    "optim.cosine_from": ("warmup", {"optim.warmup_steps": 5, "optim.schedule": "cosine"}, "1b5f2845def7"),
    "multigrid.scale_lr": ("none", {"multigrid.long_cycle": True}, "e394ca51723b"),
    "multigrid.cycles": (2, {"multigrid.long_cycle": True}, "f6825e850f4a"),
    "multigrid.finetune_epochs": (5, {"multigrid.long_cycle": True}, "5e880054154b"),
    "multigrid.micro_batch": ("grows", {"multigrid.long_cycle": True}, "96aa054bdeea"),
    "optim.stretched": ([[1, 4]], {"optim.schedule": "cosine"}, "0efe26aefdb4"),
}
"""Fields that decide with another field that allows them: value, the other fields, digest."""
CHANGEABLE: dict[str, Any] = {
    "data.shards": "/elsewhere",
    "data.beside": ("/beside",),
    "data.modality": "rgb",
    "data.cache_gib": 1.0,
    "data.cache_folder": "/cache",
    "model.checkpointing": True,
    "model.weights": "/w.pth",
    "test.clips": 10,
    "test.crops": 3,
    "test.average": "softmax",
    "test.scale": 1.0,
    "test.crop_size": 64,
    "tune": {"space": {"optim.lr": {"uniform": [0, 1]}}},
    "eval_batch": 4,
    "epochs": 9,
    "early_stop": 3,
    "non_finite": "skip",
    "workers": 2,
    "min_workers": 1,
    "loader_workers": 2,
    "channels_last": True,
    "deterministic": True,
    "save_every_s": 1.0,
    "hang_after_s": 1.0,
    "keep_best": 3,
}
"""Fields that may change in a continued run, with another value."""


def recipe_with(changes: dict[str, Any]) -> TrainRecipe:
    plain: dict[str, Any] = {"data": {"shards": "/set"}}
    for key, value in changes.items():
        table = plain
        *names, name = key.split(".")
        for part in names:
            table = table.setdefault(part, {})
        table[name] = value
    return from_mapping(TrainRecipe, plain, "test")


def leaves(recipe: type) -> Iterator[str]:
    """Names of all fields; ``tune`` is none of a training."""
    hints = get_type_hints(recipe)
    for item in fields(recipe):
        if is_dataclass(hints[item.name]):
            yield from (f"{item.name}.{name}" for name in leaves(hints[item.name]))  # type: ignore[arg-type]
        else:
            yield item.name


def test_every_field_is_looked_at_here() -> None:
    """A new field is made with ``setting(default, later=True)``, or runs that were begun before it do not go on."""
    assert {*DECIDING, *DECIDING_WITH, *CHANGEABLE, "test.step"} == set(leaves(TrainRecipe))


def test_what_may_change_is_what_might_always() -> None:
    nested = {key for key in CHANGEABLE if not key.startswith("test.")}
    assert changeable(TrainRecipe) == nested | {"test"}


@pytest.mark.parametrize("key", DECIDING)
def test_digests_of_what_decides(key: str) -> None:
    value, expected = DECIDING[key]
    assert recipe_with({key: value}).digest() == expected


@pytest.mark.parametrize("key", DECIDING_WITH)
def test_digests_of_what_decides_with_something_else(key: str) -> None:
    value, also, expected = DECIDING_WITH[key]
    assert recipe_with({**also, key: value}).digest() == expected


def test_what_may_change_leaves_the_digest_alone() -> None:
    assert recipe_with({}).digest() == PLAIN
    for key, value in CHANGEABLE.items():
        recipe = recipe_with({key: value})
        assert recipe != recipe_with({}), key
        assert recipe.digest() == PLAIN, key
    assert recipe_with({"test.clips": "multi", "test.step": 4}).digest() == PLAIN


def test_epochs_and_workers_decide_where_something_else_depends_on_them() -> None:
    cosine, norms = {"optim.schedule": "cosine"}, {"sync_norm": True}
    assert recipe_with(cosine).digest() == "c0311985700c"
    assert recipe_with({**cosine, "epochs": 9}).digest() == "7fa47889bcdf"
    assert recipe_with(norms).digest() == "530b135d0a35"
    assert recipe_with({**norms, "workers": 2}).digest() == "cd97b112b4e5"


def state_of(recipe: TrainRecipe, **more: Any) -> TrainState:
    identity = {**recipe.identity(), **more}
    empty: dict[str, Any] = {"weights": {}, "optimizer": {}, "schedule": {}, "scaler": None}
    return TrainState(recipe=identity, shards={}, epoch=0, step=0, sums=[], best=None, history=[], **empty)


@pytest.mark.parametrize("key", DECIDING)
def test_a_run_is_not_continued_with_another_value_of_what_decides(key: str) -> None:
    before, now = recipe_with({}), recipe_with({key: DECIDING[key][0]})
    with pytest.raises(UserError, match=rf"/runs/r: .* other settings .*recipe\.{key.split('.')[0]}"):
        check_continues(state_of(before), now.identity(), {}, "/runs/r")
    check_continues(state_of(now), now.identity(), {}, "/runs/r")


def test_a_run_is_continued_with_other_values_of_the_rest_also_where_an_older_version_kept_them() -> None:
    before = recipe_with({})
    for key, value in CHANGEABLE.items():
        check_continues(state_of(before), recipe_with({key: value}).identity(), {}, "/runs/r")
    check_continues(state_of(before, keep_best=5, hang_after_s=1.0), before.identity(), {}, "/runs/r")
