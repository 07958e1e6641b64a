"""One program at a time works in a folder: two would sweep away each other's unfinished files.

The holder's mark is a file, :data:`RUNNING_FILE`, that it writes anew every 20 s. Whoever reads, judges and writes that
file is alone: on a disk by ``flock``, on object storage, which has no locks, by claims (:func:`_alone_on_store`).
Ages are told by the clock of the storage, which has one for all: those of two machines may be minutes apart, or be set.
"""

import errno
import fcntl
import json
import os
import random
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.machine import process_numbers_of, process_started
from kinebert.preprocessing.stores.answers import StorageError, StoreAwayError

RUNNING_FILE = ".running.json"
EXTRACTION = "extract"
_DISK_LOCK, _CLAIM = ".running.lock", ".claim-"
_BEAT_S, _DEAD_AFTER_S = 20.0, 120.0
_POLL_S = 0.05
_TOO_SLOW = "the store is too slow to tell who works here. Try again when it is well."
_NO_FLOCK = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@dataclass(frozen=True)
class _Mark:
    """What a program writes down about itself."""

    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    started: str | None = field(default_factory=lambda: process_started(os.getpid()))
    time: float = field(default_factory=time.time)
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    program: str = EXTRACTION
    numbers: str = field(default_factory=process_numbers_of)
    """Whose process numbers ``pid`` is one of; earlier versions did not say."""

    def alive(self, age_s: float) -> bool:
        """Whether that program, which gave a sign of life ``age_s`` ago, runs; of this machine, whether it is there."""
        here = self.host == socket.gethostname() and self.numbers in ("", process_numbers_of())
        if here and self.started is not None:
            if self.pid == os.getpid():
                return self.token in _ours
            return process_started(self.pid) == self.started
        return age_s < _DEAD_AFTER_S

    def write(self, path: str) -> None:
        """Write it to ``path``, with the time of now."""
        storage.write_bytes(path, json.dumps(asdict(replace(self, time=time.time()))).encode())


_ours: set[str] = set()
"""Tokens of what this process holds or claims."""


def _read(path: str) -> _Mark | None:
    """The mark at ``path``, or None where there is none, or a damaged one.

    Raises:
        OSError: If it cannot be told: somebody may stand behind it.
    """
    try:
        found = json.loads(storage.read_bytes(path))
        return _Mark(**{"token": "", "numbers": "", **found, "time": float(found["time"]), "pid": int(found["pid"])})
    except StorageError:
        raise
    except (FileNotFoundError, UserError, ValueError, TypeError, KeyError):
        return None


def _written_at(path: str, otherwise: float) -> float:
    """When ``path`` was written, by the clock of its storage; ``otherwise`` where that does not say."""
    found = storage.modified_at(path)
    return otherwise if found is None else found


@contextmanager
def held(output: str, program: str) -> Iterator[None]:
    """Keep the folder ``output``, on a disk or on object storage, for this process and this block.

    A killed program holds nothing: on its own machine as soon as its process is gone, for others 2 minutes after its
    last sign of life.

    Args:
        output: An existing folder.
        program: Name of the program, for whoever is refused; :data:`EXTRACTION` of whatever fills a set.

    Raises:
        UserError: If a living program holds it, or the folder cannot be written.
    """
    path = storage.join(output, RUNNING_FILE)
    mark = _Mark(program=program)
    _ours.add(mark.token)
    try:
        with storage.explained(output, "write to this folder"), _alone(output) as now:
            other = _read(path)
            if other is not None:
                age_s = now - _written_at(path, other.time)
                if other.alive(age_s):
                    raise UserError(_refusal(output, other, age_s))
            mark.write(path)
        with _beating(output, mark):
            yield
    finally:
        _ours.discard(mark.token)


def holder(output: str) -> str:
    """Return the token of who holds a folder, by which it is known from another of the same path; empty if nobody."""
    mark = _read(storage.join(output, RUNNING_FILE))
    return "" if mark is None else mark.token


def _refusal(output: str, other: _Mark, age_s: float) -> str:
    if other.program == EXTRACTION:
        text = f"another job (process {other.pid} on {other.host}) is filling this folder. Wait for it, or stop it."
    else:
        text = f"another kinebert {other.program} works here. Wait for its end, or end it."
    if other.host != socket.gethostname():
        text += (
            f" It runs on {other.host} and gave its last sign of life {max(age_s, 0.0):.0f} s ago; after "
            f"{_DEAD_AFTER_S:.0f} s without one it counts as ended."
        )
    return f"{output}: {text}"


