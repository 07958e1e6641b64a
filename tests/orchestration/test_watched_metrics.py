"""Numbers for whoever watches from outside: counted once, told to Ray alone, and never an error."""

import re
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kinebert.orchestration import watched_metrics as watched
from kinebert.orchestration.progress import ProgressLine, VideoProgress
from kinebert.orchestration.watched_metrics import LABEL, WATCHED, Exporter
from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.sets.writer import VideoSummary
from tests.helpers.listening import Sums
from tests.helpers.paths import ROOT

CLUSTERS = (ROOT / "docs" / "clusters.md").read_text()


def row(i: int) -> ManifestRow:
    return ManifestRow(video_id=f"v{i}", path=f"/v{i}.mp4", label=0, label_name="a", group=f"v{i}", duration_s=1.0)


def rows(number: int) -> list[ManifestRow]:
    return [row(i) for i in range(number)]


@pytest.mark.parametrize("with_flow", [False, True])
def test_videos_count_once_and_kept_ones_not_at_all(with_flow: bool) -> None:
    sums = Sums("/data/set")
    progress = VideoProgress(rows(5), {"v0"}, ProgressLine(), sums, with_flow)
    done = [VideoSummary(video_id=f"v{i}", num_frames=10) for i in range(4)]
    progress.shards_left(2)
    progress.hear(done[:2])
    progress.hear(done)  # a task that starts again reports again
    progress.close([*done, *done, VideoSummary(video_id="v4", rejected=True)])
    progress.shards_left(0)
    assert sums.values == {
        watched.VIDEOS: 4,
        watched.REJECTED: 1,
        watched.FRAMES: 30,
        watched.PAIRS: 27 if with_flow else 0,
        watched.SHARDS_LEFT: 0,
    }


def test_without_ray_nothing_is_imported_and_nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    Exporter("/data/set")({watched.VIDEOS: 1})
    assert "ray" not in sys.modules


def test_what_ray_says_against_a_number_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def broken() -> bool:
        asked.append(1)
        return True

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=broken))
    monkeypatch.setitem(sys.modules, "ray.util", None)
    Exporter("/data/set")({watched.LOSS: float("nan")})
    assert asked == [1]


def test_a_number_that_stands_still_is_told_as_long_as_the_job_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, float]] = []

    class Metric:
        def __init__(self, name: str, *_: object, **__: object) -> None:
            self._name = name

        def set(self, value: float, tags: Mapping[str, str]) -> None:
            assert tags == {LABEL: "/data/set"}
            told.append((self._name, value))

        inc = set

    metrics = SimpleNamespace(Counter=Metric, Gauge=Metric)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: True))
    monkeypatch.setitem(sys.modules, "ray.util", SimpleNamespace(metrics=metrics))
    with Exporter("/data/set", again_s=0.01) as export:
        export({watched.SHARDS_LEFT: 7, watched.VIDEOS: 3, watched.REJECTED: 0})
        while told.count(("kinebert_shards_left", 7.0)) < 3:
            time.sleep(0.01)
    number = len(told)
    assert told.count(("kinebert_videos", 3.0)) == 1
    assert {name for name, _ in told} == {"kinebert_shards_left", "kinebert_videos"}
    time.sleep(0.05)
    assert len(told) == number


def test_every_number_is_on_the_page_and_no_other() -> None:
    assert {*re.findall(r"`(ray_kinebert_\w+)`", CLUSTERS)} == {metric.exported for metric in WATCHED}
    assert len({metric.name for metric in WATCHED}) == len(WATCHED)


def exported(port: int) -> dict[str, tuple[dict[str, str], float]]:
    """Our series of a node, by name: labels and value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.findall(r"^(ray_kinebert_\w+)\{(.*)\} (\S+)$", text, re.MULTILINE)
    return {name: (dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)) for name, labels, value in found}


@pytest.mark.slow  # Ray sends its numbers every ten seconds
@pytest.mark.usefixtures("ray_cluster")
def test_ray_exports_them_under_these_names(tmp_path: Path) -> None:
    nodes: Any = sys.modules["ray"].nodes
    port, until = nodes()[0]["MetricsExportPort"], time.monotonic() + 60
    with Exporter(str(tmp_path)) as export:
        export(dict.fromkeys(WATCHED, 2.0))
        export(dict.fromkeys(WATCHED, 3.0))
        for pause_s in (0, 35):  # longer than Ray remembers
            time.sleep(pause_s)
            while (series := exported(port)).keys() != {metric.exported for metric in WATCHED}:
                assert time.monotonic() < until + pause_s, series
                time.sleep(1)
    for metric in WATCHED:
        labels, value = series[metric.exported]
        assert labels[LABEL] == str(tmp_path)
        assert value == (5.0 if metric.counts else 3.0)
