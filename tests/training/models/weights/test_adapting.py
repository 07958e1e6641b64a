"""Weights brought to another shape: other channels, kernels of pictures, a classifier that is a convolution."""

from typing import Any

import pytest
import torch
from torch import Tensor

from kinebert.preprocessing.errors import UserError
from kinebert.training.models import load_published
from kinebert.training.models.weights.adapting import adapt
from kinebert.training.models.weights.keys import Layout
from tests.helpers.toy_weights import FACTS, LAYOUT, net, published_state, same, use

pytestmark = pytest.mark.usefixtures("toy_layout")


@pytest.mark.parametrize(("modality", "flow_stack"), [("flow", 1), ("flow", 5), ("pose", 1)])
@pytest.mark.parametrize("rescale", [True, False])
def test_the_first_convolution_takes_other_channels(modality: str, flow_stack: int, rescale: bool) -> None:
    state, model = published_state(net()), net(modality=modality, flow_stack=flow_stack)
    report = load_published(model, state, rescale=rescale)
    theirs, ours = state["stem.0.weight"], model.get_parameter("backbone.stem.0.weight")
    if modality == "pose":
        assert torch.equal(ours, theirs)
        assert not report.adapted
        return
    assert report.adapted == ["backbone.stem.0.weight"]
    assert ours.shape[1] == 2 * flow_stack
    expected = theirs.mean(dim=1) * (3 / (2 * flow_stack) if rescale else 1)
    for channel in ours.unbind(dim=1):
        torch.testing.assert_close(channel, expected)
    if rescale:
        torch.testing.assert_close(ours.sum(dim=1), theirs.sum(dim=1), rtol=1e-4, atol=1e-5)
    assert "3 channels averaged for" in report.reasons["backbone.stem.0.weight"]


def test_weights_of_flow_stay_as_they_are_for_flow() -> None:
    state, model = published_state(net(modality="flow")), net(modality="flow")
    assert not load_published(model, state).adapted
    assert same(model, state)


@pytest.mark.parametrize(("inflation", "factor"), [("divide", 1.0), ("copy", 7.0)])
def test_kernels_of_pictures_are_spread_over_time(
    monkeypatch: pytest.MonkeyPatch, inflation: Any, factor: float
) -> None:
    use(monkeypatch, Layout(name="inflated", rules=LAYOUT.rules, inflated=True, **FACTS))
    source = net(backbone="resnet18")
    model = net(backbone="resnet3d_18", num_classes=4)
    report = load_published(model, published_state(source), inflation=inflation)
    kernel, ours = source.get_parameter("backbone.stem.0.weight"), model.get_parameter("backbone.stem.0.weight")
    assert ours.shape == (*kernel.shape[:2], 7, *kernel.shape[2:])
    torch.testing.assert_close(ours.sum(dim=2), kernel * factor)
    assert report.reasons["backbone.stem.0.weight"].startswith("spread over 7 time steps")
    assert "backbone.layer2.0.downsample.0.weight" in report.loaded  # one time step: nothing to divide


def test_kernels_without_time_are_refused_where_the_layout_knows_none() -> None:
    with pytest.raises(UserError, match=r"in the file, \(8, 3, 7, 7, 7\) in the network"):
        load_published(net(backbone="resnet3d_18"), published_state(net(backbone="resnet18")))


def test_a_classifier_may_be_a_convolution() -> None:
    state, model = published_state(net()), net()
    report = load_published(model, {**state, "fc.weight": state["fc.weight"][..., None, None, None]})
    assert torch.equal(model.classifier.weight, state["fc.weight"])
    assert "classifier.weight" in report.loaded


def test_a_kernel_that_fits_is_left_alone() -> None:
    kernel = torch.randn(4, 3, 3, 3)
    found, how = told(adapt(kernel, (4, 3, 3, 3), 3))
    assert found is kernel
    assert how == ""


def test_channels_are_averaged_for_the_input_and_nowhere_else() -> None:
    kernel = torch.arange(6.0).reshape(1, 3, 1, 2)
    found, how = told(adapt(kernel, (1, 2, 1, 2), 2))
    assert found.tolist() == [[[[3.0, 4.5]], [[3.0, 4.5]]]]  # means 2 and 3, times 3/2
    assert how == "3 channels averaged for 2, times 3/2"
    plain, how = told(adapt(kernel, (1, 2, 1, 2), 2, rescale=False))
    assert plain.tolist() == [[[[2.0, 3.0]], [[2.0, 3.0]]]]
    assert how == "3 channels averaged for 2"
    assert adapt(kernel, (1, 2, 1, 2), 3) is None, "a convolution inside has other channels: another network"


@pytest.mark.parametrize(("inflation", "value"), [("divide", 2.0), ("copy", 6.0)])
def test_kernels_without_time_and_with_other_channels_are_both_brought_to_fit(inflation: Any, value: float) -> None:
    kernel = torch.full((2, 3, 5, 5), 6.0)
    found, how = told(adapt(kernel, (2, 2, 3, 5, 5), 2, inflated=True, inflation=inflation, rescale=False))
    assert torch.equal(found, torch.full((2, 2, 3, 5, 5), value))
    assert how.startswith("spread over 3 time steps")
    assert how.endswith("; 3 channels averaged for 2")
    assert adapt(kernel, (2, 3, 3, 5, 5), 3) is None, "only where the layout says so"


def told(made: tuple[Tensor, str] | None) -> tuple[Tensor, str]:
    assert made is not None
    return made
