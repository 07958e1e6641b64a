"""Whether a saved state fits the network that a recipe builds: its names, shapes and types, before training goes on."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from kinebert.preprocessing.checked.values import typed
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.training.checkpoints.state import TrainState
from kinebert.training.loop.reached import NUM_SUMS
from kinebert.training.loop.stages import Stage
from kinebert.training.models import Recognizer
from kinebert.training.optim.groups import parameter_groups, set_lr
from kinebert.training.optim.registry import build_optimizer, load_optimizer
from kinebert.training.recipe.optim import OptimRecipe
from kinebert.training.recipe.train import TrainRecipe

_SHAPE = torch.Size((2, 3))
"""Of a parameter that an optimizer is tried with."""
_SCALER = {"scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker"}
"""Names of torch's ``GradScaler``."""


def check_fits(
    state: TrainState, recipe: TrainRecipe, model: Recognizer, uri: str, projected: Sequence[nn.Parameter] = ()
) -> None:
    """Make sure that a training can go on from a state within a stage.

    Args:
        state: As it was read.
        recipe: Of the stage.
        model: Network of that recipe; on any device, with ``meta`` as well.
        uri: The state's file, for the error.
        projected: What is trained besides the network, see :attr:`.Learner.projected`.

    Raises:
        UserError: If a name, shape or type of weights, average, optimizer or schedule is not what the recipe asks for.
    """
    wanted = model.state_dict()
    try:
        _check_tensors(state.weights, wanted, "weights")
        if recipe.ema:
            average = {name.removeprefix("module."): value for name, value in (state.average or {}).items()}
            count = average.pop("n_averaged", None)
            if count is None:
                raise ConfigError("average: it is not there, and the recipe has one.")
            if count.numel() != 1:
                raise ConfigError(f"average: 'n_averaged' is of shape {tuple(count.shape)}, expected one number.")
            _check_tensors(average, wanted, "average")
        found = {} if state.projection is None else {"weight": state.projection}
        _check_tensors(found, {"weight": projected[0]} if projected else {}, "projection")
        _check_optimizer(state.optimizer, parameter_groups(model, recipe.optim, projected), recipe.optim)
        _check_numbers(state.schedule, {"scale", "best", "bad_epochs"}, "schedule")
        if state.scaler is not None:
            _check_numbers(state.scaler, _SCALER, "scaler")
    except ConfigError as error:
        raise unfit(uri, str(error)) from None


def check_reached(state: TrainState, stages: Sequence[Stage], uri: str) -> None:
    """Make sure that what a state says of its progress is within the stages of a training, and goes together.

    Args:
        state: As it was read.
        stages: Of the training.
        uri: The state's file, for the error.

    Raises:
        UserError: If it is not.
    """
    done, rows = state.epoch, state.history
    in_order = done == len(rows) and all(row["epoch"] == i for i, row in enumerate(rows, start=1))
    if state.stage >= len(stages) or not in_order:
        reason = (
            f"it is of stage {state.stage + 1} of {len(stages)}, after {done} epochs, with the numbers of {len(rows)}."
        )
        raise unfit(uri, reason)
    stage, best = stages[state.stage], state.best
    if state.step >= stage.steps_in(done):
        raise unfit(uri, f"{state.step} steps of an epoch are done, which has {stage.steps_in(done)}.")
    if len(state.sums) > NUM_SUMS or (state.step and len(state.sums) < NUM_SUMS - 1):
        raise unfit(uri, f"sums: expected {NUM_SUMS} numbers, got {len(state.sums)}.")
    if best is None and done > max(stage.first_epoch, state.taken_over):
        raise unfit(uri, "there is no best epoch.")
    if best is not None and best["epoch"] > done:
        raise unfit(uri, f"the best epoch is {best['epoch']}, and {done} are done.")
    for row in rows if best is None else (*rows, best):
        if "val_top1" not in row:
            raise unfit(uri, f"there is no 'val_top1' among the numbers of epoch {row['epoch']}.")


