"""Published weights: what is taken, whatever wraps it, and which layout and variant they are of."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from kinebert.preprocessing.errors import UserError
from kinebert.training.models import load_published
from kinebert.training.models.inputs import ACTIVITYNET, BYTE_FLOW
from kinebert.training.models.sizes.unallocated import unallocated
from kinebert.training.models.weights.keys import Layout, layouts
from tests.helpers.toy_weights import FACTS, LAYOUT, net, published_state, same, use

pytestmark = pytest.mark.usefixtures("toy_layout")


def test_every_weight_arrives_and_is_named() -> None:
    source, model = net(), net()
    state = published_state(source)
    report = load_published(model, state)
    x_NCTHW = torch.randn(2, 3, 8, 32, 32)
    assert torch.equal(model.eval()(x_NCTHW), source.eval()(x_NCTHW))
    assert report.layout == "toy"
    assert sorted(report.loaded) == sorted(model.state_dict())
    assert not [*report.adapted, *report.reinitialized, *report.missing, *report.unexpected, *report.ignored]
    assert "backbone.layer1: 48" in str(report)
    assert "missing: none" in str(report)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {f"module.{key}": tensor for key, tensor in state.items()},
        lambda state: {f"module.model.{key}": tensor for key, tensor in state.items()},
        lambda state: {"epoch": 3, "state_dict": {f"module.{key}": tensor for key, tensor in state.items()}},
        lambda state: {"model_state": state, "cfg": "text"},
        lambda state: {key: tensor for key, tensor in state.items() if "num_batches_tracked" not in key},
        lambda state: {key: tensor.numpy() for key, tensor in state.items()},
    ],
    ids=["module", "module.model", "state_dict", "model_state", "no counters", "arrays"],
)
def test_prefixes_and_wrappers_come_off(wrap: Callable[[dict[str, Tensor]], dict[str, Any]]) -> None:
    state, model = published_state(net()), net()
    report = load_published(model, wrap(state))
    assert same(model, {key: tensor for key, tensor in state.items() if "num_batches_tracked" not in key})
    assert not report.missing


def test_a_prefix_that_some_keys_lack_is_part_of_the_name() -> None:
    state = published_state(net())
    with pytest.raises(
        UserError, match=r"classifier\.bias.+, 1 keys of the file have no place \(such as model\.fc\.bias\)"
    ):
        load_published(net(), {("model." if key == "fc.bias" else "") + key: state[key] for key in state})


def test_other_variants_are_built_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def family(shapes: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any] | None:
        return {"family": "torchvision"} if "stem.0.weight" in shapes else None

    use(monkeypatch, Layout(name="variant", rules=LAYOUT.rules, options=family, **FACTS))
    source, model = net(backbone_options={"family": "torchvision"}), net()
    assert model.config["backbone_options"]["family"] == "ig65m"
    report = load_published(model.eval(), published_state(source))
    x_NCTHW = torch.randn(1, 3, 8, 32, 32)
    assert torch.equal(model(x_NCTHW), source.eval()(x_NCTHW))
    assert model.config == source.config
    assert report.notes == ["the backbone becomes the variant with family = 'torchvision' (it was 'ig65m')"]
    assert not load_published(source, published_state(source)).notes


def test_of_layouts_with_the_same_keys_the_fitting_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    inflated = Layout(name="a", rules=LAYOUT.rules, inflated=True, **FACTS)
    never = Layout(name="b", rules=LAYOUT.rules, options=lambda shapes, options: None, **FACTS)
    use(monkeypatch, never, inflated, LAYOUT)
    frames, clips = net(backbone="resnet18"), net(backbone="resnet3d_18")
    assert load_published(net(backbone="resnet3d_18"), published_state(frames)).layout == "a"
    assert load_published(net(backbone="resnet3d_18"), published_state(clips)).layout == "toy"
    assert load_published(net(backbone="resnet18"), published_state(frames), "toy").layout == "toy"
    with pytest.raises(UserError, match=r"do not fit this network: read as b: their shapes"):
        load_published(net(backbone="resnet18"), published_state(frames), "b")
    with pytest.raises(UserError, match=r"There is no layout of weights 'tov'\. Did you mean toy\?"):
        load_published(net(), published_state(frames), "tov")


def test_the_input_is_what_the_weights_expect(monkeypatch: pytest.MonkeyPatch) -> None:
    use(
        monkeypatch,
        Layout(name="bytes", rules=LAYOUT.rules, normalization={"rgb": ACTIVITYNET, "flow": BYTE_FLOW}, **FACTS),
    )
    model = net(modality="flow", flow_stack=2)
    report = load_published(model, published_state(net()))
    assert (model.spec.mean, model.spec.value_range) == ((127.5,) * 4, (0.0, 255.0))
    assert report.notes == [
        "the input becomes what the weights expect: 0 to 255, mean 127.5 127.5 127.5 127.5, deviation 1 1 1 1"
    ]


def test_nothing_is_made_where_there_are_only_shapes() -> None:
    state = {key: tensor.to("meta") for key, tensor in published_state(net()).items()}
    with unallocated():
        model = net(modality="flow")
    assert load_published(model, state).adapted == ["backbone.stem.0.weight"]


def test_layouts_have_unique_names_and_all_facts() -> None:
    for layout in layouts():
        assert layout.rules
        assert layout.source
        assert layout.licence
        assert layout.url
