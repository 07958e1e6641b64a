"""Networks of several streams: what each sees, how their scores and tokens meet, and what they start from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.training.checkpoints.recognizer import load_recognizer, save_recognizer
from kinebert.training.evaluation.evaluate import VideoScores
from kinebert.training.evaluation.fusion import fuse
from kinebert.training.loop.initial import initial_recognizer, pinned
from kinebert.training.models import Recognizer, build_recognizer
from kinebert.training.models.heads.bert_tokens import BertTokens
from kinebert.training.models.inputs import BYTE_FLOW
from kinebert.training.models.sizes.measure import sizes_of
from kinebert.training.optim.groups import freeze, parameter_groups
from kinebert.training.recipe.optim import GroupRecipe, GroupsRecipe, LayerRecipe, OptimRecipe
from tests.helpers.fake_shards import FakeShards, make_shards
from tests.helpers.small_training import recipe_with

SHARED: dict[str, Any] = {"num_classes": 3, "clip_length": 4, "size": 16, "width": 0.125, "dropout": 0.0}


def joint(**changes: Any) -> Recognizer:
    torch.manual_seed(0)
    return build_recognizer(**{**SHARED, "backbone": "resnet18", "modality": "rgb+flow", **changes}).eval()


@torch.inference_mode()
def test_a_network_of_two_streams_has_the_scores_of_both() -> None:
    net, x_NCTHW = joint(), torch.randn(2, 5, 4, 16, 16)
    rgb, flow = net.stream("rgb")(x_NCTHW[:, :3]), net.stream("flow")(x_NCTHW[:, 3:])
    torch.testing.assert_close(net(x_NCTHW), (rgb + flow) / 2)
    softmax = joint(fusion="softmax")
    torch.testing.assert_close(softmax(x_NCTHW).exp(), (rgb.softmax(1) + flow.softmax(1)) / 2)
    torch.testing.assert_close(
        joint(fusion="l2")(x_NCTHW), rgb / rgb.norm(dim=1, keepdim=True) + flow / flow.norm(dim=1, keepdim=True)
    )
    other = joint(modality="flow+rgb")
    other.load_state_dict(net.state_dict())
    torch.testing.assert_close(other(torch.cat([x_NCTHW[:, 3:], x_NCTHW[:, :3]], dim=1)), net(x_NCTHW))


@torch.inference_mode()
def test_tokens_of_all_streams_are_one_sequence() -> None:
    """Each token is that of its stream and its embedding; a stream that is moved in the clip changes the scores."""
    net, x_NCTHW = joint(head="bert_tokens"), torch.randn(2, 5, 4, 16, 16)
    head = net.head
    assert isinstance(head, BertTokens)
    assert (head.path_names, head.num_steps, head.token_parts) == (
        ("rgb", "flow"),
        (4, 4),
        {"rgb": slice(1, 5), "flow": slice(5, 9)},
    )
    seen = []
    head.bert.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    paths = net.backbone.paths(x_NCTHW)
    tokens_NTE = head._tokens(paths)
    for i, path in enumerate(paths):
        steps = path.mean(dim=(3, 4)).transpose(1, 2)
        torch.testing.assert_close(tokens_NTE[:, 4 * i : 4 * i + 4], steps + head.pathways[i])
    torch.testing.assert_close(net(x_NCTHW), net.classifier(head.bert.encode(tokens_NTE)[:, 0]))
    (weights_NASS,) = head.attention_weights(paths)
    assert weights_NASS.shape[2:] == (9, 9)
    torch.testing.assert_close(weights_NASS.sum(dim=-1), torch.ones(weights_NASS.shape[:-1]))


def test_streams_of_other_sizes_are_brought_to_one_width() -> None:
    net = joint(head="bert_tokens", streams={"flow": {"reduction": "frmb", "reduction_width": 256}})
    assert net.backbone.path_features == (64, 32)
    assert net.head.num_features == 32
    names = {name for name, _ in net.head.named_parameters()}
    assert {"reduce.0.weight", "reduce.0.bias", "pathways"} < names
    assert not any(name.startswith("reduce.1") for name in names)
    assert joint(head="bert_tokens", token_width=48).head.num_features == 48
    assert net(torch.randn(1, 5, 4, 16, 16)).shape == (1, 3)


def test_streams_may_differ() -> None:
    net = joint(
        modality="rgb+flow+pose",
        backbone_options={"temporal": "tsm"},
        streams={
            "flow": {"backbone": "resnet3d_18", "head": "lstm", "head_options": {"num_layers": 1}},
            "pose": {"width": 0.25},
        },
    )
    streams = net.config["streams"]
    assert [streams[name]["backbone"] for name in streams] == ["resnet18", "resnet3d_18", "resnet18"]
    assert [streams[name]["head"] for name in streams] == ["bert", "lstm", "bert"]
    assert [streams[name]["width"] for name in streams] == [0.125, 0.125, 0.25]
    assert streams["rgb"]["backbone_options"]["temporal"] == "tsm"
    assert build_recognizer(**net.config).state_dict().keys() == net.state_dict().keys()
    assert net(torch.randn(1, 8, 4, 16, 16)).shape == (1, 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"streams": {"pose": {}}}, "pose"),
        ({"streams": {"flow": {"dropout": 0.1}}}, "dropout"),
        ({"head": "bert_tokens", "streams": {"flow": {"head": "lstm"}}}, "head"),
        ({"head": "bert_tokens", "fusion": "l2"}, "fuses features, and no scores"),
        ({"fusion": "most"}, "mean, softmax, l2"),
        ({"modality": "rgb", "fusion": "l2"}, "networks of several streams"),
        ({"modality": "rgb", "streams": {"rgb": {}}}, "networks of several streams"),
        ({"modality": "rgb+rgb"}, "rgb twice"),
        ({"flow_stack": 2}, "only flow is stacked"),
        ({"streams": {"flow": {"head": "bert_late"}}}, "several pathways"),
    ],
)
def test_what_makes_no_network_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        joint(**changes)


def test_a_network_of_one_stream_is_what_it_was() -> None:
    config = build_recognizer(**SHARED, backbone="resnet18").config
    assert "streams" not in config
    assert "fusion" not in config


def test_sizes_are_those_of_the_streams() -> None:
    shared = {**SHARED, "backbone": "resnet18", "head": "tgap"}
    alone = [sizes_of(**shared, modality=name) for name in ("rgb", "flow")]
    both = sizes_of(**shared, modality="rgb+flow")
    assert both.parameters == sum(one.parameters for one in alone)
    assert both.macs == sum(one.macs for one in alone)


def test_parts_of_each_stream_are_frozen_and_learn_by_their_names() -> None:
    net = joint(reduction="frab", reduction_width=256)
    assert net.backbone.reduced == ("streams.rgb.mapper", "streams.flow.mapper")
    freeze(net, ["backbone.streams.rgb", "backbone.streams.*.stem"])
    trained = {name for name, one in net.named_parameters() if one.requires_grad}
    assert not any(name.startswith(("backbone.streams.rgb.", "backbone.streams.flow.stem.")) for name in trained)
    assert any(name.startswith("backbone.streams.flow.layer1.") for name in trained)
    recipe = OptimRecipe(
        lr=1.0,
        groups=GroupsRecipe(reduction=GroupRecipe(lr_scale=5.0)),
        layers=(LayerRecipe(match="head.streams.flow.*", lr_scale=0.5),),
    )
    scales = {id(one): group["lr"] for group in parameter_groups(net, recipe) for one in group["params"]}
    of = {name: scales.get(id(one)) for name, one in net.named_parameters()}
    assert {of[name] for name in of if ".mapper." in name and name in trained} == {5.0}
    assert {of[name] for name in of if name.startswith("head.streams.flow.")} == {0.5}
    assert {of[name] for name in of if name.startswith("head.streams.rgb.")} == {1.0}


class Joint(FakeShards):
    """Fake shards of two streams: red, green and blue are those of the pictures, x and y others."""

    def read_clip(self, entry: Any, indices: Any) -> np.ndarray:
        streams = (FakeShards([], [], "rgb", size=self.size), FakeShards([], [], "flow", size=self.size))
        return np.concatenate([one.read_clip(entry, indices) for one in streams], axis=-1)


def both_shards() -> Joint:
    plain = make_shards()
    return Joint(plain.videos, plain.classes, "rgb+flow")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A network of each stream alone; that of flow expects its input in a way of its own."""
    folder, found = tmp_path_factory.mktemp("runs"), {}
    for seed, name in enumerate(("rgb", "flow")):
        torch.manual_seed(seed)
        net = build_recognizer(**SHARED, backbone="resnet18", modality=name)
        if name == "flow":
            net.spec = replace(net.spec, mean=BYTE_FLOW.mean, std=BYTE_FLOW.std, value_range=BYTE_FLOW.value_range)
        found[name] = str(folder / f"{name}.pt")
        save_recognizer(found[name], net, make_shards(modality=name), epoch=1, metrics={})  # type: ignore[arg-type]
    return found


