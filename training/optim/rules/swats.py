"""SWATS: Adam that switches to SGD when its own steps say with which learning rate SGD would take them.

Source: Keskar & Socher, "Improving generalization performance by switching from Adam to SGD", arXiv:1712.07628,
algorithm 1.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from kinebert.training.optim.registry import Groups, register_optimizer
from kinebert.training.recipe.optim import OptimRecipe

_TOGETHER = 2**24
"""Parameters of a GPU that are compared with their gradients at once, in 256 MiB of double precision."""


class Swats(torch.optim.Optimizer):
    """Adam with an L2 penalty, then SGD with momentum ``betas[0]`` at the rate that the projection found.

    Every step p of Adam is compared with the gradient g: ``p.p / -(p.g)`` is the rate with which SGD's step would have
    p as its projection. When it agrees with its own running average (bias corrected) to ``tolerance``, that average
    becomes the learning rate, for all parameters at once, as in the paper, whose vectors hold all weights. The test
    reads one number from the device per step until the switch.

    What the paper does not say: the learning rate goes on following the schedule, so that after the switch its changes
    since then multiply the rate that was found; a group's ``lr_scale`` is taken out of p in the projection and
    multiplies its steps in both phases.

    Args:
        params: Parameters or groups of them; a group may have an ``lr_scale``, its share of the learning rate, which
            its ``lr`` already contains.
        lr: Adam's learning rate.
        betas: Decay of the running averages of gradient and squared gradient; the second is also that of the rate.
        eps: Added to the root of the squared gradients' average (1e-9 in the paper).
        weight_decay: L2 penalty.
        tolerance: Of the test for the switch (1e-9 in the paper).
    """

    def __init__(
        self,
        params: Groups,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-9,
        weight_decay: float = 0.0,
        tolerance: float = 1e-9,
    ) -> None:
        own = {"num_steps": 0, "average": 0.0, "rate": None, "switched_at": 0, "lr_at_switch": 0.0}
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "tolerance": tolerance}
        super().__init__(params, {**defaults, "lr_scale": 1.0, **own})

    @property
    def rate(self) -> float | None:
        """Learning rate that the projection found for SGD; None before the switch."""
        found: float | None = self.param_groups[0]["rate"]
        return found

    @property
    def switched_at(self) -> int:
        """Step, from 1, that was the last of Adam; 0 before the switch."""
        return int(self.param_groups[0]["switched_at"])

    def facts(self) -> dict[str, float]:
        """Return rate and step of the switch as an epoch's row calls them; 0 before it."""
        return {"lr_sgd": self.rate or 0.0, "lr_sgd_since_step": float(self.switched_at)}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update the parameters in place."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            group["num_steps"] += 1
        if self.rate is None:
            self._adam()
        else:
            self._sgd()
        return loss

    def _adam(self) -> None:
        products: list[Tensor] = []
        for group in self.param_groups:
            (beta1, beta2), steps = group["betas"], group["num_steps"]
            size = group["lr"] * (1 - beta2**steps) ** 0.5 / (1 - beta1**steps)
            parameters, grads = _gradients(group)
            if not parameters:
                continue
            means, squares = self._kept(parameters, "mean"), self._kept(parameters, "square")
            torch._foreach_lerp_(means, grads, 1 - beta1)
            torch._foreach_mul_(squares, beta2)
            torch._foreach_addcmul_(squares, grads, grads, value=1 - beta2)
            roots = torch._foreach_sqrt(squares)
            torch._foreach_add_(roots, group["eps"])
            moves = torch._foreach_div(means, roots)
            torch._foreach_mul_(moves, -size)
            torch._foreach_add_(parameters, moves)
            most = _TOGETHER if parameters[0].is_cuda else 0
            products += _products(moves, grads, group["lr_scale"], most)
        if products:
            moved, along = torch.stack([pair.to(products[0].device) for pair in products]).sum(dim=0).tolist()
            self._test(moved, along)

    def _kept(self, parameters: list[Tensor], name: str) -> list[Tensor]:
        """Return what is kept of each parameter under a name, 0 in the beginning."""
        for parameter in parameters:
            if name not in self.state[parameter]:
                self.state[parameter][name] = torch.zeros_like(parameter)
        return [self.state[parameter][name] for parameter in parameters]

    def _test(self, moved: float, along: float) -> None:
        """Take note of p.p and p.g of all parameters, and switch if the projected rate has settled."""
        first = self.param_groups[0]
        if along == 0:
            return
        beta2, steps = first["betas"][1], first["num_steps"]
        projected = moved / -along
        average = beta2 * first["average"] + (1 - beta2) * projected
        corrected = average / (1 - beta2**steps)
        # a negative rate, where Adam's momentum climbs, settles on nothing that SGD could use
        settled = steps > 1 and abs(corrected - projected) < first["tolerance"] and corrected > 0
        for group in self.param_groups:
            group["average"] = average
            if settled:
                group.update(rate=corrected, switched_at=steps, lr_at_switch=group["lr"])
        if settled:
            self.state.clear()  # SGD's momentum starts from 0

    def _sgd(self) -> None:
        for group in self.param_groups:
            beta1 = group["betas"][0]
            since = group["lr"] / group["lr_at_switch"] if group["lr_at_switch"] else 1.0
            parameters, grads = _gradients(group)
            if parameters:
                momenta = self._kept(parameters, "momentum")
                torch._foreach_mul_(momenta, beta1)
                torch._foreach_add_(momenta, grads)
                rate = (1 - beta1) * group["rate"] * group["lr_scale"] * since
                torch._foreach_add_(parameters, momenta, alpha=-rate)


def _gradients(group: dict[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters that have a gradient, and for each it and the penalty's."""
    parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
    grads = [parameter.grad for parameter in parameters]
    if parameters and group["weight_decay"]:
        grads = list(torch._foreach_add(grads, parameters, alpha=group["weight_decay"]))
    return parameters, grads


def _products(moves: Sequence[Tensor], grads: Sequence[Tensor], scale: float, most: int) -> list[Tensor]:
    """Return p.p and p.g in double precision, of tensors of little more than ``most`` numbers at a time.

    With 0 of one tensor at a time: the order of sums in which runs on CPUs were begun, which go on to the same bits.
    """
    found: list[Tensor] = []
    chosen: list[int] = []
    num = 0
    for i, move in enumerate(moves):
        chosen, num = [*chosen, i], num + move.numel()
        if num > most or i + 1 == len(moves):
            move_f64, grad_f64 = (_in_a_row([of[i] for i in chosen]) for of in (moves, grads))
            move_f64.div_(scale)
            found.append(torch.stack([move_f64 @ move_f64, move_f64 @ grad_f64]))
            chosen, num = [], 0
    return found


def _in_a_row(tensors: Sequence[Tensor]) -> Tensor:
    """Return the numbers of all tensors as one vector, in double precision."""
    row_f64 = torch.empty(sum(one.numel() for one in tensors), dtype=torch.float64, device=tensors[0].device)
    parts = torch.split(row_f64, [one.numel() for one in tensors])
    torch._foreach_copy_([part.view_as(one) for part, one in zip(parts, tensors, strict=True)], list(tensors))
    return row_f64


@register_optimizer(facts=Swats.facts)
def swats(groups: Groups, recipe: OptimRecipe) -> torch.optim.Optimizer:
    """Take ``betas``, ``weight_decay`` and ``switch_tolerance`` of the recipe."""
    return Swats(
        groups,
        lr=recipe.lr,
        betas=recipe.betas,
        weight_decay=recipe.weight_decay,
        tolerance=recipe.switch_tolerance,
    )
