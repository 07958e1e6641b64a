"""`make gpu` where there is no GPU: every stage goes its way with tiny work, and what is cut off has told something."""

import json
import sys
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import torch

from tests.gpu import feed, flow, gpu_tests, networks, run
from tests.gpu.cards import peak_of
from tests.gpu.lanes import Lane, LaneError, Variant
from tests.gpu.stage import Stage
from tests.helpers.paths import ROOT

CPU = torch.device("cpu")
UNENDING = """
import sys, time
from pathlib import Path
Path(sys.argv[sys.argv.index("--json") + 1]).write_text('{"rows": [1]}')
print("half of it is done")
time.sleep(600)
"""


class LocalLane:
    """A lane without a process of its own, which may run out of memory."""

    def __init__(self, *arguments: Any) -> None:
        self._lane = Lane(*arguments)
        self._answer: Any = None

    def send(self, name: str, *arguments: Any) -> None:
        if name == "open" and arguments[0].batch > 1:
            raise LaneError("OutOfMemoryError: CUDA out of memory")
        self._answer = getattr(self._lane, name)(*arguments)

    def wait(self, seconds: float) -> Any:
        assert seconds > 0
        return self._answer

    def ask(self, seconds: float, name: str, *arguments: Any) -> Any:
        self.send(name, *arguments)
        return self.wait(seconds)

    def close(self) -> None: ...


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Networks are measured in this process; those that are given to the compiler, which would take a minute here."""
    given: list[Any] = []
    monkeypatch.setattr(networks, "RemoteLane", LocalLane)
    monkeypatch.setattr("kinebert.training.numerics.compile_networks", given.extend)
    monkeypatch.setattr("kinebert.training.numerics.COMPILER", "aot_eager")  # a lane sets these
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    return given


def test_networks(compiled: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(300, tmp_path / "networks.json", CPU)
    assert networks.main(stage) == 0
    told = json.loads((tmp_path / "networks.json").read_text())
    assert told["left_out"] == []
    assert len(compiled) == 4  # two layouts, two ways of cuDNN
    variants = [Variant(**row["variant"]) for row in told["rows"]]
    assert len(set(variants)) == len(variants) == 9  # the plain reading, and two to the power of three settings
    assert {row["batch"] for row in told["rows"]} == {1}  # two clips were too many
    for row in told["rows"]:
        assert row["clips_per_s"] == pytest.approx(1e3 * row["batch"] / row["ms"])
    assert told["rows"][0]["times_plain"] == 1.0
    assert "channels last  measured  compiled" in capsys.readouterr().out


def test_networks_for_which_no_time_is_left_are_named(compiled: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(networks.COMPILE_S - 1, None, CPU)
    networks.main(stage, [networks.TINY])
    assert "not measured: ResNet-18, tiny: channels" in capsys.readouterr().out
    assert len(stage.results["left_out"]) == 2
    assert len(stage.results["rows"]) == 5
    assert compiled == []


def test_flow() -> None:
    found = flow._solve(True, 0.0, Barrier(1))
    assert not isinstance(found, str), found
    pairs, began, ended = found
    assert pairs == 3
    assert 0 < ended - began < 100
    frames_THW = flow.pictures(8, 40, 48)
    steps = abs(frames_THW[1:].astype(int) - frames_THW[:-1]).mean((1, 2))
    assert steps.argmax() == 3  # the scene changes in the middle, and moves before and after
    assert 0 < 2 * steps[:3].max() < steps[3]


def test_feed(tmp_path: Path) -> None:
    shards = feed.write_set(tmp_path / "set", 4, 40, (64, 48))
    clip_THWC = shards.read_clip(shards.videos[0], [0, 33, 39])
    assert clip_THWC.shape == (3, 48, 64, 3)
    found = feed.measure(feed.Clips(4, 16, "device"), shards, 0, Stage(60, None, CPU))
    assert found["clips_per_s"] > 0
    assert found["total_ms"] == pytest.approx(sum(found["clip_ms"].values()))


def test_marked_tests_are_found() -> None:
    marked = gpu_tests.marked()
    assert "tests/training/loop/test_precision_gpu.py" in marked
    assert marked[-1] == "tests/preprocessing/tvl1/test_gpu_device.py"
    assert all((ROOT / path).exists() for path in marked)


def test_a_stage_that_does_not_end_is_ended_and_has_told_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "unending_stage.py").write_text(UNENDING)
    (tmp_path / "broken_stage.py").write_text("raise SystemExit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    stages = {"tests": ("broken_stage", 1.0), "networks": ("unending_stage", 1.0)}
    for name, value in {"STAGES": stages, "LEAST_S": 1.0, "GRACE_S": 1.0, "RESERVE_S": 0.0}.items():
        monkeypatch.setattr(run, name, value)
    assert run.run(["tests", "networks"], 6.0, tmp_path / "gpu.json") == 1
    said = capfd.readouterr().out
    assert "== tests: FAILED, status 3" in said
    assert "half of it is done" in said
    assert "== networks: ended, its time was up" in said
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["networks"]["rows"] == [1]
    assert found["networks"]["status"] is None


@pytest.mark.parametrize(("options", "said"), [(["float"], "float: no such stage"), (["--seconds", "x"], "--seconds")])
def test_wrong_options(
    options: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["run", *options])
    with pytest.raises(SystemExit):
        run.main()
    assert said in capsys.readouterr().err


def test_a_python_without_torch_is_told_where_to_find_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["run"])
    monkeypatch.setattr(run, "NEEDED", ("numpy", "a_package_that_nobody_has"))
    assert run.main() == 2
    assert "has no a_package_that_nobody_has. `make setup`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "tera"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H200", 989),
        ("NVIDIA H200 NVL", 835),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A10G", 70),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("Tesla T4", 65),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("Tesla V100-SXM2-32GB", 125),
        ("Tesla V100-PCIE-16GB", 112),
        ("Tesla V100S-PCIE-32GB", 130),
        ("NVIDIA GH200 480GB", 989),
        ("NVIDIA H800 PCIe", 756),
        ("NVIDIA GeForce RTX 3090 Ti", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
        ("NVIDIA T400", None),
        ("NVIDIA H1000", None),
    ],
)
def test_peaks_are_found_by_whole_words(name: str, tera: float | None) -> None:
    found = peak_of(name)
    assert (found and found[0]) == (tera and pytest.approx(tera * 1e12))
