"""How fast nodes of GPUs are fed: a simulation, held against real loaders, and the tables of docs/scale.md.

python -m tests.benchmarks.simulate_feed [TABLE ...] [--gpus N] [--cores N] [--nodes N ...]

Tables: needs, ways, sets, extraction, training, exchange, feed, and measured, which is printed only if it is named: it
makes a set, loads clips from it with one and two loader processes, from the disk and from a store of this machine that
takes 30 ms or 2 s for a request, and puts what the simulation says beside it. Other programs may run meanwhile: how
much of a core each process got is asked of the system, and is an input of the simulation. What is behind the tables
stands in tests/helpers/scale.py.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.data.loader import limit_threads
from kinebert.training.recipe.train import DataRecipe
from tests.helpers import scale
from tests.helpers.delivered import MICRO_BATCH, cpu_s, delivered, filmed, make_frames
from tests.helpers.feed_model import simulate
from tests.helpers.feed_parts import Site, Store, Work
from tests.helpers.measuring import processor
from tests.helpers.object_store import KEYS, object_store
from tests.helpers.scale import DATA, FLOW_PAIRS_PER_S, NETWORKS, STORED, Network, Nodes, markdown

LATENCIES = {"disk": 0.0, "S3, 30 ms": 0.03, "S3, 2 s": 2.0}
"""Of requests to a store of this machine: the last one, so that they are what holds up on a busy machine, too."""
CASES = (("disk", "no"), ("NFS", "no"), ("NFS", "filled"), ("S3", "no"), ("S3", "filled"))
CACHES = {"no": "none", "filled": "is being filled"}
ON_DISK = "none, or full"
MEASURED = (
    "clip",
    "request",
    "loaders",
    "of a core",
    "ms a clip",
    "simulated, clips/s",
    "measured, clips/s",
    "difference",
)
HOUR = 3600


def needs(nodes: Nodes) -> str:
    """What a GPU and a node of GPUs take, so that they never wait."""
    head = ["network", "clips/s of a GPU", "ms of a core a clip", "cores of a GPU", "MB a clip", "GB/s of a node"]
    rows = []
    for net in NETWORKS:
        low, high = net.clips_per_s(net.low), net.clips_per_s(net.high)
        much = scale.clip_bytes(net)
        row = [
            net.name,
            f"{low:.0f} to {high:.0f}",
            f"{net.cpu_ms:g}",
            scale.cores(high, net.cpu_ms),
            f"{much / 1e6:.1f}",
        ]
        rows.append([*row, f"{nodes.gpus * high * much / 1e9:.1f}", f"{scale.shared_memory(net, nodes) / 1e9:.0f}"])
    return markdown([*head, "/dev/shm of a node, GB"], rows)


def ways(_: Nodes) -> str:
    """What it takes to feed a GPU by how frames are stored and read."""
    fast = {size: max(n.clips_per_s(n.high) for n in NETWORKS if n.size == size) for size in (112, 224)}
    head = ["stored as, read how", *(f"cores of a GPU, {size} px, {rate:.0f} clips/s" for size, rate in fast.items())]
    rows = []
    for way in scale.WAYS:
        cores = [scale.cores(fast[size], ms) if ms else "" for size, ms in ((112, way.ms_112), (224, way.ms_224))]
        rows.append([way.name, *cores, f"{8 * fast[112] * scale.clip_bytes(NETWORKS[0], way) / 1e9:.1f}"])
    return markdown([*head, "GB/s of a node, 112 px"], rows)


def sets(_: Nodes) -> str:
    """What sets take on disks."""
    head = ["stored", "kB a frame", *(f"{data.name}, GB" for data in DATA)]
    return markdown(
        head,
        [
            [
                one.name,
                f"{one.frame_bytes / 1e3:.1f}",
                *(f"{d.videos * d.frames * one.frame_bytes / 1e9:,.0f}" for d in DATA),
            ]
            for one in STORED
        ],
    )


def extraction(nodes: Nodes) -> str:
    """How long frames and flow take on a node."""
    head = ["data", "sources", "frames", "core hours", "on a node, minutes", "flow on its cores", "flow on its GPUs"]
    rows = []
    for data in DATA:
        count = data.videos * data.frames
        for source, decode_ms in data.decode_ms.items():
            frame_s, flow_s = (decode_ms + scale.FRAME_MS) / 1e3, (decode_ms + scale.FLOW_CORE_MS) / 1e3
            on_cores = [count * each / 60 / nodes.cores for each in (frame_s, flow_s)]
            side = count * (decode_ms + scale.FLOW_SIDE_MS) / 1e3 / 60 / nodes.cores
            fast, slow = (max(side, count / rate / nodes.gpus / 60) for rate in FLOW_PAIRS_PER_S[::-1])
            row = [data.name, source, f"{count / 1e6:.1f} M", f"{count * frame_s / HOUR:.1f}"]
            rows.append([*row, *(f"{minutes:.1f}" for minutes in on_cores), f"{fast:.1f} to {slow:.1f}"])
    return markdown(head, rows, words=2)


def training(nodes: Nodes) -> str:
    """How long networks train, if they never wait."""
    head = ["data", "network", "epochs", f"epoch on {nodes.gpus} GPUs, s", "all, hours"]
    head += [f"epoch on {4 * nodes.gpus} GPUs, s", "all, hours"]
    rows = []
    for data in DATA:
        for net in NETWORKS:
            row = [data.name, net.name, data.epochs]
            for gpus in (nodes.gpus, 4 * nodes.gpus):
                short, long = (scale.epoch_s(net, data, gpus, share) for share in (net.high, net.low))
                row.append(f"{short:.1f} to {long:.1f}")
                row.append(f"{data.epochs * short / HOUR:.2f} to {data.epochs * long / HOUR:.2f}")
            rows.append(row)
    return markdown(head, rows, words=2)


def exchange(nodes: Nodes) -> str:
    """What nodes send each other in a step."""
    head = ["network", "MB a step, sent and received by a node", "ms it takes", "ms of backward that hide it"]
    several = replace(nodes, nodes=4)
    rows = []
    for net in NETWORKS:
        much, backward_s = scale.exchanged_bytes(net, several), scale.backward_s(net)
        took = much / several.exchange_bytes_per_s
        row = [net.name, f"{much / 1e6:.0f}", f"{1e3 * took:.0f}", f"{1e3 * backward_s:.0f}"]
        rows.append([*row, f"{1e3 * scale.exchange_s(net, several):.0f}"])
    return markdown([*head, "ms that are left"], rows)


def feed_row(net: Network, store: str, cache: str, several: list[Nodes]) -> list[str]:
    """One line of the table of the feed."""
    row = [net.name, store, ON_DISK if store == "disk" else CACHES[cache]]
    for nodes in several:
        found = scale.feed(net, store, nodes, cache)
        full = f"{scale.full_s(DATA[-1], found) / 60:.0f}" if cache == "filled" else ""
        row += [f"{found.clips_per_s:.0f}", f"{found.waiting:.0%}", found.bottleneck, full]
    return row


def feed_head(several: list[Nodes]) -> list[str]:
    """What stands above it."""
    head = ["network", "shards on", "cache"]
    for nodes in several:
        head += [f"{nodes.nodes} x {nodes.gpus} GPUs: clips/s of each", "waiting", "held up by", "full after, minutes"]
    return head


def feed(several: list[Nodes]) -> str:
    """What the simulation says of every network, store and cache."""
    rows = [feed_row(net, store, cache, several) for net in NETWORKS for store, cache in CASES]
    return markdown(feed_head(several), rows, words=3)


def measured(_: Nodes, num_clips: int = 32, videos: int = 32) -> str:
    """What loaders deliver here, and what the simulation says of the same."""
    limit_threads(1)
    return markdown(
        MEASURED,
        list(_measured_rows(num_clips, videos)),
        words=2,
    )


def _measured_rows(num_clips: int, videos: int) -> Iterator[list[str]]:
    os.environ.update(KEYS)
    with tempfile.TemporaryDirectory(prefix="kb-bench-") as name:
        folder = Path(name)
        make_frames(folder / "set", filmed(folder / "videos", videos), FrameRecipe())
        for about, latency_s in LATENCIES.items():
            with object_store(folder, latency_s) as (query, _):
                shards = ShardSet.open(f"s3://bucket/set?{query}" if latency_s else str(folder / "set"))
                recipe = DataRecipe(shards=shards.uri, clip_length=64, crop_size=112, split=shards.splits()[0])
                if latency_s < 1:
                    cost_s = cpu_s(shards, recipe, num_clips)
                for loaders in (1, 2):
                    real = delivered(shards, recipe, loaders, num_clips)
                    work = Work(gpu_clips_per_s=1e9, cpu_s=cost_s / real.core_share, clip_bytes=1.0)
                    site = Site(loaders=loaders, micro_batch=MICRO_BATCH, cores=loaders)
                    model = simulate(work, Store(latency_s=latency_s), site).clips_per_s
                    row = ["64 frames, 112 px", about, str(loaders), f"{real.core_share:.2f}", f"{1e3 * cost_s:.1f}"]
                    row = [*row, f"{model:.1f}", f"{real.clips_per_s:.1f}", f"{model / real.clips_per_s - 1:+.0%}"]
                    print(*row, flush=True)  # the last ones take a while
                    yield row


TABLES: dict[str, Callable[[Nodes], str]] = {
    "needs": needs,
    "ways": ways,
    "sets": sets,
    "extraction": extraction,
    "training": training,
    "exchange": exchange,
    "measured": measured,
}


def main() -> int:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"of {', '.join([*TABLES, 'feed'])}")
    parser.add_argument("--gpus", type=int, default=Nodes.gpus, help="of a node")
    parser.add_argument("--cores", type=int, default=Nodes.cores, help="of a node")
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 4], help="how many, of the table of the feed")
    chosen = parser.parse_args()
    nodes = Nodes(gpus=chosen.gpus, cores=chosen.cores)
    tables = {**TABLES, "feed": lambda one: feed([replace(one, nodes=count) for count in chosen.nodes])}
    names = chosen.tables or [name for name in tables if name != "measured"]
    if unknown := set(names) - tables.keys():
        parser.error(f"no table {', '.join(sorted(unknown))}")
    print(f"{processor()}; programs running beside this one: {os.getloadavg()[0]:.1f}")
    for name in names:
        print(f"\n{name}\n\n{tables[name](nodes)}", end="", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
