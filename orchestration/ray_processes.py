"""The processes of a private Ray: watched while a program works on them, and ended whatever has become of them.

Without its raylet or GCS nothing goes on, but Ray takes a minute to find that out, shows its own logs, or ends the
program in the middle of its clean-up. So they are watched here; of a cluster that was given, its GCS.
"""

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import psutil

from kinebert.orchestration.printing import warn
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.machine import environment

NEEDED = ("gcs_server", "raylet")
_MARK = "KINEBERT_CLUSTER"
_LOOK_S = 0.2
_ASK_EVERY_S = 1.0
_UNANSWERED, _UNANSWERED_AFTER_ERROR, _UNANSWERED_IN_SILENCE = 10, 3, 2
"""Questions in a row after which a given GCS is lost: as it is; if the program has failed; before Ray may say so.
With the time that each may take, the first is half a minute: a head may be started anew, and Ray gives up after 60 s.
"""
_INTERRUPT_AFTER_S, _END_AFTER_S = 2.0, 20.0
"""After a loss: when a program that still waits for Ray is interrupted, and when it is ended. Ray would at 60 s."""
_SIGNAL = signal.SIGRTMAX - 3
"""Interrupts the main thread: Ray Train answers Ctrl-C by asking its processes, which answer nothing any more."""
_STATUS = 2
"""Of a program that is ended, as of one that an error ends."""


@contextmanager
def marked(folder: str) -> Iterator[None]:
    """Let the processes that are started in a block, and those that they start, be known as of the cluster there."""
    ours = {_MARK: folder, "SPT_NOENV": "1"}  # without the latter some of Ray's write their titles over it
    with environment(ours):
        yield


def end_processes(folder: str, patience_s: float = 5.0) -> None:
    """Kill every process that descends from a block of :func:`marked`, and wait for their end."""
    give_up = time.monotonic() + patience_s
    while time.monotonic() < give_up:  # those that are just being started come one after another
        found = [process for process in psutil.process_iter() if _is_of(process, folder)]
        if not found:
            return
        for process in found:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=1.0)


def _is_of(process: psutil.Process, folder: str) -> bool:
    """Whether a process bears the mark; read by hand, since psutil gives up at what a changed title leaves there."""
    try:
        known = f"{_MARK}={folder}\0".encode() in Path(f"/proc/{process.pid}/environ").read_bytes()
        return known and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return False


