"""What a simulated feed is made of, and what comes of it, as numbers. Seconds and bytes."""

import math
from dataclasses import dataclass

ENOUGH = 0.9
"""Share of the time from which on a resource that works is what holds up all others."""


@dataclass(frozen=True, kw_only=True)
class Store:
    """Where shards lie."""

    latency_s: float = 0.0
    """From a request to its first byte."""
    spread: float = 0.0
    """Of the latency: standard deviation of its logarithm."""
    stream_bytes_per_s: float = math.inf
    """Of one request."""
    node_bytes_per_s: float = math.inf
    """Of all requests of a node: its link, or its disk."""
    all_bytes_per_s: float = math.inf
    """Of all nodes: what the server gives."""
    all_requests_per_s: float = math.inf
    """Of all nodes."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a clip and a step take."""

    gpu_clips_per_s: float
    """Clips per second that one GPU trains on when it never waits."""
    cpu_s: float
    """Seconds of one core for a clip: decoded, cropped, put into its batch."""
    clip_bytes: float
    """Fetched for a clip."""
    hits: float = 0.0
    """Share of the clips that the cache has."""
    block_bytes: float = 0.0
    """That each loader process fetches at a time beside its clips, one block after the other, to fill the cache."""
    block_cpu_s: float = 0.0
    """Seconds of one core for a block: its digest."""
    exchange_s: float = 0.0
    """At the end of a step, while nothing else happens: gradients that were not exchanged during the backward pass."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """Machines and what runs on them."""

    nodes: int = 1
    gpus: int = 1
    """Of a node; each has a process of the training."""
    loaders: int = 1
    """Loader processes of each GPU."""
    cores: int = 64
    """Of a node that loaders share."""
    micro_batch: int = 8
    micro_batches: int = 1
    """That a GPU takes in a step."""
    prefetch: int = 2
    """Batches that a loader process makes ahead."""
    threads: int = 8
    """Requests that a loader process has under way at most."""
    batches_ahead: int = 1
    """Batches after the present one whose clips a loader asks the store for already."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of it, the beginning left out."""

    clips_per_s: float
    """Of one GPU."""
    waiting: float
    """Share of the time in which a GPU had no batch, or waited for one that had none."""
    busy: dict[str, float]
    """Share of the time in which each resource worked."""
    filled_bytes_per_s: float
    """By which the cache of a node grows."""

    @property
    def bottleneck(self) -> str:
        """Name of the resource that is busy nearly always.

        Gradients, where GPUs compute and exchange them nearly always; latency, where none is.
        """
        name, share = max(self.busy.items(), key=lambda one: one[1])
        if share >= ENOUGH:
            return name
        return "gradients" if self.busy["GPU"] + self.busy["gradients"] >= ENOUGH else "latency"
