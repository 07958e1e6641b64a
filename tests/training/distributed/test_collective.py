"""What processes tell each other: everybody hears the same, a mistake of the first one included."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from kinebert.preprocessing.errors import UserError
from kinebert.training.distributed.collective import from_all, from_first, is_active, world_sum
from tests.helpers.paths import ROOT

PROCESS = """
import json, sys
import numpy as np, torch, torch.distributed as dist
from kinebert.preprocessing.errors import UserError
from kinebert.training.distributed.collective import from_all, from_first, is_active, world_sum

rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
assert is_active()
mine = np.array([1.0, 2.0**52 + rank])
total = world_sum(mine, torch.device("cpu"))
assert mine.tolist() == [1.0, 2.0**52 + rank], "it is a copy that is added to"
made = []
def make():
    made.append(rank)
    return {"from": rank}
first = from_first(make, rank)
def refuse():
    raise UserError(f"rank {rank} does not like it")
try:
    from_first(refuse, rank)
    refused = ""
except UserError as error:
    refused = str(error)
print(json.dumps([total.tolist(), from_all(f"rank {rank}"), first, made, refused]))
dist.destroy_process_group()
"""


def test_two_processes(tmp_path: Path) -> None:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(rank), str(tmp_path / "meet")],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], [error for _, error in said]
    common = f'[[2.0, {float(2**53 + 1)}], ["rank 0", "rank 1"], {{"from": 0}}, '
    for rank, (out, _) in enumerate(said):
        assert out.strip() == common + f'{"[0]" if rank == 0 else "[]"}, "rank 0 does not like it"]'


def test_alone_there_is_nobody_to_tell() -> None:
    assert not is_active()
    numbers = np.array([1.5])
    assert world_sum(numbers, torch.device("cpu")) is numbers
    assert from_all("me") == ["me"]
    assert from_first(lambda: 7, 0) == 7
    with pytest.raises(UserError, match="no"):
        from_first(lambda: (_ for _ in ()).throw(UserError("no")), 0)