def unfit(uri: str, reason: str) -> UserError:
    """Return the error for a state of a training that cannot go on from it; ``reason`` is a sentence."""
    return UserError(
        f"{uri}: the saved state does not fit the network of the recipe, as if it were edited or of another training. "
        f"Put the right file back, or choose another output folder to train from the first epoch. Reason: {reason}"
    )


def _check_tensors(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], what: str) -> None:
    for kind, names in (("is not there", wanted.keys() - found.keys()), ("is unknown", found.keys() - wanted.keys())):
        if names:
            raise ConfigError(f"{what}: {min(names)!r} {kind} ({len(names)} in all).")
    for name, value in wanted.items():
        ours = found[name]
        if ours.shape != value.shape or ours.is_floating_point() != value.is_floating_point():
            raise ConfigError(
                f"{what}: {name!r} is {ours.dtype} of shape {tuple(ours.shape)}, expected {value.dtype} of "
                f"{tuple(value.shape)}."
            )


def _check_numbers(found: dict[str, Any], names: set[str], what: str) -> None:
    numbers = typed(dict[str, float], found, what)
    if missing := names - numbers.keys():
        raise ConfigError(f"{what}: the key {min(missing)!r} is not there.")


def _check_optimizer(found: dict[str, Any], wanted: list[dict[str, Any]], recipe: OptimRecipe) -> None:
    """Compare the groups, and what is kept of each parameter with what the optimizer would make of one."""
    groups = typed(list[dict[str, Any]], found.get("param_groups"), "optimizer: param_groups")
    numbers = [typed(list[int], group.get("params"), "optimizer: params") for group in groups]
    params: list[list[nn.Parameter]] = [list(group["params"]) for group in wanted]
    if [len(one) for one in numbers] != [len(one) for one in params]:
        raise ConfigError(
            f"optimizer: its groups have {[len(one) for one in numbers]} parameters, expected "
            f"{[len(one) for one in params]}."
        )
    kept = typed(dict[int, dict[str, Any]], found.get("state"), "optimizer: state")
    if strange := kept.keys() - set(chain(*numbers)):
        raise ConfigError(f"optimizer: state: there is no parameter {min(strange)}.")
    for group, some, parameters in zip(groups, numbers, params, strict=True):
        example = _kept_of_a_parameter(group, recipe)
        for number, parameter in zip(some, parameters, strict=True):
            if kept.get(number):  # a parameter that never had a gradient has none
                _check_kept(kept[number], example, parameter, number)


def _kept_of_a_parameter(group: dict[str, Any], recipe: OptimRecipe) -> dict[str, Any]:
    """Return what an optimizer with the values of a saved group keeps of a parameter of shape :data:`_SHAPE`."""
    parameter = nn.Parameter(torch.zeros(_SHAPE))
    parameter.grad = torch.zeros(_SHAPE)
    optimizer = build_optimizer([parameter], recipe)
    try:
        load_optimizer(optimizer, {"state": {}, "param_groups": [{**group, "params": [0]}]})
        set_lr(optimizer, recipe.lr)
        optimizer.step()
    except Exception as error:  # what optimizers raise for values that they did not write has no common class
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ConfigError(f"optimizer: the values of a group cannot be worked with: {reason}.") from None
    return dict(optimizer.state[parameter])


def _check_kept(found: dict[str, Any], example: dict[str, Any], parameter: nn.Parameter, number: int) -> None:
    """Compare names and shapes of what is kept of one parameter: one number, or as many as the parameter has."""
    if missing := example.keys() - found.keys():
        raise ConfigError(f"optimizer: {min(missing)!r} of parameter {number} is not there.")
    for name, like in example.items():
        value, is_one = found[name], not isinstance(like, Tensor) or like.shape != _SHAPE
        if isinstance(value, Tensor) and value.is_floating_point():
            fits, shape = (
                value.numel() == 1 if is_one else value.shape == parameter.shape,
                f"shape {tuple(value.shape)}",
            )
        else:
            fits, shape = is_one and isinstance(value, (int, float)), f"type {type(value).__name__}"
        if not fits:
            expected = "one number" if is_one else str(tuple(parameter.shape))
            raise ConfigError(f"optimizer: {name!r} of parameter {number} is of {shape}, expected {expected}.")
