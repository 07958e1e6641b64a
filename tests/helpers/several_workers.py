"""One process of a training of several.

python -m tests.helpers.several_workers RANK NUM RENDEZVOUS OUTPUT CHANGES POISONED DEVICE

CHANGES are JSON, what the recipe has otherwise than ``small_training.PLAIN``; POISONED the video whose clips are
broken, or nothing; DEVICE cpu or cuda. What comes of it is written to ``OUTPUT/rankRANK.json``.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from kinebert.preprocessing.errors import UserError
from kinebert.training.loop.events import LeftOut
from kinebert.training.loop.loop import WorkerContext
from tests.helpers.paths import ROOT
from tests.helpers.small_training import numbers, poison, recipe_with, run


def start(
    num: int, output: Path, changes: dict[str, Any], poisoned: str = "", device: str = "cpu"
) -> list[dict[str, Any]]:
    """Train with ``num`` processes and return what each says; over NCCL where each has a GPU, else over gloo."""
    output.mkdir(parents=True)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, "GLOO_SOCKET_IFNAME": "lo"}
    common = [str(num), str(output / "rendezvous"), str(output), json.dumps(changes), poisoned, device]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.several_workers", str(rank), *common], env=env, stderr=subprocess.PIPE
        )
        for rank in range(num)
    ]
    errors = [process.communicate(timeout=200)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * num, errors
    return [json.loads((output / f"rank{rank}.json").read_text()) for rank in range(num)]


def place(rank: int, num: int, device: str) -> tuple[str, torch.device]:
    """The backend of ``num`` processes, and the device of one: those that find no GPU of their own share one."""
    if device == "cpu":
        return "gloo", torch.device("cpu")
    there = torch.cuda.device_count()
    return "nccl" if there >= num else "gloo", torch.device("cuda", rank % there)


def train_one(
    rank: int,
    num: int,
    output: Path,
    changes: dict[str, Any],
    poisoned: str = "",
    device: torch.device | None = None,
) -> dict[str, Any]:
    """Train as one of ``num`` processes; return the history, or what was refused."""
    worker = WorkerContext(rank=rank, world_size=num, num_threads=1, device=device or torch.device("cpu"))
    with pytest.MonkeyPatch.context() as patch:
        shards = poison(patch, poisoned) if poisoned else None
        patch.setattr("kinebert.training.numerics.COMPILER", "aot_eager")  # graphs as they are, and no C++ compiler
        try:
            summary, events = run(recipe_with(**changes), output / "run", shards, worker=worker)
        except UserError as error:
            return {"refused": str(error)}
    reasons = [event.reason for event in events if isinstance(event, LeftOut)]
    return {"history": numbers(summary.history), "left_out": reasons}


def main(rank: int, num: int, rendezvous: str, output: str, changes: str, poisoned: str, device: str) -> None:
    backend, mine = place(rank, num, device)
    if mine.type == "cuda":
        torch.cuda.set_device(mine)  # as Ray Train does: what NCCL sends objects through
    dist.init_process_group(backend, init_method=f"file://{rendezvous}", rank=rank, world_size=num)
    report = train_one(rank, num, Path(output), json.loads(changes), poisoned, mine)
    Path(f"{output}/rank{rank}.json").write_text(json.dumps(report))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
