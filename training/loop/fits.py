"""Whether a saved state fits the network that a recipe builds: its names, shapes and types, before training goes on."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

from torch import Tensor, nn

from kinebert.preprocessing.checked.values import typed
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.training.checkpoints.state import TrainState
from kinebert.training.models import Recognizer
from kinebert.training.optim.groups import parameter_groups
from kinebert.training.recipe.train import TrainRecipe


def check_fits(state: TrainState, recipe: TrainRecipe, model: Recognizer, uri: str) -> None:
    """Make sure that a training can go on from a state within a stage.

    Args:
        state: As it was read.
        recipe: Of the stage.
        model: Network of that recipe; on any device, with ``meta`` as well.
        uri: The state's file, for the error.

    Raises:
        UserError: If a name, shape or type of weights, average, optimizer or schedule is not what the recipe asks for.
    """
    wanted = model.state_dict()
    try:
        _check_tensors(state.weights, wanted, "weights")
        if recipe.ema:
            average = {name.removeprefix("module."): value for name, value in (state.average or {}).items()}
            if average.pop("n_averaged", None) is None:
                raise ConfigError("average: it is not there, and the recipe has one.")
            _check_tensors(average, wanted, "average")
        _check_optimizer(state.optimizer, parameter_groups(model, recipe.optim))
        schedule = typed(dict[str, float], state.schedule, "schedule")
        if missing := {"scale", "best", "bad_epochs"} - schedule.keys():
            raise ConfigError(f"schedule: the key {min(missing)!r} is not there.")
    except ConfigError as error:
        raise unfit(uri, str(error)) from None


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


def _check_optimizer(found: dict[str, Any], wanted: list[dict[str, Any]]) -> None:
    """Compare the groups, and the tensors of each parameter: they have one value, or the parameter's shape."""
    groups = typed(list[dict[str, Any]], found.get("param_groups"), "optimizer: param_groups")
    numbers = [typed(list[int], group.get("params"), "optimizer: params") for group in groups]
    params: list[list[nn.Parameter]] = [list(group["params"]) for group in wanted]
    if [len(one) for one in numbers] != [len(one) for one in params]:
        raise ConfigError(
            f"optimizer: its groups have {[len(one) for one in numbers]} parameters, expected "
            f"{[len(one) for one in params]}."
        )
    by_number = dict(zip(chain(*numbers), chain(*params), strict=True))
    for number, values in typed(dict[int, dict[str, Any]], found.get("state"), "optimizer: state").items():
        for name, value in values.items():
            if number not in by_number:
                raise ConfigError(f"optimizer: state: there is no parameter {number}.")
            if isinstance(value, Tensor) and value.numel() != 1 and value.shape != by_number[number].shape:
                raise ConfigError(
                    f"optimizer: {name!r} of parameter {number} is of shape {tuple(value.shape)}, expected "
                    f"{tuple(by_number[number].shape)}."
                )
