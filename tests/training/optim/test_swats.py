"""SWATS works on all tensors at once, with the bits of the rule written down tensor by tensor."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kinebert.training.optim.rules.swats import Swats, _products
from tests.helpers.operators import CountedOperators

SHAPES = [(3, 2, 3), (5,), (4, 4), (1,), (7,)]


class TensorByTensor(Swats):
    """The rule for one parameter after the other, as the paper writes it."""

    def _adam(self) -> None:
        products = []
        for group in self.param_groups:
            (beta1, beta2), steps = group["betas"], group["num_steps"]
            size = group["lr"] * (1 - beta2**steps) ** 0.5 / (1 - beta1**steps)
            for parameter in group["params"]:
                grad = with_penalty(parameter, group["weight_decay"])
                state = self.state[parameter] or {name: torch.zeros_like(parameter) for name in ("mean", "square")}
                state["mean"].lerp_(grad, 1 - beta1)
                state["square"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
                move = state["mean"] / state["square"].sqrt().add_(group["eps"]) * -size
                parameter.add_(move)
                move_f64, grad_f64 = move.flatten().double() / group["lr_scale"], grad.flatten().double()
                products.append(torch.stack([move_f64 @ move_f64, move_f64 @ grad_f64]))
                self.state[parameter] = state
        self._test(*torch.stack(products).sum(dim=0).tolist())

    def _sgd(self) -> None:
        for group in self.param_groups:
            beta1 = group["betas"][0]
            rate = (1 - beta1) * group["rate"] * group["lr_scale"] * (group["lr"] / group["lr_at_switch"])
            for parameter in group["params"]:
                state = self.state[parameter] or {"momentum": torch.zeros_like(parameter)}
                state["momentum"].mul_(beta1).add_(with_penalty(parameter, group["weight_decay"]))
                parameter.add_(state["momentum"], alpha=-rate)
                self.state[parameter] = state


def with_penalty(parameter: Tensor, decay: float) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad.add(parameter, alpha=decay) if decay else parameter.grad


def made(kind: type[Swats], shapes: list[Any], tolerance: float = 1e-9) -> tuple[Swats, list[nn.Parameter]]:
    generator = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    parameters[0].data = parameters[0].data.transpose(0, 1)  # laid out in another order, as channels_last
    groups = [
        {"params": parameters[:2], "weight_decay": 0.01, "lr_scale": 1.0, "lr": 0.01},
        {"params": parameters[2:], "weight_decay": 0.0, "lr_scale": 0.1, "lr": 0.001},
    ]
    return kind(groups, tolerance=tolerance), parameters


def step(optimizer: Swats, parameters: list[nn.Parameter], generator: torch.Generator) -> None:
    for parameter in parameters:
        parameter.grad = 2 * parameter.detach() + 0.1 * torch.randn(parameter.shape, generator=generator)
    optimizer.step()


def test_all_at_once_has_the_bits_of_one_after_the_other() -> None:
    (ours, found), (plain, expected) = (made(kind, SHAPES, tolerance=1e-3) for kind in (Swats, TensorByTensor))
    for optimizer, parameters in ((ours, found), (plain, expected)):
        generator = torch.Generator().manual_seed(1)
        for i in range(30):
            for group in optimizer.param_groups:
                group["lr"] *= 0.99 if i > 20 else 1.0  # as a schedule does, after the switch too
            step(optimizer, parameters, generator)
    assert 1 < ours.switched_at < 20, "both phases are walked through"
    assert ours.facts() == plain.facts()
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("most", [10, 1000])
def test_products_of_several_tensors_are_the_sums_of_theirs(most: int) -> None:
    generator = torch.Generator().manual_seed(0)
    moves, grads = ([torch.randn(shape, generator=generator) for shape in SHAPES] for _ in range(2))
    single, together = (torch.stack(_products(moves, grads, 0.5, size)) for size in (0, most))
    assert len(single) == len(SHAPES)
    assert len(together) == (1 if most == 1000 else 3)
    torch.testing.assert_close(together.sum(0), single.sum(0), rtol=1e-13, atol=0)  # double precision, other order


@pytest.mark.parametrize("switched", [False, True])
def test_a_step_takes_as_many_calls_for_many_tensors_as_for_few(
    switched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinebert.training.optim.rules.swats._products", lambda *_: [])  # those of a CPU are single
    calls = []
    for shapes in (SHAPES, SHAPES * 20):
        optimizer, parameters = made(Swats, shapes)
        for group in optimizer.param_groups if switched else ():
            group.update(rate=0.1, switched_at=1, lr_at_switch=0.01)
        for _ in range(2):
            for parameter in parameters:
                parameter.grad = torch.ones_like(parameter)
            with CountedOperators() as counted:
                optimizer.step()
        calls.append(counted.total)
    assert calls[0] == calls[1] < 20
