"""Cores, memory, shared memory and open files of this machine, within the limits that the process has."""

import os
import resource
from collections.abc import Iterator

from kinebert.orchestration.diagnosis.findings import Finding, note, ok, size, wrong
from kinebert.orchestration.diagnosis.gpus import num_gpus
from kinebert.preprocessing.machine import available_cores, core_limit, memory_limit
from kinebert.preprocessing.modalities import modality_of
from kinebert.training.data.shared_memory import (
    MORE_SHARED_MEMORY,
    SHARED_MEMORY,
    bytes_needed,
    free_bytes,
    usual_loaders,
)
from kinebert.training.recipe.train import DataRecipe, TrainRecipe

LITTLE_MEMORY, FEW_FILES, VERY_FEW_FILES = 4 * 2**30, 1024, 256
"""Bytes that Ray, a training and its data easily take; open files that loader processes and Ray easily need."""


def look() -> Iterator[Finding]:
    """Look at the machine that this process is on."""
    yield cores(available_cores(), os.cpu_count() or 1, core_limit())
    yield memory(*_memory())
    yield shared_memory(free_bytes(), num_gpus(), available_cores())
    yield open_files(*resource.getrlimit(resource.RLIMIT_NOFILE))


def cores(usable: int, all_of_them: int, limit: float | None) -> Finding:
    """Judge how many cores may be used, of those that the machine has."""
    if usable >= all_of_them:
        return ok("cores", f"{usable}")
    reason = f"a control group allows the time of {limit:g}" if limit is not None else "the process is bound to them"
    return ok("cores", f"{usable} of the machine's {all_of_them}: {reason}")


def memory(total: int, available: int, limited: bool) -> Finding:
    """Judge the bytes of memory that there are, and that are available now."""
    found = f"{size(available)} available of {size(total)}{', a limit of the control group' * limited}"
    if available < LITTLE_MEMORY // 4:
        return wrong("memory", found, "Not even Ray starts reliably: end other programs, or take a larger machine.")
    if available < LITTLE_MEMORY:
        return note("memory", found, "Small recipes only; end other programs, or take a larger machine.")
    return ok("memory", found)


def shared_memory(free: float, gpus: int, usable_cores: int) -> Finding:
    """Judge the shared memory, by what batches of the default recipe take of it, one worker for each GPU.

    Args:
        free: Bytes.
        gpus: Of this machine; without, a training starts no loader processes unless it is told to.
        usable_cores: Of this machine.
    """
    if not gpus:
        return ok(SHARED_MEMORY, f"{size(free)} free")
    recipe = TrainRecipe(data=DataRecipe(shards=""))
    clip = modality_of("rgb").channels * recipe.data.clip_length * recipe.data.crop_size**2
    batch = max(recipe.micro_batch, recipe.eval_batch) * clip
    loaders = usual_loaders(usable_cores // gpus)
    need = [bytes_needed(n, batch, gpus) for n in range(loaders + 1)]
    takers = f"{gpus} workers need together" if gpus > 1 else "a worker needs"
    found = (
        f"{size(free)} free; with {loaders} loader{'s' * (loaders != 1)}, {takers} {size(need[-1])} for clips of "
        f"{recipe.data.clip_length} images of {recipe.data.crop_size} px, more for larger ones"
    )
    if free >= need[-1]:
        return ok(SHARED_MEMORY, found)
    if loaders and free < need[1]:
        return wrong(SHARED_MEMORY, f"{found}; not even one loader each fits", MORE_SHARED_MEMORY)
    fit = sum(one <= free for one in need) - 1
    return note(SHARED_MEMORY, f"{found}; {fit} each fit, and are what is started", MORE_SHARED_MEMORY)


def open_files(soft: int, hard: int) -> Finding:
    """Judge how many files a process may hold open, and how many it may ask for."""
    if soft == resource.RLIM_INFINITY:
        return ok("open files", "unlimited")
    found = f"{soft}" if soft == hard else f"{soft}, at most {'any number' if hard < 0 else hard}"
    if soft >= FEW_FILES:
        return ok("open files", found)
    remedy = "Raise the limit: ulimit -n 65536 (or LimitNOFILE of the service, --ulimit nofile= of the container)."
    return (wrong if soft < VERY_FEW_FILES else note)("open files", found, remedy)


def _memory() -> tuple[int, int, bool]:
    """Bytes in all and available, and whether a control group limits them."""
    import psutil

    now, limit = psutil.virtual_memory(), memory_limit()
    if limit is None or limit >= now.total:
        return int(now.total), int(now.available), False
    return limit, min(int(now.available), limit), True
