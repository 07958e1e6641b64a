"""Arithmetic of docs/scale.md: what nodes of GPUs need, and how long data sets take to extract and to train on.

Every number is of one of four kinds, which docs/scale.md names: measured (on CPUs, see there), published, assumed, or
reckoned from those by the functions here. Nothing was measured on a GPU.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kinebert.preprocessing.schema import SEGMENT_LENGTH
from kinebert.training.data.shared_memory import MOST_LOADERS, bytes_needed
from tests.helpers.feed_model import simulate
from tests.helpers.feed_parts import Outcome, Site, Store, Work

PEAK = 989e12
"""Published: operations per second of an H100 in bf16, dense."""
MICRO_BATCH, EVAL_BATCH = 8, 8
"""Of the recipes of the BERT paper."""
BATCH_SIZE = 128
"""Of those recipes: 16 GPUs at most can share it. More take a larger one."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network of the BERT paper on RGB."""

    name: str
    case: str
    """Its name in tests/benchmarks/models.py."""
    gmac: float
    """Reckoned by ``kinebert describe``: thousand millions of multiply-adds of a clip, forward."""
    params: float
    """Millions."""
    frames: int
    size: int
    """Height and width of a clip."""
    low: float
    high: float
    """Assumed: share of the card's peak that training reaches."""
    cpu_ms: float
    """Measured: one core, for a clip from frames of 340x256, JPEG quality 95."""

    def clips_per_s(self, share: float) -> float:
        """Of one GPU, at a share of its peak: a multiply-add is two operations, and backward is twice forward."""
        return PEAK * share / (6e9 * self.gmac)

    @property
    def groups(self) -> float:
        """Row groups that a dense clip touches, on average over where it starts."""
        return (self.frames + SEGMENT_LENGTH - 1) / SEGMENT_LENGTH


@dataclass(frozen=True, kw_only=True)
class Stored:
    """How frames are stored."""

    name: str
    frame_bytes: float
    """Measured."""


@dataclass(frozen=True, kw_only=True)
class Way(Stored):
    """How frames are stored and read."""

    ms_112: float
    """Measured: one core of a busy machine, for a clip of 64 frames."""
    ms_224: float = 0.0
    """Measured in the same way, for clips of 224 px; 0 where pictures are too small."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """A data set."""

    name: str
    videos: int
    train: int
    val: int
    """Videos of the parts that are learnt from and validated on."""
    frames: float
    """Of a video, mean."""
    decode_ms: dict[str, float]
    """Measured: one core, of a frame, by what the sources are."""
    epochs: int


NETWORKS = (
    Network(
        name="ResNeXt-101", case="ResNeXt-101-BERT", gmac=38.07, params=47.4, frames=64, size=112, low=0.06, high=0.11,
        cpu_ms=29.0,
    ),
    Network(
        name="R(2+1)D-34", case="R(2+1)D-34-BERT", gmac=152.37, params=66.7, frames=32, size=112, low=0.13, high=0.19,
        cpu_ms=14.5,
    ),
    Network(
        name="I3D", case="I3D-BERT", gmac=111.54, params=16.4, frames=64, size=224, low=0.15, high=0.235, cpu_ms=43.0,
    ),
    Network(
        name="SlowFast-50", case="SlowFast-BERT", gmac=51.72, params=41.1, frames=64, size=224, low=0.1, high=0.125,
        cpu_ms=43.0,
    ),
)  # fmt: skip
JPEG95 = Stored(name="frames, 340x256, JPEG 95", frame_bytes=22_800)
STORED = (
    JPEG95,
    Stored(name="frames, 340x256, JPEG 85", frame_bytes=13_000),
    Stored(name="frames, 340x256, H.264", frame_bytes=2_100),
    Stored(name="flow, 340x256, JPEG 95", frame_bytes=9_600),
)
WAYS = (
    Way(name="340x256 JPEG", frame_bytes=21_800, ms_112=28.9, ms_224=43.2),
    Way(name='the same, `data.resize_on = "device"`', frame_bytes=21_800, ms_112=25.3, ms_224=24.5),
    Way(name="340x256 `--codec h264`, device", frame_bytes=2_500, ms_112=19.6, ms_224=18.4),
    Way(name="171x128 JPEG, device", frame_bytes=8_100, ms_112=9.3),
    Way(name="171x128 `--codec h264`, device", frame_bytes=1_000, ms_112=8.1),
)
DATA = (
    Data(
        name="UCF101", videos=13_320, train=9_537, val=3_783, frames=180, decode_ms={"320x240 XviD": 0.18}, epochs=200
    ),
    Data(
        name="Kinetics-400", videos=260_000, train=240_000, val=20_000, frames=300,
        decode_ms={"340x256 H.264": 0.6, "720p H.264": 4.6}, epochs=100,
    ),
)  # fmt: skip
FRAME_MS = 0.60
"""Measured: one core, to resize, encode and write a frame of 340x256."""
FLOW_CORE_MS = 26.4
"""Measured: one core, to make, encode and write a field of 340x256 by numba, preset classic, decoding aside."""
FLOW_SIDE_MS = 0.66
"""Measured: of that, what a core does beside solving, where a GPU solves."""
FLOW_PAIRS_PER_S = (1_000.0, 1_500.0)
"""Reckoned from the memory traffic of the kernels, never measured: pairs of 340x256 that an H100 solves a second."""

BLOCK = 2**23
"""Bytes that a loader process fetches at a time for the cache of its node."""
DIGEST_BYTES_PER_S = 1.5e9
"""Measured: one core, SHA-256."""

DISK = Store(node_bytes_per_s=6e9)
"""Assumed: disks of a node (NVMe), or its memory, which keeps what was read."""
NFS = Store(latency_s=0.002, stream_bytes_per_s=1e9, node_bytes_per_s=12.5e9, all_bytes_per_s=5e9)
"""Assumed: a server of 40 Gb/s for all nodes."""
S3 = Store(latency_s=0.03, spread=0.5, stream_bytes_per_s=80e6, node_bytes_per_s=12.5e9, all_requests_per_s=5_500.0)
"""Assumed, but for the requests a second of one prefix, which AWS publishes; a link of 100 Gb/s."""
STORES = {"disk": DISK, "NFS": NFS, "S3": S3}


@dataclass(frozen=True, kw_only=True)
class Nodes:
    """Machines of 8 GPUs, assumed; other numbers may be given."""

    nodes: int = 1
    gpus: int = 8
    cores: int = 112
    exchange_bytes_per_s: float = 12.5e9
    """Of a node, to the others: 100 Gb/s."""

    @property
    def loaders(self) -> int:
        """Loader processes of a GPU, as ``loader_workers = "auto"`` starts them."""
        return max(1, min(MOST_LOADERS, self.cores // self.gpus - 1))

    @property
    def batch_size(self) -> int:
        """Clips of a step: those of the recipes, or one micro-batch for every GPU."""
        return max(BATCH_SIZE, MICRO_BATCH * self.gpus * self.nodes)


def exchanged_bytes(network: Network, nodes: Nodes) -> float:
    """Return what a node sends to the others, and receives, in a step: 2 (n - 1) / n times the float32 gradients."""
    return 2 * (nodes.nodes - 1) / nodes.nodes * 4e6 * network.params


def backward_s(network: Network) -> float:
    """Return the seconds of a micro-batch's backward pass, two thirds of its time, at the highest speed."""
    return 2 / 3 * MICRO_BATCH / network.clips_per_s(network.high)


