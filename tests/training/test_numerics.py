"""Which device a name means, and which precision a recipe means on it."""

import pytest
import torch

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.numerics import autocast_dtype, choose_device, scoring_dtype

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_which_type_a_recipe_means() -> None:
    assert [autocast_dtype(amp, CPU) for amp in ("auto", "off", "bf16")] == [None, None, torch.bfloat16]
    assert [autocast_dtype(amp, CUDA) for amp in ("auto", "off", "fp16")] == [torch.bfloat16, None, torch.float16]
    with pytest.raises(ConfigError, match="needs a CUDA device"):
        autocast_dtype("fp16", CPU)


@pytest.mark.parametrize("amp", ["auto", "bf16", "fp16", "off", "fp64"])
def test_scores_are_in_full_precision_on_a_cpu_and_as_in_training_on_a_gpu(amp: str) -> None:
    assert scoring_dtype(amp, CPU) is None
    assert scoring_dtype(amp, CUDA) == autocast_dtype(amp, CUDA)


def test_devices_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    found = [choose_device(name) for name in ("auto", "cpu", "cuda", "cuda:1")]
    assert found == [CUDA, CPU, CUDA, torch.device("cuda:1")]
    for name in ("gpu", "mps", "cuda:x", ""):
        with pytest.raises(ConfigError, match=f"device must be auto, cpu, cuda or cuda:N, got '{name}'"):
            choose_device(name)
    with pytest.raises(ConfigError, match="device 'cuda:2': there are 2 CUDA devices here"):
        choose_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == CPU
    with pytest.raises(ConfigError, match="device 'cuda': there are 0 CUDA devices here"):
        choose_device("cuda")
