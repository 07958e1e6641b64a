"""An error of the code itself before a training has made its first step: it would come again, so it is told once."""

import time
import traceback
from typing import Any

import torch.distributed as dist

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.training.recipe.train import TrainRecipe

_FROM_OUTSIDE = ("Connection closed by peer", "Connection reset", "gloo", "NCCL", "DataLoader worker")
"""What errors without a kind of their own say that come of another process: a lost peer, a killed loader."""
_LONGEST = 300


class FirstStepError(UserError):
    """What ended a training before its first step, with the traceback for those who look into it."""

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback

    def __reduce__(self) -> Any:
        """Come whole out of the worker."""
        return type(self), (str(self), self.traceback)

    def kept_in(self, folder: str) -> UserError:
        """Write the traceback beside the training, and return the error that names the file."""
        path = storage.join(folder, time.strftime("error-%Y%m%d-%H%M%S.txt"))
        try:
            storage.write_bytes(path, self.traceback.encode())
        except (OSError, UserError) as error:
            return UserError(f"{self} The traceback could not be written: {error}")
        return UserError(f"{self} The whole traceback: {path}")


def comes_again(error: Exception) -> bool:
    """Whether an error is of the code itself: not of files, of the network, or of a process that is gone."""
    if isinstance(error, OSError | EOFError | dist.DistError) or type(error).__module__.startswith("ray."):
        return False
    return not any(words in str(error) for words in _FROM_OUTSIDE)


def first_step_error(error: Exception, recipe: TrainRecipe) -> FirstStepError:
    """Return what a worker says of an error that ``comes_again``, while its traceback is at hand."""
    lines = str(error).strip().splitlines() or ["no words"]
    cause = f"{type(error).__name__}: {lines[0][:_LONGEST].rstrip('.')}"
    hint = "report it with the traceback, if other recipes train here"
    if recipe.compile:
        hint = "torch's compiler may be the cause: compile = false does without it; if that trains, report it"
    return FirstStepError(
        f"the first step failed, and would fail again: it is not tried another time. {cause}. What to do: {hint}.",
        "".join(traceback.format_exception(error)),
    )
