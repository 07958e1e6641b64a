"""The model of the feed: what can be reckoned by hand comes out, and what it calls the bottleneck is one."""

import math
from dataclasses import replace

import pytest

from kinebert.preprocessing.sets import shard_files
from kinebert.training.data import loader, shared_memory
from tests.helpers.feed_model import simulate
from tests.helpers.feed_parts import Site, Store, Work

DISK = Store()
WORK = Work(gpu_clips_per_s=1e6, cpu_s=0.03, clip_bytes=2e6)


def rate(work: Work, store: Store, site: Site) -> float:
    """Clips per second of one GPU."""
    return simulate(work, store, site).clips_per_s


@pytest.mark.parametrize(("loaders", "cores", "running"), [(1, 8, 1), (2, 8, 2), (5, 8, 5), (8, 3, 3)])
def test_loaders_deliver_what_their_cores_do(loaders: int, cores: int, running: int) -> None:
    found = simulate(WORK, DISK, Site(loaders=loaders, cores=cores))
    assert found.clips_per_s == pytest.approx(running / 0.03, rel=0.02)
    assert found.bottleneck == "CPU"


def test_a_gpu_that_is_fed_does_not_wait() -> None:
    found = simulate(replace(WORK, gpu_clips_per_s=60.0), DISK, Site(gpus=2, loaders=3, micro_batches=2))
    assert found.clips_per_s == pytest.approx(60, rel=0.01)
    assert found.waiting == pytest.approx(0, abs=0.01)
    assert found.bottleneck == "GPU"


def test_one_request_at_a_time_adds_to_the_work() -> None:
    """As a reader without threads: with six requests of 30 ms, 4 to 7 clips a second were measured; from disk 35."""
    alone = Site(micro_batch=1, prefetch=1, threads=1, batches_ahead=0)
    assert rate(replace(WORK, cpu_s=0.029), Store(latency_s=6 * 0.03), alone) == pytest.approx(1 / 0.209, rel=0.01)
    assert rate(replace(WORK, cpu_s=0.029), DISK, alone) == pytest.approx(34.5, rel=0.01)


def test_requests_ahead_hide_their_latency() -> None:
    """Eight at a time bring a clip every 30 / 8 ms; then the core holds up, or with a latency of a second the store."""
    assert rate(WORK, Store(latency_s=0.03), Site()) == pytest.approx(1 / 0.03, rel=0.02)
    slow = simulate(WORK, Store(latency_s=1.0), Site())
    assert slow.clips_per_s == pytest.approx(8, rel=0.1)
    assert slow.bottleneck == "latency"


@pytest.mark.parametrize(
    ("store", "name", "clips_per_s"),
    [
        (Store(latency_s=0.02, node_bytes_per_s=100e6), "link", 100 / 2 / 4),
        (Store(latency_s=0.02, all_bytes_per_s=100e6), "server", 100 / 2 / 8),
        (Store(latency_s=0.02, all_requests_per_s=80), "requests", 80 / 8),
        (Store(latency_s=0.02, stream_bytes_per_s=1e6), "latency", 4 * 8 / 2.02),
    ],
)
def test_what_is_shared_is_divided(store: Store, name: str, clips_per_s: float) -> None:
    """Two nodes of four GPUs, clips of 2 MB."""
    site = Site(nodes=2, gpus=4, loaders=4)
    found = simulate(WORK, store, site, rounds=3)
    assert found.clips_per_s == pytest.approx(clips_per_s, rel=0.05)
    assert found.bottleneck == name
    own = replace(store, all_bytes_per_s=store.all_bytes_per_s / 2, all_requests_per_s=store.all_requests_per_s / 2)
    assert rate(WORK, own, replace(site, nodes=1)) == pytest.approx(found.clips_per_s, rel=0.05)