class Watch:
    """Looks after the processes in a ``with`` block, and ends them with it.

    Args:
        folder: Of the cluster, as given to :func:`marked`; removed as well where the program must be ended.
        processes: Those that are needed, by what they are called.
        shut_down: Ends them, where all is well.
    """

    def __init__(
        self, folder: str, processes: Mapping[str, "subprocess.Popen[bytes]"], shut_down: Callable[[], None]
    ) -> None:
        self._folder, self._processes, self._shut_down = folder, processes, shut_down
        self._in_main_thread = threading.current_thread() is threading.main_thread()
        self._before: Any = signal.SIG_DFL
        self._over = threading.Event()
        self._lost, self._leaving = "", False
        self._hush: _Hush | None = None
        self._look_s = _LOOK_S
        self._thread = threading.Thread(target=self._look, name="watch over Ray", daemon=True)

    def __enter__(self) -> "Watch":
        if self._in_main_thread:
            self._before = signal.signal(_SIGNAL, _interrupt)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Turn whatever has ended the block, if one of the processes is gone, into an error that says so.

        Raises:
            UserError: If one is.
        """
        self._leaving = True
        if not self.lost(1.0 if kind else 0.0):  # an error of Ray may come before the end of the process is seen
            self._stop()
            self._shut_down()
            self._end_processes()
            return
        try:
            self._end_processes()
            with suppress(Exception):
                self._shut_down()
        finally:
            self._stop()
        if kind is not None:
            raise self.error() from None

    def _stop(self) -> None:
        self._over.set()
        self._thread.join()
        if self._hush is not None:
            self._hush.end()
        if self._in_main_thread:
            signal.signal(_SIGNAL, self._before)

    def lost(self, patience_s: float = 0.0) -> bool:
        """Whether a process that is needed has ended, or ends within some seconds."""
        give_up = time.monotonic() + patience_s
        while not self._lost:
            gone = [name for name, process in self._processes.items() if process.poll() is not None]
            self._lost = "".join(gone[:1])
            if self._lost or time.monotonic() >= give_up:
                break
            time.sleep(_LOOK_S / 4)
        return bool(self._lost)

    def error(self) -> UserError:
        """Return what is said of the loss."""
        return UserError(
            f"the {self._lost} of this program's own Ray was killed or has crashed (has the system run out of memory?)."
            " Run the same command again to continue."
        )

    def _end_processes(self) -> None:
        end_processes(self._folder)

    def _look(self) -> None:
        while not self._over.wait(self._look_s):
            if self.lost():
                self._silence()
                self._end_program()
                return

    def _silence(self) -> None:
        if self._hush is None:
            self._hush = _Hush()
            self._hush.begin()

    def _end_program(self) -> None:
        """End the block, which Ray may keep waiting: first by an exception, then for good."""
        if self._over.wait(_INTERRUPT_AFTER_S):
            return
        if self._in_main_thread and not self._leaving:
            signal.pthread_kill(threading.main_thread().ident or 0, _SIGNAL)
        if self._over.wait(_END_AFTER_S - _INTERRUPT_AFTER_S):
            return
        warn(f"error: {self.error()}")
        self._end_processes()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        os._exit(_STATUS)


class GivenWatch(Watch):
    """Looks after the GCS of a cluster that was given, in a ``with`` block. Nothing of that cluster is ended.

    Args:
        address: Of the cluster, for errors.
        ask: Asks the GCS something; raises if no answer comes within a few seconds.
        shut_down: Leaves the cluster.
    """

    def __init__(self, address: str, ask: Callable[[], object], shut_down: Callable[[], None]) -> None:
        super().__init__("", {}, shut_down)
        self._address, self._ask, self._unanswered = address, ask, 0
        self._look_s = _ASK_EVERY_S

    def lost(self, patience_s: float = 0.0) -> bool:
        """Whether too many questions in a row were not answered; with patience, which an error needs, ask some now.

        Questions are counted and not seconds: a program that was suspended has asked nothing.
        """
        while not self._lost:
            if self._answers():
                self._unanswered = 0
                self._hear_again()
                break
            self._unanswered += 1
            if self._unanswered >= _UNANSWERED_IN_SILENCE:
                self._silence()
            if self._unanswered >= (_UNANSWERED_AFTER_ERROR if patience_s else _UNANSWERED):
                self._lost = self._address
            elif not patience_s:
                break
        return bool(self._lost)

    def error(self) -> UserError:
        """Return what is said of the loss."""
        return UserError(
            f"the head of the Ray cluster at {self._address} no longer answers: it was stopped or killed, or cannot be "
            "reached. What was finished is kept; run the same command again to continue when the cluster is back."
        )

    def _end_processes(self) -> None:
        pass

    def _answers(self) -> bool:
        try:
            self._ask()
        except Exception:  # of no common class
            return False
        return True

    def _hear_again(self) -> None:
        if self._hush is not None:
            self._hush.end()
            self._hush = None


class _LostError(KeyboardInterrupt):
    """Ends what waits for a cluster that is gone; Ray, while it waits, lets nothing through but what Ctrl-C raises."""


def _interrupt(*_: object) -> None:
    raise _LostError


@contextmanager
def hushed() -> Iterator[None]:
    """Keep from the terminal what Ray's C++ says in the block, at the standard error."""
    hush = _Hush()
    hush.begin()
    try:
        yield
    finally:
        hush.end()


class _Hush:
    """Keeps from the terminal what Ray says about its end: pages, of which one line of ours is enough."""

    def __init__(self) -> None:
        self._loggers = [
            logging.getLogger(name) for name in logging.root.manager.loggerDict if name.partition(".")[0] == "ray"
        ]
        self._errors: TextIO | None = None

    def begin(self) -> None:
        """Silence its loggers, and its C++, which writes to the standard error; what Python writes there is seen."""
        for logger in self._loggers:
            logger.disabled = True
        with suppress(OSError, ValueError):
            if sys.stderr.fileno() == 2:
                sys.stderr.flush()
                self._errors, sys.stderr = sys.stderr, os.fdopen(os.dup(2), "w", buffering=1)
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, 2)
                os.close(nowhere)

    def end(self) -> None:
        """Undo :meth:`begin`."""
        for logger in self._loggers:
            logger.disabled = False
        if self._errors is not None:
            sys.stderr.flush()
            os.dup2(sys.stderr.fileno(), 2)
            sys.stderr.close()
            sys.stderr = self._errors
