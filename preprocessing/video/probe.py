"""What a video file says about itself, asked in processes that may hang or die without harm to anyone else.

Each worker process has one video at a time, so whatever happens to the process is that video's doing.
"""

import importlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

import av

from kinebert.preprocessing.extraction.guard import MAX_PIXELS
from kinebert.preprocessing.fingerprints import file_fingerprint
from kinebert.preprocessing.machine import available_cores
from kinebert.preprocessing.storage import file_size, is_local
from kinebert.preprocessing.stores.answers import StoreAwayError
from kinebert.preprocessing.stores.limits import SECONDS
from kinebert.preprocessing.video.container import check_size, in_words, open_video

_START = "from kinebert.preprocessing.video.probe import serve; serve()"
_START_S = 120
"""Longest that a worker process may take to import this module, in seconds."""
_ATTEMPTS = 2
"""A process may also die of something else, such as the node's lack of memory; dying twice is the video's doing."""
_PATIENCE_S, _AWAY = 3.0 * SECONDS, "away"
"""For a video's size, beginning and end, should a store be slow each time; what a worker says if one is away."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the container and the first decoded frame say; the units are those of ``schema.MANIFEST``."""

    width: int = 0
    height: int = 0
    fps: float = 0.0
    duration_s: float = 0.0
    codec: str = ""
    rotation: int = 0
    pixel_aspect: float = 1.0
    bytes: int = 0
    fingerprint: str | None = None
    """Of a local file, see :func:`.file_fingerprint`; a store would be asked twice more for every video."""
    problem: str | None = None
    num_streams: int = 1
    """Video streams that there were to choose from."""


def probe_video(path: str, video_stream: int | None = None, max_pixels: int = MAX_PIXELS) -> Facts:
    """Read the facts of one video and decode its first frame. Whatever is wrong becomes ``problem``.

    Args:
        path: Absolute local path or URI.
        video_stream: Which of several video streams, see :func:`.open_video`.
        max_pixels: Most pixels of its pictures.

    Raises:
        StoreAwayError: If the store that it lies in is out of reach.
    """
    try:
        if is_local(path) and os.path.isdir(path):
            return Facts(problem="a folder, not a file")
        size = file_size(path)
    except FileNotFoundError:
        return Facts(problem="missing file")
    except StoreAwayError:
        raise
    except Exception as error:
        return Facts(problem=in_words(error))
    if size == 0:
        return Facts(problem="0 bytes")
    try:
        facts = _decode_first(path, video_stream, max_pixels)
        return replace(facts, bytes=size, fingerprint=file_fingerprint(path) if is_local(path) else None)
    except StoreAwayError:
        raise
    except Exception as error:  # whatever a decoder says of a damaged file is data, not a bug
        return Facts(bytes=size, problem=in_words(error))


def _decode_first(path: str, video_stream: int | None, max_pixels: int) -> Facts:
    with open_video(path, video_stream, max_pixels) as video:
        container, stream = video.container, video.stream
        if stream.duration is not None and stream.time_base is not None:
            duration_s = float(stream.duration * stream.time_base)
        else:
            duration_s = (container.duration or 0) / av.time_base
        frame = next(container.decode(stream), None)
        if frame is None:
            return Facts(problem="no frame decodes")
        check_size(frame.width, frame.height, max_pixels)
        return Facts(
            width=frame.width,
            height=frame.height,
            fps=float(stream.average_rate or stream.guessed_rate or 0),
            duration_s=max(duration_s, 0.0),
            codec=stream.codec_context.name,
            rotation=int(frame.rotation),
            pixel_aspect=float(stream.sample_aspect_ratio or 1),
            num_streams=video.num_streams,
        )