@pytest.mark.parametrize("held", ["GPU", "CPU", "link", "requests"])
def test_more_of_the_bottleneck_helps_and_more_of_the_rest_does_not(held: str) -> None:
    fast = {"GPU": 300.0, "CPU": 300.0, "link": 300.0, "requests": 300.0, held: 100.0}
    site = Site(gpus=2, loaders=4)

    def found(much: dict[str, float]) -> float:
        work = Work(gpu_clips_per_s=much["GPU"], cpu_s=4 / much["CPU"], clip_bytes=1e6)
        store = Store(node_bytes_per_s=2e6 * much["link"], all_requests_per_s=2 * much["requests"])
        outcome = simulate(work, store, site)
        assert outcome.bottleneck == held
        return outcome.clips_per_s

    assert found(fast) == pytest.approx(100, rel=0.03)
    for name in fast:
        more = found({**fast, name: 1.5 * fast[name]})
        assert more == pytest.approx(150 if name == held else 100, rel=0.03)


def test_gradients_take_their_time_once_a_step() -> None:
    site = Site(gpus=2, loaders=2, micro_batches=4)
    found = simulate(Work(gpu_clips_per_s=80, cpu_s=1e-4, clip_bytes=1, exchange_s=0.1), DISK, site)
    assert found.clips_per_s == pytest.approx(32 / (4 * 0.1 + 0.1), rel=0.01)
    assert found.busy["gradients"] == pytest.approx(0.2, rel=0.01)
    assert found.bottleneck == "gradients"
    assert found.waiting == pytest.approx(0, abs=0.01)


def test_a_cache_spares_the_link() -> None:
    store, site = Store(node_bytes_per_s=20e6), Site(loaders=2)
    assert rate(WORK, store, site) == pytest.approx(10, rel=0.03)
    full = simulate(replace(WORK, hits=1.0), store, site)
    assert full.clips_per_s == pytest.approx(2 / 0.03, rel=0.02)
    assert full.busy["link"] == 0
    half = simulate(replace(WORK, hits=0.5), store, site, rounds=20)
    assert half.clips_per_s == pytest.approx(20, rel=0.2)
    near = Store(node_bytes_per_s=40e6)
    assert simulate(replace(WORK, hits=1.0), store, site, near=near).clips_per_s == pytest.approx(20, rel=0.03)


def test_filling_a_cache_takes_what_clips_leave_of_the_link_and_of_cores() -> None:
    """Alone, two processes fill it with a block of 8 MB in 0.5 s each."""
    site = Site(loaders=2)
    filling = replace(WORK, block_bytes=8e6)
    wide = simulate(filling, Store(latency_s=0.1, stream_bytes_per_s=20e6), site, rounds=5)
    assert wide.filled_bytes_per_s == pytest.approx(2 * 8e6 / 0.5, rel=0.1)
    narrow = Store(node_bytes_per_s=20e6)
    found = simulate(filling, narrow, site, rounds=5)
    assert found.clips_per_s * 2e6 + found.filled_bytes_per_s == pytest.approx(20e6, rel=0.1)
    assert found.clips_per_s < 0.9 * rate(WORK, narrow, site)
    hashed = simulate(replace(filling, block_cpu_s=0.1), wide_store := Store(latency_s=0.1), replace(site, cores=2))
    assert hashed.clips_per_s < 0.8 * rate(WORK, wide_store, replace(site, cores=2))


def test_latencies_are_drawn_from_a_seed() -> None:
    store, site = Store(latency_s=0.3, spread=1.0), Site(loaders=2)
    assert simulate(WORK, store, site, seed=1) == simulate(WORK, store, site, seed=1)
    assert simulate(WORK, store, site, seed=1) != simulate(WORK, store, site, seed=2)
    assert rate(WORK, store, site) < rate(WORK, replace(store, spread=0.0), site)


def test_it_reads_as_the_program_does() -> None:
    site = Site()
    assert site.threads == shard_files._THREADS
    assert site.prefetch == shared_memory.PREFETCH
    assert site.batches_ahead == math.ceil(loader._AHEAD / site.micro_batch)