def exchange_s(network: Network, nodes: Nodes) -> float:
    """Return the seconds of a step in which nodes exchange gradients after the last micro-batch's backward pass."""
    return max(0.0, exchanged_bytes(network, nodes) / nodes.exchange_bytes_per_s - backward_s(network))


def clip_bytes(network: Network, stored: Stored = JPEG95) -> float:
    """Return the bytes that are fetched for a clip: whole row groups."""
    return network.groups * SEGMENT_LENGTH * stored.frame_bytes


def cores(clips_per_s: float, ms: float) -> int:
    """Return the cores that keep a GPU busy: for its loaders, and one for its own process."""
    return math.ceil(clips_per_s * ms / 1e3) + 1


def shared_memory(network: Network, nodes: Nodes) -> int:
    """Return the bytes of /dev/shm that a node needs."""
    clip = network.frames * network.size**2 * 3
    return bytes_needed(nodes.loaders, (MICRO_BATCH + EVAL_BATCH) * clip, nodes.gpus)


def feed(network: Network, store: str, nodes: Nodes, cache: str = "no") -> Outcome:
    """Simulate a training.

    Args:
        network: At its highest speed.
        store: A key of :data:`STORES`.
        nodes: The machines.
        cache: ``no``, or ``filled`` while it is filled; later clips come from the disk.
    """
    work = Work(
        gpu_clips_per_s=network.clips_per_s(network.high),
        cpu_s=network.cpu_ms / 1e3,
        clip_bytes=clip_bytes(network),
        exchange_s=exchange_s(network, nodes),
    )
    if store == "disk":
        work = replace(work, hits=1.0)
    if cache == "filled":
        work = replace(work, block_bytes=BLOCK, block_cpu_s=BLOCK / DIGEST_BYTES_PER_S)
    site = Site(
        gpus=nodes.gpus,
        loaders=nodes.loaders,
        cores=max(1, nodes.cores - nodes.gpus),
        micro_batch=MICRO_BATCH,
        micro_batches=nodes.batch_size // (MICRO_BATCH * nodes.gpus * nodes.nodes),
    )
    return simulate(work, shared(STORES[store], nodes.nodes), site, near=DISK)


def shared(store: Store, nodes: int) -> Store:
    """Return a node's part of what a store gives to all: nodes are alike, so that one of them is simulated."""
    all_bytes, all_requests = store.all_bytes_per_s / nodes, store.all_requests_per_s / nodes
    return replace(store, all_bytes_per_s=all_bytes, all_requests_per_s=all_requests)


def full_s(data: Data, found: Outcome) -> float:
    """Return the seconds in which a cache that grows so holds a set of JPEGs."""
    return data.videos * data.frames * JPEG95.frame_bytes / found.filled_bytes_per_s


def epoch_s(network: Network, data: Data, gpus: int, share: float) -> float:
    """Return the seconds of an epoch whose GPUs never wait: backward is two thirds of training a clip."""
    return (data.train + data.val / 3) / (gpus * network.clips_per_s(share))


def markdown(head: Sequence[str], rows: Iterable[Sequence[Any]], words: int = 1) -> str:
    """Return a table in Markdown; the first ``words`` columns are words, the others numbers."""
    marks = ["---"] * words + ["---:"] * (len(head) - words)
    return "".join(f"| {' | '.join(map(str, row))} |\n" for row in (head, marks, *rows))