def probe_videos(
    paths: Sequence[str],
    *,
    num_workers: int | None = None,
    timeout_s: float = 60.0,
    on_progress: Callable[[int, int], None] | None = None,
    function: str = "kinebert.preprocessing.video.probe:probe_video",
    **options: int | None,
) -> list[Facts]:
    """Probe every video once and return the facts in the order of ``paths``.

    Args:
        paths: Absolute local paths or URIs.
        num_workers: Processes at work; by default one per core that this process may use.
        timeout_s: Longest that one video may take, in seconds.
        on_progress: Called as ``(done, total)`` in this thread, at least every half second.
        function: ``module:name`` of the function that is given each path in a worker process.
        **options: What it is given besides, such as ``video_stream`` and ``max_pixels``.

    Raises:
        StoreAwayError: If the store that one lies in is out of reach.
    """
    total = len(paths)
    facts: list[Facts | None] = [None] * total
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for i in range(total):
        todo.put(i)
    finished: queue.SimpleQueue[tuple[int, Facts] | Exception] = queue.SimpleQueue()
    workers = [_ProbeProcess(function, timeout_s, options) for _ in range(min(num_workers or available_cores(), total))]

    def work(worker: _ProbeProcess) -> None:
        try:
            while True:
                i = todo.get_nowait()
                finished.put((i, worker.probe(paths[i])))
        except queue.Empty:
            return
        except Exception as error:
            finished.put(error)

    threads = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in workers]
    try:
        for thread in threads:
            thread.start()
        done = 0
        while done < total:
            try:
                item = finished.get(timeout=0.5)
            except queue.Empty:
                pass
            else:
                if isinstance(item, Exception):
                    raise item
                facts[item[0]] = item[1]
                done += 1
            if on_progress is not None:
                on_progress(done, total)
    finally:
        for worker in workers:
            worker.stop()
        for thread, worker in zip(threads, workers, strict=True):
            if thread.ident is not None:
                thread.join()
            worker.end()
    return [fact for fact in facts if fact is not None]


class _ProbeProcess:
    """One process that probes videos one after another, and a fresh one whenever it hangs or dies."""

    def __init__(self, function: str, timeout_s: float, options: Mapping[str, int | None]) -> None:
        self.function, self.timeout_s, self.options = function, timeout_s, json.dumps(options)
        self.process: subprocess.Popen[str] | None = None
        self.stopped = False
        self.lock = threading.Lock()

    def probe(self, path: str) -> Facts:
        """Probe one video; a hang or a death of the process is its problem. A store has more time to answer."""
        ended, patience_s = "", 0.0 if is_local(path) else _PATIENCE_S
        for _ in range(_ATTEMPTS):
            process = self._started()
            try:
                answer = _ask(process, json.dumps(path), self.timeout_s + patience_s)
            except TimeoutError:
                self.end()
                return Facts(problem=f"the decoder did not answer within {self.timeout_s:g} s")
            except (EOFError, OSError):
                ended = self.end(grace_s=5)
                continue
            found = json.loads(answer)
            if _AWAY in found:
                raise StoreAwayError(found[_AWAY])
            return Facts(**found)
        return Facts(problem=f"the decoder's process {ended}")

    def stop(self) -> None:
        """Kill the process, whatever it is doing, and start no other. May be called from another thread."""
        with self.lock:
            self.stopped = True
            if self.process is not None:
                self.process.kill()

    def end(self, grace_s: float = 0.0) -> str:
        """Wait ``grace_s`` seconds for the process to end, kill it then, and say how it ended."""
        with self.lock:
            process, self.process = self.process, None
        if process is None:
            return "was not there"
        try:
            code = process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):  # a question that was not read goes with its reader
                if pipe is not None:
                    pipe.close()
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"

    def _started(self) -> "subprocess.Popen[str]":
        with self.lock:
            if self.stopped:
                raise RuntimeError("the probing was stopped")
            if self.process is not None:
                return self.process
            # nothing of the program that asked is imported again, only this module and the decoder
            found = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
            process = self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, self.function, str(self.timeout_s), self.options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": found},
                text=True,
            )
        try:
            _ask(process, None, _START_S)
        except (EOFError, TimeoutError):
            raise RuntimeError(f"a process that probes videos {self.end(grace_s=5)} before it was ready") from None
        return process


def _ask(process: "subprocess.Popen[str]", line: str | None, timeout_s: float) -> str:
    """Send one line, if there is one, and return the line that comes back."""
    assert process.stdin is not None
    assert process.stdout is not None
    if line is not None:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    if not select.select([process.stdout], [], [], timeout_s)[0]:
        raise TimeoutError
    answer = process.stdout.readline()
    if not answer.endswith("\n"):
        raise EOFError
    return answer


def serve() -> None:
    """Be a worker process: a path per line on standard input, its facts as a line on standard output."""
    module, _, name = sys.argv[1].partition(":")
    limit_s = int(float(sys.argv[2])) + 30
    options = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    function = getattr(importlib.import_module(module), name)
    answers = os.fdopen(os.dup(1), "w")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # a library that prints must not garble the answers
    print("ready", file=answers, flush=True)
    os.dup2(silence, 2)  # decoders complain there; what matters is in the answer
    for line in sys.stdin:
        path = json.loads(line)
        signal.alarm(
            limit_s if is_local(path) else limit_s + int(_PATIENCE_S)
        )  # ends a hanging decoder even if the program that asked is gone
        try:
            answer = asdict(function(path, **options))
        except StoreAwayError as error:
            answer = {_AWAY: str(error)}
        signal.alarm(0)
        print(json.dumps(answer), file=answers, flush=True)
