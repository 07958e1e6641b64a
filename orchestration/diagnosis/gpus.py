"""NVIDIA's GPUs, their driver, and whether the torch that is installed computes on them."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from kinebert.orchestration.diagnosis.findings import Finding, note, ok, wrong
from kinebert.orchestration.diagnosis.packages import installed

_PCI = Path("/sys/bus/pci/devices")
_NVIDIA, _DISPLAY = "0x10de", "0x03"
_ASK = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
_ANSWER_S = 20.0
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_NEWER_DRIVER = "Install a newer driver, or a build of torch for a CUDA that is no newer than the driver's."


@dataclass(frozen=True, kw_only=True)
class Gpus:
    """What the machine, the driver and torch say, each by itself."""

    on_the_bus: int = 0
    """GPUs that the machine has, whether or not this process may use them."""
    names: tuple[str, ...] = ()
    """GPUs that the driver tells of."""
    driver: str = ""
    """Its version; empty where none answers."""
    driver_cuda: tuple[int, int] | None = None
    """The newest CUDA that it speaks."""
    torch: str = ""
    """Its version."""
    torch_cuda: str | None = None
    """The CUDA that it was built for; None is a build for CPUs."""
    seen: int = 0
    """GPUs that torch sees."""
    problem: str = ""
    """What was said when torch computed on one of them; empty if it did."""
    visible: str | None = None
    """``CUDA_VISIBLE_DEVICES``."""


def look() -> Iterator[Finding]:
    """Look at GPUs, torch, and what computing on GPUs takes beside it."""
    found = _gathered()
    yield from judge(found)
    yield triton(found.seen > 0, installed("triton"), _has_compiler())
    yield measuring(bool(found.names), find_spec("pynvml") is not None)


def num_gpus() -> int:
    """Return how many GPUs the driver tells of; without torch."""
    return len(_driver()[0])


def judge(found: Gpus) -> Iterator[Finding]:
    """Judge whether networks and flow can be computed on the GPUs that are there."""
    build = f"torch {found.torch}, built for {f'CUDA {found.torch_cuda}' if found.torch_cuda else 'CPUs'}"
    if not found.names and found.driver_cuda is None:
        yield ok("torch", build)
        yield _without_driver(found)
        return
    driver = f"driver {found.driver or 'unknown'}" + (
        f" for CUDA {found.driver_cuda[0]}.{found.driver_cuda[1]} and older" if found.driver_cuda else ""
    )
    gpus = f"{_counted(found.names)}; {driver}"
    if found.torch_cuda is None:
        yield wrong("torch", f"{build}, beside a GPU", "Install a build of torch for CUDA: this one leaves GPUs idle.")
        yield ok("GPUs", gpus)
    elif found.driver_cuda is not None and found.driver_cuda[0] < int(found.torch_cuda.partition(".")[0]):
        yield ok("torch", build)
        yield wrong("GPUs", f"{gpus}: too old for this torch", _NEWER_DRIVER)
    elif found.problem or not found.seen:
        yield ok("torch", build)
        yield _not_usable(found, gpus)
    elif found.seen < len(found.names):
        yield ok("torch", build)
        yield note("GPUs", f"{gpus}; torch sees {found.seen} of them ({_VISIBLE}={found.visible})")
    else:
        yield ok("torch", build)
        yield ok("GPUs", f"{gpus}; torch computes on {'it' if found.seen == 1 else 'each'}")


def triton(on_gpus: bool, version: str | None, compiler: bool) -> Finding:
    """Judge what the flow solver for GPUs, and compiled networks, are made with."""
    found = version or "not installed"
    if not on_gpus:
        return ok("triton", f"{found}; of use beside a GPU only")
    if version is None:
        return note("triton", found, "Flow on a GPU is about ten times slower without: pip install triton.")
    if not compiler:
        return note(
            "triton",
            f"{found}, but there is no C compiler, which it calls",
            "Flow on a GPU is about ten times slower without: install gcc, or name another in CC.",
        )
    return ok("triton", found)


def measuring(on_gpus: bool, is_there: bool) -> Finding:
    """Judge whether MLflow can be told how busy GPUs are."""
    if is_there or not on_gpus:
        return ok("nvidia-ml-py", "installed" if is_there else "not installed; of use beside a GPU only")
    return note("nvidia-ml-py", "not installed", "MLflow is not told how busy GPUs are: pip install 'kinebert[gpu]'.")


def _without_driver(found: Gpus) -> Finding:
    if not found.on_the_bus:
        return ok("GPUs", "none; networks and flow are computed on cores")
    return note(
        "GPUs",
        f"the machine has {found.on_the_bus} of NVIDIA, but no driver answers (nvidia-smi, libcuda)",
        "Install the driver; in a container, give it the GPUs (docker run --gpus all). Else all is computed on cores.",
    )


def _not_usable(found: Gpus, gpus: str) -> Finding:
    if found.visible is not None and not found.problem:
        return note("GPUs", f"{gpus}; {_VISIBLE}={found.visible!r} hides them", f"Unset {_VISIBLE} to use them.")
    reason = found.problem or "torch.cuda.is_available() is false"
    return wrong("GPUs", f"{gpus}: torch cannot compute there: {reason}", _NEWER_DRIVER)


def _counted(names: tuple[str, ...]) -> str:
    counts = {name: names.count(name) for name in names}
    return ", ".join(f"{count} x {name}" for name, count in counts.items()) or "unnamed"


def _gathered() -> Gpus:
    import torch

    names, driver = _driver()
    problem, seen = "", torch.cuda.device_count()
    for index in range(seen):
        try:
            one = torch.ones(8, device=f"cuda:{index}")
            problem = problem or ("" if float((one + one).sum()) == 16 else "a sum was wrong")
        except Exception as error:  # of no common class: a build for other GPUs, no memory, a GPU that is lost
            problem = problem or (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return Gpus(
        on_the_bus=sum(map(_is_gpu, _PCI.iterdir())) if _PCI.is_dir() else 0,
        names=names,
        driver=driver,
        driver_cuda=_cuda_of_driver(),
        torch=torch.__version__,
        torch_cuda=torch.version.cuda,
        seen=seen,
        problem=problem,
        visible=os.environ.get(_VISIBLE),
    )


def _driver() -> tuple[tuple[str, ...], str]:
    """Names of GPUs and version of the driver, as its own program tells them."""
    if shutil.which(_ASK[0]) is None:
        return (), ""
    try:
        told = subprocess.run(_ASK, capture_output=True, text=True, timeout=_ANSWER_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return (), ""
    rows = [line.rpartition(", ") for line in told.splitlines() if ", " in line]
    return tuple(name for name, _, _ in rows), rows[0][2] if rows else ""


def _cuda_of_driver() -> tuple[int, int] | None:
    with suppress(OSError):
        library, number = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
        if library.cuDriverGetVersion(ctypes.byref(number)) == 0 and number.value:
            return number.value // 1000, number.value % 1000 // 10
    return None


def _is_gpu(device: Path) -> bool:
    with suppress(OSError):
        kind = (device / "class").read_text()
        return (device / "vendor").read_text().strip() == _NVIDIA and kind.startswith(_DISPLAY)
    return False


def _has_compiler() -> bool:
    return any(shutil.which(name) for name in (os.environ.get("CC") or "cc", "gcc", "clang"))
