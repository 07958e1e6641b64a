"""Optimizers are found by their files; each is torch's, and says of itself what the history should know."""

import copy
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from kinebert.preprocessing.discovery import names_of
from kinebert.preprocessing.errors import ConfigError
from kinebert.training.optim import registry, rules
from kinebert.training.optim.registry import (
    build_optimizer,
    facts_of,
    is_fused,
    load_optimizer,
    register_optimizer,
)
from kinebert.training.recipe.optim import OPTIMIZERS, OptimRecipe
from tests.helpers.contributing import code_of
from tests.helpers.small_training import recipe_with, run

NAMES = names_of(OPTIMIZERS)
TORCHS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "adamw": (torch.optim.AdamW, {"betas": (0.8, 0.99), "weight_decay": 0.1}),
    "adam": (torch.optim.Adam, {"betas": (0.8, 0.99), "weight_decay": 0.1}),
    "sgd": (torch.optim.SGD, {"momentum": 0.7, "dampening": 0.3, "weight_decay": 0.1}),
}
RECIPE: dict[str, Any] = {"lr": 0.01, "betas": (0.8, 0.99), "momentum": 0.7, "dampening": 0.3, "weight_decay": 0.1}


def walk(optimizer: torch.optim.Optimizer, weight: nn.Parameter, steps: int = 5) -> list[float]:
    """Follow the gradient of a parabola."""
    for _ in range(steps):
        weight.grad = 2 * weight.detach()
        optimizer.step()
    found: list[float] = weight.tolist()
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_goes_downhill(name: str) -> None:
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    recipe = OptimRecipe(name=name, **RECIPE)
    after = walk(build_optimizer([weight], recipe), weight)
    assert 0 < after[0] < 1
    assert -2 < after[1] < 0


@pytest.mark.parametrize("name", TORCHS)
def test_the_recipe_s_values_reach_torch_s_optimizers(name: str) -> None:
    ours, theirs = (nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2))
    make, values = TORCHS[name]
    expected = walk(make([theirs], lr=0.01, **values), theirs)  # type: ignore[call-arg]
    assert walk(build_optimizer([ours], OptimRecipe(name=name, **RECIPE)), ours) == expected


def test_updates_are_fused_on_gpus_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    assert not any(is_fused(build_optimizer([weight], OptimRecipe(name=name))) for name in NAMES)
    monkeypatch.setattr(registry, "FUSED_ON", ("cpu",))  # which has such kernels, too
    assert {name for name in NAMES if is_fused(build_optimizer([weight], OptimRecipe(name=name)))} == set(TORCHS)


def state_after(steps: int, name: str, weight: nn.Parameter) -> dict[str, Any]:
    optimizer = build_optimizer([weight], OptimRecipe(name=name, **RECIPE))
    walk(optimizer, weight, steps)
    return copy.deepcopy(optimizer.state_dict())


@pytest.mark.parametrize("saved_fused", [True, False])
@pytest.mark.parametrize("name", TORCHS)
def test_a_run_goes_on_by_the_kernels_it_was_saved_with(
    name: str, saved_fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU goes on as the state of a GPU, of a CPU or of an earlier version was begun: to the bits of an uncut run."""
    start = torch.tensor([1.0, -2.0, 0.3])
    whole, cut = (nn.Parameter(start.clone()) for _ in range(2))
    monkeypatch.setattr(registry, "FUSED_ON", ("cpu",) if saved_fused else ("cuda",))
    state_after(9, name, whole)
    state = state_after(4, name, cut)
    monkeypatch.setattr(registry, "FUSED_ON", ("cpu",))
    optimizer = build_optimizer([cut], OptimRecipe(name=name, **RECIPE))
    load_optimizer(optimizer, state)
    assert is_fused(optimizer) == saved_fused
    walk(optimizer, cut, 5)
    assert torch.equal(cut, whole)
    scaler = torch.amp.GradScaler("cpu")  # which leaves the scale to fused kernels, and must know of others
    cut.grad = None
    scaler.scale(cut.square().sum()).backward()
    scaler.step(optimizer)
    assert cut.isfinite().all()
    assert not torch.equal(cut, whole)


@pytest.mark.parametrize("name", TORCHS)
def test_a_state_of_a_gpu_goes_on_on_a_cpu_as_cpus_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    monkeypatch.setattr(registry, "FUSED_ON", ("cpu",))
    state = state_after(2, name, weight)
    monkeypatch.undo()
    optimizer = build_optimizer([weight], OptimRecipe(name=name, **RECIPE))
    load_optimizer(optimizer, state)
    assert not is_fused(optimizer)
    assert all(abs(value) < 3 for value in walk(optimizer, weight))


def test_a_name_that_nobody_has_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match="'sdg' is not one of 'adamw', 'adam', 'sgd', 'swats'"):
        OptimRecipe(name="sdg")


def test_what_optimizers_say_of_themselves() -> None:
    weight = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    plain, switching = OptimRecipe(), OptimRecipe(name="swats", switch_tolerance=1e9)
    assert facts_of(build_optimizer([weight], plain), plain) == {}
    optimizer = build_optimizer([weight], switching)
    assert facts_of(optimizer, switching) == {"lr_sgd": 0.0, "lr_sgd_since_step": 0.0}
    walk(optimizer, weight)
    facts = facts_of(optimizer, switching)
    assert (
        facts["lr_sgd_since_step"] == 2
    )  # whatever the rate, it is near enough; the first step has nothing to compare
    assert facts["lr_sgd"] > 0


def test_an_optimizer_is_called_like_its_file() -> None:
    def other(groups: registry.Groups, recipe: OptimRecipe) -> torch.optim.Optimizer:
        raise NotImplementedError

    with pytest.raises(ValueError, match="the optimizer 'other' must be called 'test_registry'"):
        register_optimizer()(other)


@pytest.fixture
def nadam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The optimizer of CONTRIBUTING.md, as if its file lay where the page says."""
    (tmp_path / "nadam.py").write_text(code_of("Adding an optimizer"))
    monkeypatch.setattr(rules, "__path__", [*rules.__path__, str(tmp_path)])
    registry._import_all.cache_clear()
    importlib.invalidate_caches()
    yield
    registry._entries.pop("nadam", None)
    sys.modules.pop(f"{OPTIMIZERS}.nadam", None)


@pytest.mark.usefixtures("nadam")
def test_the_example_of_contributing_is_found_by_its_file(tmp_path: Path) -> None:
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = build_optimizer([weight], OptimRecipe(name="nadam", **RECIPE))
    assert isinstance(optimizer, torch.optim.NAdam)
    summary, _ = run(recipe_with(optim={"name": "nadam", "lr": 1e-3}, epochs=1), tmp_path / "run")
    row: Any = summary.history[0]
    assert 0 < row["momentum_product"] < 1
