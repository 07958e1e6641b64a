"""What is measured of a machine, and how often."""

import tomllib

import psutil
import pytest
import torch

from kinebert.training.loop.system_metrics import MachineUse, unmeasured
from tests.helpers.paths import ROOT
from tests.helpers.requirements import needs


def test_a_measurement_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    use = MachineUse(torch.device("cpu"), every_s=10)
    assert use() == {}
    now[0] = 110.0
    found = use()
    assert sorted(found) == [
        "system/cpu_utilization_percentage",
        "system/system_memory_usage_megabytes",
        "system/system_memory_usage_percentage",
    ]
    assert 0 <= found["system/cpu_utilization_percentage"] <= 100
    total = psutil.virtual_memory().total / 2**20
    share = 100 * found["system/system_memory_usage_megabytes"] / total
    assert share == pytest.approx(found["system/system_memory_usage_percentage"], abs=0.1)
    assert 0 < share < 100
    now[0] = 119.0
    assert use() == {}


def test_what_a_gpu_cannot_be_asked_for_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kinebert.training.loop.system_metrics.find_spec", lambda _: None)
    assert "nvidia-ml-py is not installed. It comes with kinebert[gpu]" in unmeasured(torch.device("cuda"))
    assert unmeasured(torch.device("cpu")) == ""
    monkeypatch.setattr("kinebert.training.loop.system_metrics.find_spec", lambda _: "there")
    assert unmeasured(torch.device("cuda")) == ""


def test_the_extra_brings_what_measures_a_gpu() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert any(package.startswith("nvidia-ml-py") for package in extras["gpu"])


@pytest.mark.gpu
@needs("gpu", torch.cuda.is_available(), "there is no CUDA device")
def test_a_gpu_is_measured_as_well() -> None:
    found = MachineUse(torch.device("cuda", 0), every_s=0)()
    assert 0 < found["system/gpu_0_memory_usage_percentage"] < 100
