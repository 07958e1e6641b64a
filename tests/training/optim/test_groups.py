"""SWATS against the paper's algorithm written down again; which parameters learn together, and which not at all."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models import Recognizer, build_recognizer
from kinebert.training.optim.groups import freeze, parameter_groups, set_lr
from kinebert.training.optim.registry import build_optimizer
from kinebert.training.optim.rules.swats import Swats
from kinebert.training.recipe.optim import GroupRecipe, GroupsRecipe, LayerRecipe, OptimRecipe

F64 = NDArray[np.float64]
CURVES = np.array([1.0, 3.0, 10.0, 0.3])


def gradient(w: F64, k: int) -> F64:
    """A bowl with noise that depends on the step."""
    noise: F64 = CURVES * w + 2 * np.sin(np.arange(4) + 7 * k)
    return noise


def swats_of_the_paper(w: F64, steps: int, alpha: float, tolerance: float, decay: float = 0.0) -> tuple[F64, int]:
    """Algorithm 1 of arXiv:1712.07628, line by line; the penalty is part of the loss."""
    beta1, beta2, eps = 0.9, 0.999, 1e-9
    m = a = v = np.zeros_like(w)
    average: Any = 0.0
    rate: Any = 0.0
    switched = 0
    for k in range(1, steps + 1):
        g = gradient(w, k) + decay * w
        if switched:
            v = beta1 * v + g
            w = w - (1 - beta1) * rate * v
            continue
        m = beta1 * m + (1 - beta1) * g
        a = beta2 * a + (1 - beta2) * g**2
        p = -alpha * math.sqrt(1 - beta2**k) / (1 - beta1**k) * m / (np.sqrt(a) + eps)
        w = w + p
        if p @ g != 0:
            gamma = (p @ p) / -(p @ g)
            average = beta2 * average + (1 - beta2) * gamma
            if k > 1 and abs(average / (1 - beta2**k) - gamma) < tolerance:
                switched, v, rate = k, np.zeros_like(w), average / (1 - beta2**k)
    return w, switched


def run_swats(optimizer: Swats, parts: list[nn.Parameter], first: int, last: int, decay: float = 0.0) -> None:
    for k in range(first, last + 1):
        whole = np.concatenate([part.detach().numpy() for part in parts])
        rest = torch.from_numpy(gradient(whole, k)).split([len(part) for part in parts])
        for part, grad in zip(parts, rest, strict=True):
            part.grad = grad.clone()
        optimizer.step()


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_swats_is_the_paper_s(decay: float) -> None:
    start = np.array([1.0, -2.0, 0.5, 3.0])
    expected, switched = swats_of_the_paper(start, 60, 0.05, 1e-4, decay)
    assert 2 < switched < 50  # both phases are seen
    parts = [nn.Parameter(torch.from_numpy(part.copy())) for part in np.split(start, [1])]
    optimizer = Swats(parts, lr=0.05, weight_decay=decay, tolerance=1e-4)
    run_swats(optimizer, parts, 1, 60)
    assert optimizer.switched_at == switched
    found = np.concatenate([part.detach().numpy() for part in parts])
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("restart", [3, 40])
def test_swats_goes_on_to_the_bit_in_both_phases(restart: int) -> None:
    start = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    whole, cut = [nn.Parameter(start.clone())], [nn.Parameter(start.clone())]
    run_swats(Swats(whole, lr=0.05, tolerance=1e-4), whole, 1, 60)
    before = Swats(cut, lr=0.05, tolerance=1e-4)
    run_swats(before, cut, 1, restart)
    assert (before.rate is None) == (restart == 3)
    after = Swats(cut, lr=0.05, tolerance=1e-4)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    run_swats(after, cut, restart + 1, 60)
    assert torch.equal(whole[0], cut[0])


def test_after_its_switch_swats_follows_the_schedule() -> None:
    rates = []
    for lr in (0.05, 0.005):
        weight = nn.Parameter(torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64))
        optimizer = Swats([weight], lr=0.05, tolerance=1e-4)
        run_swats(optimizer, [weight], 1, 40)
        before = weight.detach().clone()
        set_lr(optimizer, lr)
        run_swats(optimizer, [weight], 41, 41)
        rates.append(weight.detach() - before)
    torch.testing.assert_close(rates[1], rates[0] / 10)


def test_adam_has_a_penalty_where_adamw_decays() -> None:
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = build_optimizer([weight], OptimRecipe(name="adam", lr=0.01, weight_decay=0.5))
    weight.grad = torch.tensor([3.0])
    optimizer.step()
    assert float(weight.detach()) == pytest.approx(2 - 0.01, rel=1e-6)  # Adam's first step has the size of lr


@pytest.fixture(scope="module")
def model() -> Recognizer:
    torch.manual_seed(0)
    return build_recognizer(
        backbone="resnet18", reduction="frab", num_classes=3, clip_length=4, size=16, width=0.125, reduction_width=64
    )


def names_in(model: Recognizer, groups: list[dict[str, Any]]) -> list[set[str]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [{names[id(parameter)] for parameter in group["params"]} for group in groups]


def test_without_options_all_parameters_are_one_group(model: Recognizer) -> None:
    (group,) = parameter_groups(model, OptimRecipe())
    assert [id(p) for p in group["params"]] == [id(p) for p in model.parameters()]
    assert (group["lr_scale"], group["weight_decay"]) == (1.0, 1e-3)


def test_parts_learn_at_their_own_rates(model: Recognizer) -> None:
    groups = GroupsRecipe(
        backbone=GroupRecipe(lr_scale=0.1),
        reduction=GroupRecipe(lr_scale=0.5),
        head=GroupRecipe(weight_decay=0.0),
        classifier=GroupRecipe(lr_scale=10.0, weight_decay=0.1),
    )
    found = parameter_groups(model, OptimRecipe(lr=1.0, groups=groups))
    parts = names_in(model, found)
    by_rate = {(group["lr_scale"], group["weight_decay"]): part for group, part in zip(found, parts, strict=True)}
    assert set(by_rate) == {(0.1, 1e-3), (0.5, 1e-3), (1.0, 0.0), (10.0, 0.1)}
    assert by_rate[10.0, 0.1] == {"classifier.weight", "classifier.bias"}
    assert all(name.startswith("head.") for name in by_rate[1.0, 0.0])
    assert by_rate[0.5, 1e-3]
    assert all(name.startswith(f"backbone.{model.backbone.reduced[0]}.") for name in by_rate[0.5, 1e-3])
    assert sum(map(len, parts)) == len(list(model.parameters()))
    optimizer = build_optimizer(found, OptimRecipe(name="sgd", lr=1.0))
    set_lr(optimizer, 0.5)
    assert sorted(group["lr"] for group in optimizer.param_groups) == [0.05, 0.25, 0.5, 5.0]


def test_norms_and_biases_can_be_exempt_from_decay(model: Recognizer) -> None:
    found = parameter_groups(model, OptimRecipe(decay_norms=False))
    decays = [group["weight_decay"] for group in found]
    assert sorted(decays) == [0.0, 1e-3]
    exempt = names_in(model, found)[decays.index(0.0)]
    shapes = {name: parameter.ndim for name, parameter in model.named_parameters()}
    assert exempt == {name for name, ndim in shapes.items() if ndim == 1}
    assert {"head.token", "head.positions"}.isdisjoint(exempt)


def test_frozen_modules(model: Recognizer) -> None:
    network = copy.deepcopy(model)
    (stage,) = freeze(network, ["backbone.layer1"])
    assert stage is network.backbone.layer1
    (group,) = parameter_groups(network, OptimRecipe())
    assert not any(name.startswith("backbone.layer1") for name in names_in(network, [group])[0])
    with pytest.raises(ConfigError, match=r"has no module 'backbone.layr1'. Did you mean .*backbone.layer1"):
        freeze(network, ["backbone.layr1"])
    with pytest.raises(ConfigError, match="nothing to train"):
        freeze(network, ["backbone", "head", "classifier"])


def test_layers_learn_at_their_own_rates_whatever_part_they_are_of(model: Recognizer) -> None:
    layers = (
        LayerRecipe(match="backbone.layer*", lr_scale=0.2),
        LayerRecipe(match="backbone.layer4.*", lr_scale=0.01, weight_decay=0.0),
        LayerRecipe(match="*.bias", lr_scale=2.0),
    )
    groups = GroupsRecipe(backbone=GroupRecipe(lr_scale=0.5))
    found = parameter_groups(model, OptimRecipe(lr=1.0, groups=groups, layers=layers))
    rates = {
        name: (group["lr_scale"], group["weight_decay"])
        for group, names in zip(found, names_in(model, found), strict=True)
        for name in names
    }
    assert rates["backbone.layer1.0.conv1.weight"] == (0.2, 1e-3)
    assert rates["backbone.layer4.0.conv1.weight"] == (0.01, 0.0)  # the last that matches
    assert rates["classifier.weight"] == (1.0, 1e-3)
    assert {rate for name, rate in rates.items() if name.endswith(".bias")} == {(2.0, 1e-3)}
    assert {rate for name, rate in rates.items() if name.startswith("backbone.stem") and "bias" not in name} == {
        (0.5, 1e-3)
    }
    optimizer = build_optimizer(found, OptimRecipe(name="sgd", lr=1.0))
    set_lr(optimizer, 0.5)
    assert sorted({group["lr"] for group in optimizer.param_groups}) == [0.005, 0.1, 0.25, 0.5, 1.0]


def test_layers_that_are_not_there_or_do_not_learn_are_refused(model: Recognizer) -> None:
    with pytest.raises(ConfigError, match=r"no parameter .* like 'backbone.layer5.*'. .* such as backbone.layer4"):
        parameter_groups(model, OptimRecipe(layers=(LayerRecipe(match="backbone.layer5.*"),)))
    network = copy.deepcopy(model)
    freeze(network, ["backbone.layer4"])
    with pytest.raises(ConfigError, match=r"no parameter that is trained has a name like 'backbone.layer4.\*'"):
        parameter_groups(network, OptimRecipe(layers=(LayerRecipe(match="backbone.layer4.*"),)))


def test_half_a_network_is_frozen_by_a_pattern(model: Recognizer) -> None:
    network = copy.deepcopy(model)
    frozen = freeze(network, ["backbone.stem", "backbone.layer[12]"])
    assert frozen == [network.backbone.stem, network.backbone.layer1, network.backbone.layer2]
    learn = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert not any(name.startswith(("backbone.stem", "backbone.layer1", "backbone.layer2")) for name in learn)
    assert any(name.startswith("backbone.layer3") for name in learn)
    with pytest.raises(ConfigError, match=r"has no module 'backbone.layer\[67\]'"):
        freeze(network, ["backbone.layer[67]"])
