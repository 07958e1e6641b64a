"""Numbers that a person watches while a job runs, told to Ray's metrics, where Prometheus reads them.

Every name is here; Ray puts ``ray_`` before it, and ``_total`` behind that of a counter. Each carries the label
``output``: the folder that the job works in.
"""

import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

LABEL = "output"
AGAIN_S = 5.0
"""Ray sends numbers every ten seconds, and forgets a value after twenty without news."""


@dataclass(frozen=True)
class WatchedMetric:
    """One number, and what it means."""

    name: str
    description: str
    counts: bool = False
    """Whether it only grows; else it is the last value."""

    @property
    def exported(self) -> str:
        """Its name in Prometheus."""
        return f"ray_{self.name}{'_total' * self.counts}"


VIDEOS = WatchedMetric("kinebert_videos", "Videos that this job is done with, rejected ones included", counts=True)
REJECTED = WatchedMetric("kinebert_videos_rejected", "Videos that this job had to leave out", counts=True)
FRAMES = WatchedMetric("kinebert_frames", "Frames that were decoded, of videos that are done", counts=True)
PAIRS = WatchedMetric("kinebert_pairs", "Pairs of frames whose optical flow is solved, of videos done", counts=True)
SHARDS_LEFT = WatchedMetric("kinebert_shards_left", "Shards of the set that are not finished")
STEPS = WatchedMetric("kinebert_steps", "Updates of the weights, those that were left out included", counts=True)
STEPS_LEFT = WatchedMetric("kinebert_steps_left", "Updates to the end of the training")
EPOCH = WatchedMetric("kinebert_epoch", "Epoch that is trained, from 1")
CLIPS_PER_S = WatchedMetric("kinebert_clips_per_s", "Training clips per second over all processes, in the last step")
DATA_WAIT = WatchedMetric("kinebert_data_wait", "Share of the last step that devices waited for clips, 0 to 1")
LOSS = WatchedMetric("kinebert_loss", "Mean loss over the clips of the last step")
RESTARTS = WatchedMetric("kinebert_restarts", "Times that workers were lost or hung and training went on", counts=True)

WATCHED = (
    *(VIDEOS, REJECTED, FRAMES, PAIRS, SHARDS_LEFT),
    *(STEPS, STEPS_LEFT, EPOCH, CLIPS_PER_S, DATA_WAIT, LOSS, RESTARTS),
)
"""All of them."""


class Exporter:
    """Tells the numbers of one job to Ray, where this process has joined a cluster; elsewhere it does nothing.

    As long as the ``with`` lasts, last values are told again and again, since Ray forgets them within half a minute:
    so a number that stands still is seen, and one of a job that is over is not. What is watched is worth less than the
    job: nothing that Ray may say of a number ends it.

    Args:
        output: Path or URI of the folder that the job works in.
        again_s: Seconds between two times that last values are told.
    """

    def __init__(self, output: str, again_s: float = AGAIN_S) -> None:
        self._tags, self._again_s = {LABEL: output}, again_s
        self._metrics: dict[str, Any] = {}
        self._last: dict[WatchedMetric, float] = {}
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="metrics", daemon=True)

    def __enter__(self) -> "Exporter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def __call__(self, values: Mapping[WatchedMetric, float]) -> None:
        """Tell values: what is to be added to what counts, and the others as they are now."""
        with self._lock:
            self._last.update({metric: value for metric, value in values.items() if not metric.counts})
            self._tell(values)

    def _repeat(self) -> None:
        while not self._over.wait(self._again_s):
            with self._lock:
                self._tell(self._last)

    def _tell(self, values: Mapping[WatchedMetric, float]) -> None:
        ray = sys.modules.get("ray")  # who has not imported it has joined no cluster
        with suppress(Exception):
            if ray is None or not ray.is_initialized():
                return
            for metric, value in values.items():
                self._tell_one(metric, float(value))

    def _tell_one(self, metric: WatchedMetric, value: float) -> None:
        from ray.util import metrics

        if metric.counts and value <= 0:
            return
        if metric.name not in self._metrics:
            kind = metrics.Counter if metric.counts else metrics.Gauge
            self._metrics[metric.name] = kind(metric.name, metric.description, tag_keys=(LABEL,))
        ours = self._metrics[metric.name]
        (ours.inc if metric.counts else ours.set)(value, tags=self._tags)
