"""How the processes of a training find each other: on one interface that is chosen, and not at all if there is one.

Ray Train's own set-up opens torch's store, which anybody may read and write, on every interface of the first node, also
for a single process. Objects that processes send each other go through it and are unpickled.
"""

import os
import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psutil
import ray
import torch.distributed as dist
from ray.train.backend import Backend
from ray.train.torch import TorchConfig
from ray.util import get_node_ip_address
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # torch's own pages name it so

LOOPBACK = "127.0.0.1"
INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
"""Variables by which a user chooses the interfaces of the collectives; what is set stays."""
_LEAVE_S = 10.0

_store: Any = None
"""The store that this process serves, until its group has joined it."""


@dataclass
class ProcessGroupConfig(TorchConfig):
    """Ray Train's configuration of torch, with a store that listens on one address only.

    Processes of one node meet on its loopback interface; those of several on the interface of the first node's address
    in the cluster. A training of one process has no group, and listens nowhere.
    """

    @property
    def backend_cls(self) -> type[Backend]:
        """What sets the processes up."""
        return _ProcessGroup


class _ProcessGroup(Backend):
    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        num = len(worker_group)
        worker_group.execute(_say_who_we_are)
        if num == 1:
            return
        addresses = worker_group.execute(get_node_ip_address)
        host = LOOPBACK if len(set(addresses)) == 1 else addresses[0]
        port = worker_group.execute_single(0, _serve, host, num, backend_config.timeout_s)
        joining = [
            worker_group.execute_single_async(
                rank, _join, host, port, rank, num, backend_config.backend, backend_config.timeout_s
            )
            for rank in range(num)
        ]
        ray.get(joining)

    def on_shutdown(self, worker_group: Any, backend_config: Any) -> None:
        ray.wait(worker_group.execute_async(_leave), num_returns=len(worker_group), timeout=_LEAVE_S)


def _say_who_we_are() -> None:
    """Set the variables of torch's launcher, which libraries read."""
    context = ray.train.get_context()
    os.environ["RANK"], os.environ["WORLD_SIZE"] = str(context.get_world_rank()), str(context.get_world_size())
    os.environ["LOCAL_RANK"] = str(context.get_local_rank())
    os.environ["LOCAL_WORLD_SIZE"] = str(context.get_local_world_size())
    os.environ["NODE_RANK"] = str(context.get_node_rank())


def listening_socket(host: str) -> socket.socket:
    """Open a socket that listens on one address, on a port that is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.bind((host, 0))
    opened.listen()
    return opened


def interface_of(host: str) -> str:
    """Return the network interface of this machine that has the address ``host``.

    Raises:
        RuntimeError: If none has it; it names those that there are.
    """
    found: dict[str, list[str]] = {
        name: [one.address for one in given] for name, given in psutil.net_if_addrs().items()
    }
    for name, addresses in found.items():
        if host in addresses:
            return name
    raise RuntimeError(f"no interface has the address {host}: {found}. Set {' and '.join(INTERFACES)}.")


def _serve(host: str, num: int, timeout_s: int) -> int:
    """Start the store in this process, and return its port."""
    global _store
    opened = listening_socket(host)
    port = int(opened.getsockname()[1])
    _store = TCPStore(
        host, port, num, is_master=True, timeout=timedelta(seconds=timeout_s), wait_for_workers=False,
        master_listen_fd=opened.detach(),
    )  # fmt: skip
    return port


def _join(host: str, port: int, rank: int, num: int, backend: str, timeout_s: int) -> None:
    """Become one of the group, over the store's interface where no other was chosen."""
    global _store
    timeout = timedelta(seconds=timeout_s)
    unset = [name for name in INTERFACES if name not in os.environ]
    if unset:
        name = interface_of(host if host == LOOPBACK else get_node_ip_address())  # type: ignore[no-untyped-call]
        os.environ.update(dict.fromkeys(unset, name))
    store = _store if rank == 0 else TCPStore(host, port, num, is_master=False, timeout=timeout)
    _store = None  # the group keeps it
    dist.init_process_group(backend=backend, store=store, rank=rank, world_size=num, timeout=timeout)


def _leave() -> None:
    """End the group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()
