"""Which device a name means, and which precision a recipe means on it."""

from typing import Any

import pytest
import torch

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.numerics import (
    Inference,
    autocast_dtype,
    choose_device,
    computing,
    float32_of,
    in_words,
    scoring_dtype,
)
from tests.helpers.small_training import recipe_with

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_which_type_a_recipe_means() -> None:
    assert [autocast_dtype(amp, CPU) for amp in ("auto", "off", "bf16")] == [None, None, torch.bfloat16]
    assert [autocast_dtype(amp, CUDA) for amp in ("auto", "off", "fp16")] == [torch.bfloat16, None, torch.float16]
    assert [autocast_dtype("tf32", device) for device in (CPU, CUDA)] == [None, None]
    with pytest.raises(ConfigError, match="needs a CUDA device"):
        autocast_dtype("fp16", CPU)


@pytest.mark.parametrize("amp", ["auto", "bf16", "fp16", "tf32", "off", "fp64"])
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


def switches() -> tuple[bool, bool]:
    """Of TF32: that of convolutions, and that of matrix products."""
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize(
    ("amp", "expected"), [("off", (False, False)), ("tf32", (True, True)), ("bf16", (True, False))]
)
def test_both_switches_of_tf32_follow_the_recipe(amp: str, expected: tuple[bool, bool]) -> None:
    before = switches()
    assert before == (True, False), "as torch has them, which makes float32 inexact in convolutions only"
    with float32_of(amp, CUDA):
        assert switches() == expected
    assert switches() == before
    with float32_of(amp, CPU):
        assert switches() == before


def test_a_training_is_computed_as_its_recipe_says_and_leaves_all_as_it_was() -> None:
    memory: Any = torch.utils.deterministic
    before = switches(), torch.backends.cudnn.benchmark, memory.fill_uninitialized_memory
    with computing(recipe_with(amp="off"), CUDA):
        assert (switches(), torch.backends.cudnn.benchmark) == ((False, False), True)
        assert in_words(recipe_with(amp="off"), CUDA) == "float32, TF32 in nothing, fastest algorithms"
    strict = recipe_with(amp="tf32", deterministic=True, compile=True)
    with computing(strict, CUDA):
        assert (switches(), torch.backends.cudnn.benchmark) == ((True, True), False)
        assert not memory.fill_uninitialized_memory
        assert torch.are_deterministic_algorithms_enabled()
        assert in_words(strict, CUDA) == "float32, TF32 in convolutions and products, same bits, compiled"
    assert (switches(), torch.backends.cudnn.benchmark, memory.fill_uninitialized_memory) == before
    assert [in_words(recipe_with(amp=amp), CPU) for amp in ("auto", "bf16", "fp64")] == [
        "float32",
        "bfloat16",
        "float64",
    ]


@pytest.mark.parametrize("deterministic", [False, True], ids=["fastest", "same bits"])
def test_scores_are_computed_by_the_algorithms_of_the_recipe(deterministic: bool) -> None:
    before = torch.backends.cudnn.benchmark
    how = Inference.of(recipe_with(amp="bf16", deterministic=deterministic))
    with how.on(CPU):
        assert torch.backends.cudnn.benchmark == (not deterministic)
        assert torch.are_deterministic_algorithms_enabled() == deterministic
        assert torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu"), "in full precision, whatever the recipe says"
    assert torch.backends.cudnn.benchmark == before
    assert not torch.is_inference_mode_enabled()
