"""How busy the machine of a process is."""

import time
from contextlib import suppress
from importlib.util import find_spec

import psutil
import torch


class MachineUse:
    """Measures this node now and then, under the names of MLflow's system metrics.

    Args:
        device: Of this process; a GPU is measured as well.
        every_s: Seconds from one measurement to the next.
    """

    def __init__(self, device: torch.device, every_s: float = 10.0) -> None:
        self._device, self._every_s, self._last = device, every_s, time.monotonic()
        psutil.cpu_percent()  # the first call only begins to count

    def __call__(self) -> dict[str, float]:
        """Return percentages and MiB since the last measurement, or nothing if that is not long ago."""
        if time.monotonic() - self._last < self._every_s:
            return {}
        self._last = time.monotonic()
        memory = psutil.virtual_memory()
        return {
            "system/cpu_utilization_percentage": psutil.cpu_percent(),
            "system/system_memory_usage_megabytes": (memory.total - memory.available) / 2**20,
            "system/system_memory_usage_percentage": memory.percent,
            **self._gpu(),
        }

    def _gpu(self) -> dict[str, float]:
        if self._device.type != "cuda":
            return {}
        name = f"system/gpu_{self._device.index or 0}"
        free, total = torch.cuda.mem_get_info(self._device)
        numbers = {
            f"{name}_memory_usage_megabytes": (total - free) / 2**20,
            f"{name}_memory_usage_percentage": 100 * (total - free) / total,
        }
        with suppress(Exception):  # a driver may not tell, and :func:`unmeasured` speaks of the package
            numbers[f"{name}_utilization_percentage"] = float(torch.cuda.utilization(self._device))
        return numbers


def unmeasured(device: torch.device) -> str:
    """Return a sentence about what :class:`MachineUse` cannot measure here for want of a package; empty if all."""
    if device.type != "cuda" or find_spec("pynvml") is not None:
        return ""
    return (
        "how busy the GPU is cannot be measured, and is left out of MLflow's system metrics: the package nvidia-ml-py "
        "is not installed. It comes with kinebert[gpu]"
    )
