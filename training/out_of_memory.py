"""Memory that ran out: what it looks like, and what to lower."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from kinebert.preprocessing.errors import UserError
from kinebert.training.recipe.train import TrainRecipe

_OF_TORCH = ("DefaultCPUAllocator", "not enough memory", "CUDA out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""What torch says in errors that have no kind of their own."""
LOWER_BATCH = "Memory ran out: lower --batch."


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory, of a GPU or of the machine, ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OF_TORCH)


@contextmanager
def memory_explained(advice: str) -> Iterator[None]:
    """Turn an error that says that memory ran out into a UserError with its first line and ``advice``."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        first = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(f"{first}. {advice}") from error


def out_of_memory(recipe: TrainRecipe) -> str:
    """Say what a worker of a training held when memory ran out, and what to lower."""
    data = recipe.data
    return (
        f"Each worker held micro_batch = {recipe.micro_batch} clips of {data.clip_length} images of {data.crop_size} "
        f"px (in validation, eval_batch = {recipe.eval_batch}). Set model.checkpointing = true or lower eval_batch: "
        "the same run goes on. Or lower micro_batch (batch_size may stay), data.crop_size or data.clip_length, with "
        "another output folder."
    )