def started(
    checkpoints: dict[str, str], shards: FakeShards | None = None, **changes: Any
) -> tuple[Recognizer, list[str]]:
    streams = {name: {"weights": uri} for name, uri in checkpoints.items()}
    recipe = recipe_with(
        data={"modality": "rgb+flow", "beside": ["/fake/flow"]}, model={"dropout": 0.0, "streams": streams, **changes}
    )
    torch.manual_seed(9)
    return initial_recognizer(pinned(recipe), shards or both_shards())  # type: ignore[arg-type]


@pytest.mark.parametrize("fusion", ["l2", "softmax", "mean"])
def test_two_checkpoints_make_the_fusion_of_their_scores(checkpoints: dict[str, str], fusion: Any) -> None:
    net, told = started(checkpoints, fusion=fusion)
    assert [sentence.partition(":")[0] for sentence in told][::2] == ["rgb", "flow"]
    x_NCTHW = torch.randn(6, 5, 4, 16, 16)
    with torch.inference_mode():
        alone = [
            load_recognizer(uri)[0](x_NCTHW[:, own]).numpy()
            for uri, own in zip(checkpoints.values(), (slice(3), slice(3, 5)), strict=True)
        ]
        ours = net.eval()(x_NCTHW).numpy()
    assert net.spec.streams[1].value_range == (0.0, 255.0)
    if fusion == "mean":
        expected = np.mean(alone, axis=0)
    else:
        tables = [
            VideoScores(
                video_ids=[str(i) for i in range(6)],
                labels=np.zeros(6, np.int64),
                classes=["a", "b", "c"],
                scores=scores,
                num_clips=np.ones(6, np.int64),
                about={},
            )
            for scores in alone
        ]
        expected = fuse(tables, None, fusion).scores.scores
        ours = np.exp(ours) if fusion == "softmax" else ours
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6)


