"""Programs as jobs of a Ray cluster: what is packed, how a job is followed, and what its end means."""

import asyncio
import hashlib
import logging
import os
import secrets
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kinebert
from kinebert.orchestration.printing import warn
from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import ConfigError, UserError

PACKAGE = Path(kinebert.__file__).parent
"""All that a job needs of this project: the nodes have the packages of constraints.txt."""
MAX_BYTES = 100 * 2**20
"""Ray's job server takes no larger upload."""
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
_TOML_BYTES = 2**20
_STOPPED = 143
_TALKATIVE = ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk")
"""Ray's loggers that have a level of their own."""
_RECONNECT_S = (1.0, 2.0, 5.0, 10.0, 20.0)


@dataclass(frozen=True)
class Packed:
    """A folder that is ready to be uploaded."""

    folder: Path
    args: tuple[str, ...]
    """The program's arguments; recipes that exist here only are packed as well, and named as the job will find them."""
    num_bytes: int


@contextmanager
def packed(args: Sequence[str], include: Sequence[str] = ()) -> Iterator[Packed]:
    """Copy the package ``kinebert``, recipes among ``args`` and what is to be included into a temporary folder.

    Args:
        args: Of the program.
        include: Files or folders, which the job finds under their names in its folder.

    Raises:
        UserError: If something is not there, two things have one name, or all is too large.
    """
    with tempfile.TemporaryDirectory(prefix="kinebert-job-") as name:
        folder = Path(name)
        shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=_LEFT_OUT)  # links of a checkout are followed
        for path in map(Path, include):
            target = folder / path.name
            if not path.exists():
                raise UserError(f"{path}: there is no such file or folder to include. Check the spelling.")
            if target.exists():
                raise UserError(
                    f"{path}: the job's folder has {target.name} already. Give what is included another name."
                )
            if path.is_dir():
                shutil.copytree(path, target, ignore=_LEFT_OUT)
            else:
                storage.check_regular(path)
                shutil.copy(path, target)
        told = tuple(_with_recipe(arg, folder) for arg in args)
        yield Packed(folder, told, _check_size(folder))


def _with_recipe(arg: str, folder: Path) -> str:
    path = Path(arg)
    if path.suffix != ".toml" or not path.is_file() or path.stat().st_size > _TOML_BYTES:
        return arg
    shipped = (PACKAGE / "pipelines").resolve()
    if path.resolve().is_relative_to(shipped):
        return (Path(PACKAGE.name) / "pipelines" / path.resolve().relative_to(shipped)).as_posix()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]  # so that another content is another job
    target = folder / "submitted" / digest / path.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)
    return target.relative_to(folder).as_posix()


def _check_size(folder: Path) -> int:
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    total = sum(sizes.values())
    if total > MAX_BYTES:
        largest = sorted(sizes, key=lambda path: -sizes[path])[:3]
        names = ", ".join(f"{path.relative_to(folder)} ({sizes[path] / 2**20:.0f} MiB)" for path in largest)
        raise UserError(
            f"the job's folder would be {total / 2**20:.0f} MiB, Ray takes {MAX_BYTES / 2**20:.0f}. The largest: "
            f"{names}. Put data on storage that every node sees, and give its path or URI."
        )
    return total


_KEYS = frozenset({"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_CLIENT_SECRET", "AZURE_STORAGE_KEY"})
"""Variables by which object stores are opened."""


def environment(given: Sequence[str]) -> dict[str, str]:
    """Return the variables that a job gets: those ``given``, as NAME=VALUE or as NAME for the value that it has here.

    Raises:
        ConfigError: If a name is not set here, or is that of a key of an object store.
    """
    found = {name: os.environ[name] for name in ("MLFLOW_TRACKING_URI",) if name in os.environ}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or (not equals and name not in os.environ):
            raise ConfigError(f"--env {text}: {name or 'an empty name'} is not set here. Write NAME=VALUE.")
        if name in _KEYS:
            raise ConfigError(
                f"--env {name}: Ray would show this key on its dashboard and in its logs. Give it to the nodes "
                "instead, before Ray starts there: in their environment, or in a file (AWS_SHARED_CREDENTIALS_FILE)."
            )
        found[name] = value if equals else os.environ[name]
    return found


