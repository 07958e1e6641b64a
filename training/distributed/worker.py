"""Which of the processes of a training this is: rank, device, threads."""

from dataclasses import dataclass, field

import torch

from kinebert.training.distributed.watchdog import Pulse


@dataclass(frozen=True, kw_only=True)
class WorkerContext:
    """Which of the processes this is, and what it computes on."""

    rank: int = 0
    """0 to ``world_size - 1``. Rank 0 writes the files."""
    world_size: int = 1
    """Processes; above 1 torch.distributed must be initialised."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Where the network lives."""
    num_threads: int | None = None
    """Threads that torch may use; None leaves them as they are."""
    cores: int | None = None
    """Cores that this process and those that load clips for it may use; None for all of the machine."""
    node_processes: int = 1
    """Processes of the training on this node, which share its memory."""
    pulse: Pulse = field(default_factory=Pulse, compare=False)
    """Told where this process stands, for whoever watches it."""

    def gpu_gib(self) -> float | None:
        """Return the most GPU memory that this process has held, in GiB; None without a GPU."""
        if self.device.type != "cuda":
            return None
        return torch.cuda.max_memory_reserved(self.device) / 2**30