@contextmanager
def _beating(output: str, mark: _Mark) -> Iterator[None]:
    """Give signs of life during the block, and remove the mark afterwards.

    A process that was suspended for long, or out of the store's reach, may find that another one holds the folder: that
    one's mark is left alone, and the main thread, if the block runs there, is interrupted.

    Raises:
        UserError: In place of that interrupt.
    """
    path = storage.join(output, RUNNING_FILE)
    done, here = threading.Event(), threading.current_thread()
    lost: list[_Mark] = []

    def still_ours() -> bool:
        there = _read(path)
        if there is not None and there.token != mark.token:
            lost[:] = [there]
        return there is not None and there.token == mark.token

    def beat() -> None:
        while not done.wait(_BEAT_S):
            try:
                with suppress(OSError, UserError), _alone(output):  # one that fails for a moment is no reason to stop
                    if still_ours():
                        mark.write(path)
            except Exception:
                if not done.is_set():  # else the program ends, and closes its stores, without waiting for this one
                    raise
            if lost and here is threading.main_thread() and not done.is_set():
                assert here.ident is not None
                return signal.pthread_kill(here.ident, interrupt)
        return None

    thread = threading.Thread(target=beat, name="folder lock", daemon=True)
    away = False
    try:
        with _interrupting() as interrupt:
            thread.start()
            yield
    except KeyboardInterrupt:
        if not lost:
            raise
        raise UserError(
            f"{output}: given up: a kinebert {lost[0].program} on {lost[0].host} works here now. This program had not "
            f"given a sign of life for {_DEAD_AFTER_S:.0f} s: it was suspended, or the storage out of its reach."
        ) from None
    except StoreAwayError:
        away = not storage.is_local(output)  # it would not answer now either, and whose mark it is has ended
        raise
    finally:
        done.set()
        if not away:
            thread.join()
            with suppress(OSError, UserError), _alone(output):
                if still_ours():
                    storage.delete_file(path)


@contextmanager
def _interrupting() -> Iterator[signal.Signals]:
    """Give the signal that interrupts the main thread: another one where SIGINT is ignored, as in the background."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if not ignored or threading.current_thread() is not threading.main_thread():
        yield signal.SIGINT
        return
    before = signal.signal(signal.SIGUSR2, signal.default_int_handler)
    try:
        yield signal.SIGUSR2
    finally:
        signal.signal(signal.SIGUSR2, before)


@contextmanager
def _alone(output: str) -> Iterator[float]:
    """Be the only one, of all processes and threads everywhere, in such a block of this folder.

    Yields the time by the clock of the storage, in seconds since the epoch.
    """
    lock = _disk_lock(os.path.join(output, _DISK_LOCK)) if storage.is_local(output) else None
    if lock is None:
        with _alone_on_store(output) as now:
            yield now
        return
    try:
        os.utime(lock)
        yield os.fstat(lock).st_mtime
    finally:
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(output, _DISK_LOCK))  # while it is still held
        os.close(lock)


def _disk_lock(path: str) -> int | None:
    """Open and lock the file ``path``; None if this filesystem has no such locks (some shared ones)."""
    while True:
        lock = storage.open_regular(path, os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            here, there = os.fstat(lock), os.stat(path)
            if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                return lock
        except FileNotFoundError:
            pass  # whoever held it has removed it
        except OSError as error:
            os.close(lock)
            if error.errno in _NO_FLOCK:
                with suppress(FileNotFoundError):
                    os.unlink(path)
                return None
            raise
        os.close(lock)


@contextmanager
def _alone_on_store(output: str) -> Iterator[float]:
    """Be alone where files can only be written, read and listed.

    Each lays down a claim, a file of its own, and goes in once a listing made after that shows no other living claim.
    Of two, the one that listed last has seen the other's: never are both in. Where several see each other, all but
    the first by name take theirs back, and come again when nobody claims.
    """
    mark = _Mark()
    path = storage.join(output, f"{_CLAIM}{mark.token}")
    give_up = time.monotonic() + 2 * _DEAD_AFTER_S
    _ours.add(mark.token)
    try:
        while True:
            claimed = time.monotonic()
            mark.write(path)  # anew each time: it is a sign of life too
            now = _written_at(path, time.time())
            living = _claims(output, path, now)
            if not living and time.monotonic() - claimed < _DEAD_AFTER_S / 2:
                break
            stays = True
            while living and time.monotonic() < min(give_up, claimed + _BEAT_S):
                if stays and min(living) < storage.name_of(path):  # or one that came later, and is first, waits for it
                    storage.delete_file(path)
                    stays = False
                time.sleep(_POLL_S * (0.5 + random.random()))
                living = _claims(output, path, now)
            if time.monotonic() > give_up:
                who = f"{', '.join(living)} keep others out. Remove them if nothing works here."
                raise UserError(f"{output}: {who if living else _TOO_SLOW}")
        yield now
        if time.monotonic() - claimed > _DEAD_AFTER_S:  # and others may have taken this one for dead
            raise UserError(f"{output}: {_TOO_SLOW}")
    finally:
        _ours.discard(mark.token)
        with suppress(OSError):
            storage.delete_file(path)


def _claims(output: str, mine: str, now: float) -> list[str]:
    """Names of the claims of others that live; what killed ones left is removed."""
    names = [name for name in storage.list_files(output) if name.startswith(_CLAIM) and name != storage.name_of(mine)]
    return [name for name in names if _lives(storage.join(output, name), now)]


def _lives(path: str, now: float) -> bool:
    """Whether a claim is that of a living process; what a killed one left is removed."""
    mark = _read(path)
    if mark is None:
        return storage.exists(path)  # taken back meanwhile, or unreadable: then somebody may stand behind it
    alive = mark.alive(now - _written_at(path, mark.time))
    if not alive:
        storage.delete_file(path)
    return alive