class Jobs:
    """The job server of a cluster.

    Args:
        address: Such as ``http://head:8265``; by default RAY_API_SERVER_ADDRESS. Its token, if it wants one, comes from
            RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH.

    Raises:
        UserError: If no address is known, nobody answers, or the token is refused.
    """

    def __init__(self, address: str | None) -> None:
        found = address or os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS", "")
        if not found.startswith(("http://", "https://")):
            raise ConfigError(
                f"{found or 'no address'}: expected that of a cluster's job server. Give --address http://HEAD:8265, "
                "or set RAY_API_SERVER_ADDRESS."
            )
        if {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
            os.environ.setdefault("RAY_AUTH_MODE", "token")  # read when Ray is imported
        from ray.job_submission import JobSubmissionClient

        for name in ("ray", *_TALKATIVE):
            logging.getLogger(name).setLevel(logging.ERROR)  # we say what is to be said
        self.address = found
        try:
            self._client = JobSubmissionClient(found)
        except Exception as error:  # of requests, aiohttp and Ray
            raise UserError(
                f"{found}: no job server answers there: {_line(error)} Correct the address; if the cluster asks for a "
                "token, give it in RAY_AUTH_TOKEN."
            ) from None

    def running(self, entrypoint: str) -> str | None:
        """Id of a job with this command that has not ended yet, if there is one."""
        for job in self._client.list_jobs():
            if job.entrypoint == entrypoint and job.submission_id and not job.status.is_terminal():
                return str(job.submission_id)
        return None

    def submit(self, entrypoint: str, folder: Path, env: Mapping[str, str], name: str) -> str:
        """Upload ``folder`` and start a command in it; returns the job's id."""
        started = time.strftime("%Y%m%d-%H%M%S")
        try:
            return str(
                self._client.submit_job(
                    entrypoint=entrypoint,
                    submission_id=f"{name}-{started}-{secrets.token_hex(2)}",
                    runtime_env={"working_dir": str(folder), "env_vars": dict(env)},
                )
            )
        except Exception as error:
            raise UserError(f"{self.address}: the job was not taken: {_line(error)}") from None

    def follow(self, job: str) -> int:
        """Print what a job prints until it ends; return its exit status. A connection that breaks is made again."""
        shown, attempts = _Shown(), iter(_RECONNECT_S)
        while True:
            reason, ended = "the log ended before the job.", None
            try:
                asyncio.run(self._print(job, shown))
                whole = True
            except Exception as error:  # of aiohttp, requests and Ray
                reason, whole = _line(error), False
            try:
                details: Any = self._client.get_job_info(job)
                ended = details if details.status.is_terminal() else None
                if ended is None:
                    attempts = iter(_RECONNECT_S)  # only the log was cut, as by a proxy that closes what is quiet
            except Exception as error:  # likewise
                reason = _line(error)
                if f"Job {job} does not exist" in reason:
                    raise UserError(
                        f"{self.address}: knows {job} no more: the cluster was started anew, the job ended with the "
                        "old one. The same command submits it again; it goes on where it was."
                    ) from None
            pause_s = None if ended is not None and whole else next(attempts, None)
            if pause_s is None and ended is not None:
                return _exit_status(ended)
            if pause_s is None:
                raise UserError(
                    f"{self.address}: lost the connection to {job}: {reason} The job goes on; the same command follows "
                    "it again."
                )
            time.sleep(pause_s)

    async def _print(self, job: str, shown: "_Shown") -> None:
        at = 0  # the log is told from its beginning at every connection
        async for text in self._client.tail_job_logs(job):
            shown.show(text, at)
            at += len(text)


class _Shown:
    """What of a text was printed, however often parts of it come."""

    def __init__(self) -> None:
        self._length = 0

    def show(self, text: str, at: int) -> None:
        """Print what is new of a ``text`` that begins at character ``at``."""
        new = text[max(0, self._length - at) :]
        if new:
            sys.stdout.write(new)
            sys.stdout.flush()
        self._length = max(self._length, at + len(text))


def entrypoint(module: str, args: Sequence[str]) -> str:
    """Return the command that runs a program in a job."""
    return shlex.join(["python", "-m", f"kinebert.pipelines.{module}", *args])


def _exit_status(details: Any) -> int:
    if details.driver_exit_code is not None:
        code = int(details.driver_exit_code)
        return code if code >= 0 else 128 - code
    status = str(details.status.value)
    if status == "SUCCEEDED":
        return 0
    warn(f"{status.lower()}: {details.message or 'without a word'}")
    return _STOPPED if status == "STOPPED" else 1


def _line(error: Exception) -> str:
    text = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return text.rstrip(".")[:300] + "."
