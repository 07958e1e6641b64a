"""Where the processes of a training meet."""

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
import torch
import torch.distributed as dist

from kinebert.orchestration.ray_train import process_group
from kinebert.orchestration.ray_train.process_group import LOOPBACK, ProcessGroupConfig, interface_of, listening_socket


def listening() -> set[str]:
    """The addresses on which this process listens."""
    return {found.laddr.ip for found in psutil.Process().net_connections() if found.status == "LISTEN"}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in process_group.INTERFACES:
        monkeypatch.delenv(name, raising=False)
    yield
    process_group._leave()


class Group:
    """A worker group of Ray Train's whose workers are this process; each call is remembered."""

    def __init__(self, addresses: list[str]) -> None:
        self.addresses, self.asked = addresses, list[str]()

    def __len__(self) -> int:
        return len(self.addresses)

    def execute(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        self.asked.append(function.__name__)
        return list(self.addresses)

    def execute_single(self, rank: int, function: Callable[..., Any], *args: Any) -> Any:
        self.asked.append(f"{function.__name__} {args[0]}")
        return 4321

    def execute_single_async(self, rank: int, function: Callable[..., Any], *args: Any) -> Any:
        self.asked.append(f"{function.__name__} {args[0]}:{args[1]} {rank}")
        return None


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], list[str]]:
    """What is asked of workers at such addresses."""
    monkeypatch.setattr("ray.get", lambda what: what)

    def start(addresses: list[str]) -> list[str]:
        group, config = Group(addresses), ProcessGroupConfig(backend="gloo")
        config.backend_cls().on_start(group, config)  # type: ignore[arg-type]
        return group.asked

    return start


def test_one_worker_has_no_group(started: Callable[[list[str]], list[str]]) -> None:
    assert started(["10.0.0.1"]) == ["_say_who_we_are"]


def test_workers_of_one_node_meet_on_loopback(started: Callable[[list[str]], list[str]]) -> None:
    asked = started(["10.0.0.1", "10.0.0.1"])
    assert asked[2:] == [f"_serve {LOOPBACK}", f"_join {LOOPBACK}:4321 0", f"_join {LOOPBACK}:4321 1"]


def test_workers_of_several_nodes_meet_at_the_first_ones_address(started: Callable[[list[str]], list[str]]) -> None:
    asked = started(["10.0.0.1", "10.0.0.2"])
    assert asked[2:] == ["_serve 10.0.0.1", "_join 10.0.0.1:4321 0", "_join 10.0.0.1:4321 1"]


def test_the_store_listens_on_the_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    before = listening()
    port = process_group._serve(LOOPBACK, 1, 30)
    assert listening() - before <= {LOOPBACK}
    process_group._join(LOOPBACK, port, 0, 1, "gloo", 30)
    assert listening() - before <= {LOOPBACK}  # gloo's own listener as well
    total = torch.ones(2)
    dist.all_reduce(total)
    assert total.tolist() == [1.0, 1.0]


def test_a_chosen_interface_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    name = interface_of(LOOPBACK)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", name)
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "ib0")
    port = process_group._serve(LOOPBACK, 1, 30)
    process_group._join(LOOPBACK, port, 0, 1, "gloo", 30)
    assert [os.environ[variable] for variable in process_group.INTERFACES] == [name, "ib0"]


def test_an_address_that_no_interface_has() -> None:
    with pytest.raises(RuntimeError, match=r"no interface has the address 192\.0\.2\.1: .*Set GLOO_SOCKET_IFNAME and"):
        interface_of("192.0.2.1")


def test_a_socket_of_ours_is_on_one_address() -> None:
    with listening_socket(LOOPBACK) as opened:
        host, port = opened.getsockname()
        assert host == LOOPBACK
        with socket.create_connection((host, port), timeout=5):
            pass
