"""The memory through which loader processes hand over batches: how much they take, and what to do if there is less.

Containers have 64 MB of it unless they are given more, and a process that finds none is ended by a bus error.
"""

import math
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.modalities import streams_of
from kinebert.training.clips.calendar import Grid
from kinebert.training.recipe.train import DataRecipe

if TYPE_CHECKING:  # a diagnosis asks for memory where what reads sets may be broken
    from kinebert.training.shards import Shards

SHARED_MEMORY = "/dev/shm"
"""Where loader processes put their batches."""
MORE_SHARED_MEMORY = (
    f"Give the container more of {SHARED_MEMORY} (docker run --shm-size=32g or --ipc=host; in Kubernetes an emptyDir "
    f"of medium Memory, mounted there; on a machine of its own, mount -o remount,size=50% {SHARED_MEMORY})."
)
PREFETCH = 2
"""Batches that each loader process makes ahead."""
MOST_LOADERS = 32
"""What ``auto`` starts at most: no GPU takes more clips, and each holds tens of megabytes of memory."""
_GIB = 2**30
_OF_TORCH = ("Bus error", "out of shared memory", "shared memory(shm)", "unable to write to file </torch_")


def free_bytes() -> float:
    """Return how much of it nobody holds on this machine; infinite where it is not limited so."""
    try:
        found = os.statvfs(SHARED_MEMORY)
    except (AttributeError, OSError):
        return math.inf
    return float(found.f_bavail * found.f_frsize)


def lacks_shared_memory(error: BaseException) -> bool:
    """Whether an error of torch says that a loader process found no room for its batch."""
    return isinstance(error, RuntimeError | OSError) and any(words in str(error) for words in _OF_TORCH)


def clip_bytes(shards: "Shards", videos: Sequence[Any], data: DataRecipe, crop_size: int = 0) -> int:
    """Return the most bytes of a clip on its way from a loader process.

    Args:
        shards: Say how many channels a picture has.
        videos: Of ``shards``; the size of the first one's pictures counts where crops are resized on the device.
        data: Length of a clip, and size and place of its crops.
        crop_size: Pixels of a crop's side; 0 for that of ``data``.
    """
    pixels = (crop_size or data.crop_size) ** 2
    if data.resize_on == "device":  # crops travel as they are stored: the largest is a square over the shorter side
        with suppress(OSError, ValueError):  # of a damaged set, which is told where clips are read
            zoom = 2 if data.half_size else 1
            sides = sorted(-(-side // zoom) for side in shards.read_clip(videos[0], [0]).shape[1:3])
            pixels = sides[0] * (sides[1] if data.crop == "resized" else sides[0])
    channels = sum(modality.channels for modality in streams_of(shards.modality))
    return data.clip_length * data.flow_stack * channels * pixels


def usual_loaders(cores: int) -> int:
    """Return how many loader processes a worker with a GPU and so many cores has where nobody says a number.

    That is all cores but one, which the worker itself takes.
    """
    return max(0, min(MOST_LOADERS, cores - 1))


def largest_batch_bytes(shards: "Shards", videos: Sequence[Any], data: DataRecipe, grids: Iterable[Grid]) -> int:
    """Return the bytes of the largest micro-batch of several shapes on its way from a loader process."""
    return max(
        grid.micro_batch
        * clip_bytes(shards, videos, replace(data, clip_length=grid.clip_length, crop_size=grid.crop_size))
        for grid in dict.fromkeys(grids)
    )


def bytes_needed(num_loaders: int, batch_bytes: int, processes: int = 1) -> int:
    """Return the most bytes that batches take: those made ahead, and one that is being used; 0 without loaders.

    Args:
        num_loaders: Loader processes of each process.
        batch_bytes: Of a batch; of the larger one where the same processes make those of training and validation.
        processes: Of this machine that have loaders.
    """
    return processes * (PREFETCH * num_loaders + 1) * batch_bytes if num_loaders else 0


def loaders_that_fit(
    wanted: int | Literal["auto"], num_loaders: int, batch_bytes: int, processes: int = 1
) -> tuple[int, str]:
    """Look, before anything is loaded, whether there is memory for the batches of so many loader processes.

    Args:
        wanted: What the user has said: a number is kept to or refused, ``auto`` is lowered.
        num_loaders: What that means here.
        batch_bytes: See :func:`bytes_needed`.
        processes: Of this machine that have loaders.

    Returns:
        As many as fit, and a sentence where these are fewer.

    Raises:
        UserError: If the number that the user has said does not fit.
    """
    free, need = free_bytes(), bytes_needed(num_loaders, batch_bytes, processes)
    if need <= free:
        return num_loaders, ""
    fit = next(n for n in range(num_loaders, -1, -1) if bytes_needed(n, batch_bytes, processes) <= free)
    told = (
        f"{SHARED_MEMORY} of this machine has {free / _GIB:.2f} GiB free; {num_loaders} loader processes for each of "
        f"{processes} worker{'s' * (processes > 1)} need {need / _GIB:.2f} GiB ({processes} x ({PREFETCH} x "
        f"{num_loaders} + 1) batches of {batch_bytes / 1e6:.1f} MB)"
    )
    if wanted == "auto":
        return fit, f"{told}, so that {fit} are started. {MORE_SHARED_MEMORY}"
    raise UserError(f"{told}. {MORE_SHARED_MEMORY} Or set loader_workers = {fit}, or smaller batches.")
