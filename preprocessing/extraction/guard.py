"""What keeps one video from holding up, or killing, a job: time limits, and a memory of who died at what.

A decoder that crashes takes its process along, and the cluster starts the task again, for ever. So a task leaves a
marker beside the output before it starts a video and removes it afterwards; what is found later is a death.
"""

import hashlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.stores.answers import StoreAwayError

MAX_ATTEMPTS = 3
"""Deaths of its worker after which a video is given up."""
MAX_PIXELS = 40_000_000
"""Most pixels of one picture that is decoded, unless another limit is given: 8K has 33 millions."""
ATTEMPTS_FOLDER = ".attempts"
_GRACE_S = 30.0
_SUSPENDED_S = 5.0
"""By which the watchdog may oversleep on a busy machine; if by more, its process did not run."""
_VERDICT = "verdict"
_LOOK_S, _QUIET_LOOKS, _STOPS_S = 0.25, 3, 15.0
"""Between two looks for what stopped workers write; looks that find nothing until they are taken for dead; in all."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long one video may take, and how large its pictures may be."""

    time_limit_s: float = 86400.0
    """Seconds that one video may take in all."""
    stall_limit_s: float = 300.0
    """Seconds without a new image after which decoding or solving counts as hanging."""
    max_pixels: int = MAX_PIXELS
    """Most pixels of one picture as coded; the decoder refuses larger ones before it takes memory for them."""

    def __post_init__(self) -> None:
        for name, unit in (("time_limit_s", "seconds"), ("stall_limit_s", "seconds"), ("max_pixels", "pixels")):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be positive ({unit}), got {getattr(self, name)}.")


class Attempts:
    """Markers of one job, under ``output/.attempts/run_id``. Other jobs' do not count: a killed job is no death."""

    def __init__(self, output: str, run_id: str) -> None:
        self.folder = storage.join(output, ATTEMPTS_FOLDER, run_id)
        self._deaths: dict[str, int] = {}
        self._verdicts: dict[str, str] = {}
        for name in storage.list_files(self.folder):
            key, _, kind = name.partition(".")
            if kind == _VERDICT:
                self._verdicts[key] = storage.read_bytes(storage.join(self.folder, name)).decode()
            elif not kind.endswith(storage.PARTIAL):
                self._deaths[key] = self._deaths.get(key, 0) + 1

    def suspects(self, video_id: str) -> bool:
        """Whether a worker process of this job died at this video before."""
        key = _key(video_id)
        return key in self._deaths or key in self._verdicts

    def given_up(self, video_id: str) -> str | None:
        """Why this video is not to be tried again, or None."""
        key = _key(video_id)
        if key in self._verdicts:
            return self._verdicts[key]
        if self._deaths.get(key, 0) >= MAX_ATTEMPTS:
            return f"crash: its worker process died {MAX_ATTEMPTS} times at this video"
        return None

    @contextmanager
    def attempt(self, video_id: str) -> Iterator[None]:
        """Leave a marker that stays if the process dies inside the block."""
        storage.make_folder(self.folder)
        marker = storage.join(self.folder, f"{_key(video_id)}.{uuid.uuid4().hex}")
        storage.write_bytes(marker, b"")
        try:
            yield
        finally:
            storage.delete_file(marker)

    def condemn(self, video_id: str, reason: str) -> None:
        """Remember, beyond the death of this process, that a video is given up."""
        storage.make_folder(self.folder)
        storage.write_bytes(storage.join(self.folder, f"{_key(video_id)}.{_VERDICT}"), reason.encode())


def _key(video_id: str) -> str:
    return hashlib.sha256(video_id.encode()).hexdigest()[:24]


def sweep(output: str) -> None:
    """Remove what earlier jobs left in ``output``: half-written files and markers."""
    storage.sweep_partials(output)
    storage.delete_folder(storage.join(output, ATTEMPTS_FOLDER))


def sweep_after_stopping(output: str) -> None:
    """Remove what a job that failed leaves in ``output``: its workers, told to stop, may write for a moment yet."""
    give_up, quiet = time.monotonic() + _STOPS_S, 0
    while quiet < _QUIET_LOOKS and time.monotonic() < give_up:
        left = storage.exists(storage.join(output, ATTEMPTS_FOLDER))
        left |= any(name.endswith(storage.PARTIAL) for name in storage.list_files(output))
        if left:
            sweep(output)
        quiet = 0 if left else quiet + 1
        time.sleep(_LOOK_S)


@contextmanager
def swept(outputs: Sequence[str]) -> Iterator[None]:
    """Remove what the block leaves in folders, however it ends. Nothing that fails here is raised.

    A store that is away would take a minute for each question: the next job sweeps it.
    """
    try:
        yield
    except BaseException as error:
        _sweep_all((one for one in outputs if storage.is_local(one) or not isinstance(error, StoreAwayError)), True)
        raise
    _sweep_all(outputs, False)


def _sweep_all(outputs: Iterable[str], stopping: bool) -> None:
    for output in outputs:
        with suppress(OSError):  # a store that fails here has failed before, and said why
            sweep_after_stopping(output) if stopping else sweep(output)


class TimeIsUp(Exception):  # noqa: N818 - not an error of the program
    """A video has had the time that it may take."""


class Watchdog:
    """Ends the process when a video hangs inside a decoder or solver, where no Python code can interrupt it.

    Slow but living work is ended from inside by :meth:`beat`, which raises; only a hang, or a single image that takes
    longer than the stall limit, costs the process. Time in which the process was suspended does not count.
    """

    def __init__(self, limits: Limits, on_hang: Callable[[str], None]) -> None:
        self._limits, self._on_hang = limits, on_hang
        self._start = self._last = time.monotonic()
        self._done = threading.Event()

    def __enter__(self) -> "Watchdog":
        self._start = self._last = time.monotonic()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()

    def beat(self) -> None:
        """Tell the watchdog that the video has given another image.

        Raises:
            TimeIsUp: If the video has had its time.
        """
        self._last = time.monotonic()
        if self._last - self._start > self._limits.time_limit_s:
            raise TimeIsUp(self._too_long())

    def _watch(self) -> None:
        step = min(1.0, self._limits.stall_limit_s / 4, self._limits.time_limit_s / 4)
        looked = self._start
        while not self._done.wait(step):
            now = time.monotonic()
            if (suspended_s := now - looked - step) > _SUSPENDED_S:
                self._start, self._last = self._start + suspended_s, self._last + suspended_s
            looked = now
            if now - self._last > self._limits.stall_limit_s:
                return self._on_hang(f"time: no image came for {self._limits.stall_limit_s:g} s (stall_limit_s)")
            if now - self._start > self._limits.time_limit_s + _GRACE_S:
                return self._on_hang(self._too_long())
        return None

    def _too_long(self) -> str:
        return f"time: not done after {self._limits.time_limit_s:g} s (time_limit_s)"


def die_of(attempts: Attempts, video_id: str) -> Callable[[str], None]:
    """Make the reaction to a hang: write the verdict down and end this process; the cluster starts the task again."""

    def end(reason: str) -> None:
        attempts.condemn(video_id, reason)
        os._exit(70)

    return end
