"""Where programs run: on the cluster that they are given, or on a private one of this machine that ends with them."""

import fcntl
import glob
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

GIVEN = "RAY_ADDRESS"
_TOO_LATE = "ray" in sys.modules


def _prepare_private_cluster() -> None:
    """Settings that Ray reads when it is imported or started. None of them changes a cluster that is given."""
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # or a thread that outlives a job would start another cluster
    if os.environ.get(GIVEN, "local") != "local":
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")  # wait 40 s for a cluster that is not there, not 800
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # the driver's: an error of ours says it in one line
        return
    if "ray" in sys.modules:  # this is a worker of a cluster, whose settings are not ours to make
        return
    # the switch for single-machine clusters is the only one that keeps every socket of Ray on the loopback interface
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray would let any other program starve its workers
    configured = {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    if not configured:  # a token of our own, or Ray would write one into the home directory
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


_prepare_private_cluster()

import ray  # noqa: E402 - after the settings that its import reads
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: E402

from kinebert.orchestration import ray_processes  # noqa: E402
from kinebert.preprocessing import storage  # noqa: E402
from kinebert.preprocessing.errors import ConfigError, UserError  # noqa: E402
from kinebert.preprocessing.machine import available_cores  # noqa: E402

STORE_BYTES = 256 * 2**20
"""Of shared memory, for the objects of a private cluster: pixels never enter its store."""
_QUIET = logging.ERROR
_ANSWER_S, _GCS_ANSWER_S = 5.0, 2.0
_PREFIX, _LOCK = "kb-", "lock"


@dataclass(frozen=True)
class Cluster:
    """CPUs and GPUs of the cluster that a program works on."""

    num_cpus: int
    num_gpus: int
    private: bool
    """Started by this program, on this machine; ends with it."""


@dataclass(frozen=True)
class Node:
    """What one living machine of a cluster gives."""

    cpus: float
    gpus: float

    def room(self, cpus: float, gpus: float) -> int:
        """Return how many tasks fit here that hold so many CPUs and such a share of a GPU (0 to 1) each.

        None of them spans two GPUs.
        """
        fits = int(self.cpus / cpus + 1e-6)
        return min(fits, int(self.gpus + 1e-6) * int(1 / gpus + 1e-6)) if gpus else fits


_present: Cluster | None = None
"""The private cluster that an outer block has started."""


@contextmanager
def cluster(num_cpus: int | None = None) -> Iterator[Cluster]:
    """Join the cluster that ``RAY_ADDRESS`` names (as ``ray job submit`` sets it); without it, start a private one.

    A bare ``ray.init()`` would instead join whatever cluster was last started on this machine. A private cluster
    listens on loopback only, asks for a token of its own, and is gone, with its files, when the block ends. Inside a
    block, a further block is the same cluster.

    Args:
        num_cpus: Logical CPUs of a private cluster; by default those of the machine.

    Raises:
        UserError: If the given cluster cannot be joined, a private one does not start, or either breaks.
    """
    global _present
    if ray.is_initialized():
        yield _present or _describe(private=False)
        return
    given = os.environ.get(GIVEN, "local")
    if given != "local":
        _check_answers(given)
        try:
            with _same_reaction_to_sigterm(), ray_processes.hushed():  # Ray tells at which level it logs
                _join(address=given)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise UserError(
                f"{GIVEN}={given}: cannot join this Ray cluster: {reason}. If it asks for a token, give it in "
                "RAY_AUTH_TOKEN; or unset it to use this machine."
            ) from None
        with _given_watch(given):
            yield _describe(private=False)
        return
    if _TOO_LATE:
        raise RuntimeError(
            "ray was imported before kinebert.orchestration.cluster, which sets what Ray reads at its import"
        )
    with ExitStack() as stack:
        try:
            found = stack.enter_context(_started(num_cpus))
        except _StartError:  # a machine that is very busy
            try:
                found = stack.enter_context(_started(num_cpus))
            except _StartError as error:
                raise UserError(
                    f"Ray did not start on this machine, tried twice: {error}. Is it very busy, or short of memory or "
                    "of space in /tmp or /dev/shm? Run the same command again later."
                ) from None
        _present = found
        try:
            yield found
        finally:
            _present = None


class _StartError(Exception):
    """A private cluster could not be started; says why."""


@contextmanager
def _started(num_cpus: int | None) -> Iterator[Cluster]:
    """Start a private cluster, and end it with the block; see :class:`.Watch` for one that breaks in between.

    Raises:
        _StartError: If it does not start. Nothing is left of it.
        UserError: If it broke.
    """
    with _own_folder() as folder:
        try:
            try:
                with _same_reaction_to_sigterm(), ray_processes.marked(folder):
                    _join(
                        address="local",
                        num_cpus=num_cpus or available_cores(),
                        object_store_memory=STORE_BYTES,
                        include_dashboard=False,
                        _temp_dir=os.path.join(folder, "r"),
                    )
                described = _describe(private=True)
            except Exception as error:  # of no common class
                raise _StartError((str(error).splitlines() or [type(error).__name__])[0].rstrip(".")) from None
        except BaseException:
            ray.shutdown()
            ray_processes.end_processes(folder)
            raise
        with _watch(folder):
            yield described


def _join(**options: Any) -> None:
    """Start or join a cluster; what its processes print stays in its logs, of which errors of ours say the part."""
    ray.init(log_to_driver=False, logging_level=_QUIET, **options)
    ray._private.worker._worker_logs_enabled = False  # it would print what befalls its workers all the same


def _given_watch(address: str) -> ray_processes.Watch:
    joined: Any = ray._private.worker.global_worker
    return ray_processes.GivenWatch(
        address, lambda: joined.gcs_client.internal_kv_get(b"kinebert", None, timeout=_GCS_ANSWER_S), ray.shutdown
    )


def _watch(folder: str) -> ray_processes.Watch:
    node: Any = ray._private.worker._global_node
    running = node.all_processes
    needed = {name: running[name][0].process for name in ray_processes.NEEDED}
    return ray_processes.Watch(folder, needed, ray.shutdown)


@contextmanager
def _own_folder() -> Iterator[str]:
    """Give a private cluster's folder, removed afterwards; remove those of programs that were killed.

    A lock says whose program is alive: it goes with the process, and is seen by every container that shares /tmp.
    """
    for stale in glob.glob(f"/tmp/{_PREFIX}*/{_LOCK}"):
        with suppress(OSError, UserError), open(storage.open_regular(stale)) as lock:
            if os.fstat(lock.fileno()).st_uid != os.getuid():
                continue  # /tmp is everybody's
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(os.path.dirname(stale), ignore_errors=True)
    folder = tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp")  # Ray's socket paths must stay below 107 characters
    try:
        with open(os.path.join(folder, f".{_LOCK}"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.rename(lock.name, os.path.join(folder, _LOCK))  # nobody sees it before it is held
            os.mkdir(os.path.join(folder, "r"))  # Ray opens it, as all that it makes, to everybody; none gets past ours
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _same_reaction_to_sigterm() -> Iterator[None]:
    """Undo that ``ray.init`` takes the signal over from a program that handles it."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if callable(before) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def _check_answers(address: str) -> None:
    """Find out in seconds, where Ray takes minutes and shows its own log, that nobody is at ``address``."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or "/" in host:
        return  # Ray has words of its own for addresses of other kinds
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"{GIVEN}={address}: no Ray cluster answers there ({error}). Correct it, or unset it to use this machine."
        ) from None


def _describe(private: bool) -> Cluster:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return Cluster(int(resources.get("CPU", 0)), int(resources.get("GPU", 0)), private)


def present() -> Cluster:
    """Return what the cluster that this process has joined has now; nodes come and go."""
    return _describe(private=_present is not None)


def nodes() -> list[Node]:
    """Return the nodes that are alive now, with all that they have, free or not."""
    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    alive = [node["Resources"] for node in found if node["Alive"]]
    return [Node(one.get("CPU", 0.0), one.get("GPU", 0.0)) for one in alive]


def free_nodes() -> list[Node]:
    """Return what nobody holds now of each node that is alive. Shares of GPUs add up to whole ones that are none."""
    state: Any = ray._private.state
    found: dict[str, dict[str, float]] = state.available_resources_per_node()
    return [Node(one.get("CPU", 0.0), one.get("GPU", 0.0)) for one in found.values()]


def room(nodes: Sequence[Node], cpus: float, gpus: float) -> int:
    """Return how many tasks fit on some nodes together, see :meth:`Node.room`."""
    return sum(node.room(cpus, gpus) for node in nodes)


def cores_per_gpu(nodes: Sequence[Node]) -> int:
    """Return the cores that a node has for each of its GPUs, the least of all nodes that have GPUs; at least 1."""
    return max(1, min((int(node.cpus / int(node.gpus)) for node in nodes if node.gpus >= 1), default=1))


def is_private() -> bool:
    """Whether :func:`cluster` would start, or has started, a private cluster."""
    return _present is not None or (os.environ.get(GIVEN, "local") == "local" and not ray.is_initialized())


def beside_us() -> dict[str, Any]:
    """Return options of an actor that must live as long as the driver: on its node, whatever other nodes are lost."""
    node = ray.get_runtime_context().get_node_id()
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}


def check_workers(workers: int, what: str) -> None:
    """Refuse, before anything is started, more workers than a private cluster would have cores.

    Raises:
        ConfigError: With both numbers.
    """
    if workers < 1:
        raise ConfigError(f"{what} must be at least 1, got {workers}.")
    if os.environ.get(GIVEN, "local") == "local" and not ray.is_initialized() and workers > available_cores():
        raise ConfigError(
            f"{what} = {workers}, but this machine has {available_cores()} cores. Ask for fewer, or give a cluster "
            f"({GIVEN}, ray job submit)."
        )
