"""Networks that take their steps in a process of their own, when they are told to.

cuDNN keeps the algorithm that it took for a convolution as long as the process lives, whatever its switch says later:
so each position of ``torch.backends.cudnn.benchmark`` gets a process, and their steps are measured in turns.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor

from kinebert.training import numerics
from kinebert.training.models import Recognizer, build_recognizer
from kinebert.training.recipe.train import DataRecipe, TrainRecipe
from tests.benchmarks.models import forward_backward
from tests.gpu.cards import half_precision, synchronize
from tests.helpers.plain_networks import plain


@dataclass(frozen=True)
class Variant:
    """How a network is run."""

    benchmark: bool = False
    """Whether cuDNN measures its algorithms."""
    channels_last: bool = False
    compiled: bool = False
    is_plain: bool = False
    """Read plainly, as its paper writes it: what the others are compared with."""

    def words(self) -> list[str]:
        """Layout, cuDNN's algorithms, and who runs it."""
        layout = "channels last" if self.channels_last else "channels first"
        mode = "compiled" if self.compiled else "plain reading" if self.is_plain else "eager"
        return [layout, "measured" if self.benchmark else "guessed", mode]


@dataclass(frozen=True)
class Work:
    """A network, and the clips of a step."""

    arguments: dict[str, Any]
    """Of ``build_recognizer``."""
    batch: int


class Lane:
    """Networks in this process.

    Args:
        benchmark: Whether cuDNN measures its algorithms here.
        device: Where they run.
        compiler: Name of torch's compiler.
    """

    def __init__(self, benchmark: bool, device: torch.device, compiler: str) -> None:
        self._device, self._dtype = device, half_precision(device)
        torch.backends.cudnn.benchmark = benchmark
        if device.type == "cpu":
            torch.set_num_threads(1)
        numerics.COMPILER = compiler
        self._steps: dict[Variant, Callable[[], Tensor]] = {}

    def open(self, work: Work) -> None:
        """Forget the networks that were built, and go over to another one."""
        self._steps.clear()
        torch.compiler.reset()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        self._work = work

    def build(self, variant: Variant) -> float:
        """Build a network and take a first step; return seconds, those of compilers included."""
        began, work = time.perf_counter(), self._work
        torch.manual_seed(0)
        net = build_recognizer(**work.arguments)
        recipe = TrainRecipe(data=DataRecipe(shards="none"), channels_last=variant.channels_last)
        net = plain(net).to(self._device) if variant.is_plain else numerics.prepare(net, recipe, self._device, 1)
        if variant.compiled:
            numerics.compile_networks([net])
        frames, size = work.arguments["clip_length"], work.arguments["size"]
        clips_NCTHW = torch.randn(work.batch, 3, frames, size, size, device=self._device)
        self._steps[variant] = partial(self._step, net, clips_NCTHW)
        self.run(variant, 1)
        return time.perf_counter() - began

    def run(self, variant: Variant, steps: int) -> float:
        """Take some steps; return seconds of one."""
        synchronize(self._device)
        began = time.perf_counter()
        for _ in range(steps):
            self._steps[variant]()
        synchronize(self._device)
        return (time.perf_counter() - began) / steps

    def _step(self, net: Recognizer, clips_NCTHW: Tensor) -> Tensor:
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype is not torch.float32):
            return forward_backward(net, clips_NCTHW)


class LaneError(Exception):
    """What a lane could not do."""


class RemoteLane:
    """A lane in a process of its own. What it is asked is first sent and then, by another call, waited for."""

    def __init__(self, *arguments: Any) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, arguments), daemon=True)
        self._process.start()
        theirs.close()

    def send(self, name: str, *arguments: Any) -> None:
        """Ask for a method of :class:`Lane`."""
        self._pipe.send((name, arguments))

    def wait(self, seconds: float) -> Any:
        """Return what it gave.

        Raises:
            LaneError: If it failed, died, or took longer.
        """
        try:
            if not self._pipe.poll(max(0.0, seconds)):
                raise LaneError(f"not done within the {seconds:.0f} s that were left")
            ok, value = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise LaneError(f"its process ended ({error or type(error).__name__})") from None
        if not ok:
            raise LaneError(value)
        return value

    def ask(self, seconds: float, name: str, *arguments: Any) -> Any:
        """Send and wait."""
        self.send(name, *arguments)
        return self.wait(seconds)

    def close(self) -> None:
        """End the process: it goes by itself unless it is at work."""
        self._pipe.close()
        self._process.join(2)
        self._process.kill()
        self._process.join()


def _serve(pipe: Connection, arguments: tuple[Any, ...]) -> None:
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(max(1, len(os.sched_getaffinity(0)) // 2)))
    lane = Lane(*arguments)
    while True:
        try:
            name, given = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((True, getattr(lane, name)(*given)))
        except Exception as error:
            pipe.send((False, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"))