def test_backbones_of_two_checkpoints_start_a_network_of_tokens(checkpoints: dict[str, str]) -> None:
    net, _ = started(checkpoints, head="bert_tokens")
    for name, uri in checkpoints.items():
        wanted = load_recognizer(uri)[0].backbone.state_dict()
        found = net.state_dict()
        for key, value in wanted.items():
            assert torch.equal(found[f"backbone.streams.{name}.{key}"], value)


def test_checkpoints_that_do_not_fit_are_refused_and_digests_kept(checkpoints: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="do not fit"):
        started({"rgb": checkpoints["rgb"]}, streams={"rgb": {"weights": checkpoints["rgb"], "head": "lstm"}})
    shards = both_shards()
    shards.classes = ["class0", "class2", "class1"]
    with pytest.raises(UserError, match="its class 1 is 'class1', that of /fake/set is 'class2'"):
        started(checkpoints, shards=shards)
    started(checkpoints, shards=shards, head="bert_tokens")
    model = {"streams": {"rgb": {"weights": checkpoints["rgb"]}}}
    recipe = pinned(recipe_with(model=model))
    assert len(recipe.model.streams["rgb"].weights_digest) == 64
    assert recipe.digest() != recipe_with().digest()
    moved = tmp_path / "moved.pt"
    moved.write_bytes(Path(checkpoints["rgb"]).read_bytes())
    again = pinned(recipe_with(model={"streams": {"rgb": {"weights": str(moved)}}}))
    assert again.digest() == recipe.digest()
    with pytest.raises(UserError, match=r"model\.streams\.rgb\.weights_digest is 0000"):
        pinned(recipe_with(model={"streams": {"rgb": {"weights": str(moved), "weights_digest": "0000"}}}))


def test_a_checkpoint_of_both_streams_starts_another(checkpoints: dict[str, str], tmp_path: Path) -> None:
    net, _ = started(checkpoints)
    uri = str(tmp_path / "both.pt")
    save_recognizer(uri, net, both_shards(), epoch=1, metrics={})  # type: ignore[arg-type]
    loaded, info = load_recognizer(uri)
    assert loaded.spec == net.spec == info.spec
    recipe = recipe_with(
        data={"modality": "rgb+flow", "beside": ["/fake/flow"]}, model={"weights": uri, "dropout": 0.0}
    )
    again, _ = initial_recognizer(pinned(recipe), both_shards())  # type: ignore[arg-type]
    assert again.spec == net.spec
    for key, value in net.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
