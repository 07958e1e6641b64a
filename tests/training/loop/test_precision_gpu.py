"""What must come out the same on a GPU: in half precision, recomputed, compiled, averaged, resumed, evaluated."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kinebert.training.checkpoints.recognizer import load_recognizer
from kinebert.training.evaluation.scorer import Scorer
from kinebert.training.loop.loop import TrainSummary, WorkerContext
from kinebert.training.models import build_recognizer
from kinebert.training.numerics import Inference
from kinebert.training.recipe.protocol import ProtocolRecipe
from tests.helpers.fake_shards import make_shards
from tests.helpers.requirements import needs
from tests.helpers.small_training import Killed, numbers, recipe_with, run, weights_of

pytestmark = [
    pytest.mark.gpu,
    needs("gpu", torch.cuda.is_available(), "there is no CUDA device"),
]
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used, by whichever test
DEVICE = torch.device("cuda")
NO_DRAWS: dict[str, Any] = {"model": {"head": "tgap", "dropout": 0.0}, "optim": {"lr": 3e-4}, "epochs": 1}
"""Nothing is drawn inside the network: compilers draw other numbers. Three small updates: rounding grows with them."""


def on_gpu(output: Path, **changes: Any) -> TrainSummary:
    return run(recipe_with(**changes), output, worker=WorkerContext(device=DEVICE))[0]


def losses(summary: TrainSummary) -> list[float]:
    return [row[name] for row in summary.history for name in ("train_loss", "val_loss")]  # type: ignore[literal-required]


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """Losses in float32."""
    return losses(on_gpu(tmp_path_factory.mktemp("exact"), amp="off", **NO_DRAWS))


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_half_precision_is_used_and_near_float32(amp: str, exact: list[float], tmp_path: Path) -> None:
    found = losses(on_gpu(tmp_path, amp=amp, **NO_DRAWS))
    assert found[0] != exact[0]
    assert found[0] == pytest.approx(exact[0], rel=0.05)  # bf16 keeps 8 bits


@pytest.mark.parametrize("channels_last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_ways_to_compute_change_nothing_but_rounding(
    compiled: bool, checkpointing: bool, channels_last: bool, exact: list[float], tmp_path: Path
) -> None:
    model = {**NO_DRAWS["model"], "checkpointing": checkpointing}
    changes = {**NO_DRAWS, "model": model, "compile": compiled, "channels_last": channels_last}
    assert losses(on_gpu(tmp_path, amp="off", **changes)) == pytest.approx(exact, rel=5e-3)


def test_checkpointing_saves_memory() -> None:
    peaks = []
    for checkpointing in (False, True):
        net = build_recognizer(
            backbone="resnet3d_18", head="tgap", num_classes=5, clip_length=16, size=112, checkpointing=checkpointing
        )
        net = net.to(DEVICE).train()
        clips_NCTHW = torch.randn(4, 3, 16, 112, 112, device=DEVICE)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        net(clips_NCTHW).square().sum().backward()
        peaks.append(torch.cuda.max_memory_allocated() - before)
        del net, clips_NCTHW
    assert peaks[1] < 0.8 * peaks[0]


def test_the_average_of_weights_is_that_of_a_cpu(tmp_path: Path) -> None:
    changes: dict[str, Any] = {**NO_DRAWS, "amp": "off", "ema": 0.5}
    on_cpu, _ = run(recipe_with(**changes), tmp_path / "cpu")
    found = on_gpu(tmp_path / "gpu", **changes)
    assert losses(found) == pytest.approx(losses(on_cpu), rel=5e-3)
    learnt, averaged = weights_of(tmp_path / "gpu"), load_recognizer(f"{tmp_path}/gpu/last.pt")[0].state_dict()
    assert any(not torch.equal(learnt[name].cpu(), averaged[name].cpu()) for name in learnt)


@pytest.mark.parametrize("amp", ["bf16", "fp16", "off"])
def test_a_killed_training_goes_on_bit_for_bit(amp: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"amp": amp, "deterministic": True, "ema": 0.9, "epochs": 2}
    whole = on_gpu(tmp_path / "whole", **changes)
    with pytest.raises(Killed):
        run(recipe_with(**changes), tmp_path / "killed", die_at=3, worker=WorkerContext(device=DEVICE))
    assert numbers(on_gpu(tmp_path / "killed", **changes).history) == numbers(whole.history)
    expected = weights_of(tmp_path / "whole")
    for name, weight in weights_of(tmp_path / "killed").items():
        assert torch.equal(weight, expected[name]), name


@pytest.mark.parametrize(("amp", "tolerance"), [("off", 1e-3), ("auto", 0.05)])
def test_scores_are_those_of_a_cpu(amp: str, tolerance: float, tmp_path: Path) -> None:
    """In parts of the scores' spread."""
    recipe, shards = recipe_with(epochs=1), make_shards()
    on_gpu(tmp_path, epochs=1)
    scores = {}
    for device in (torch.device("cpu"), DEVICE):
        recognizer, _ = load_recognizer(f"{tmp_path}/best.pt")
        score = Scorer(
            recognizer,
            shards,
            shards.videos,
            recipe.data,
            ProtocolRecipe(),
            device=device,
            inference=Inference(amp=amp),
        )
        scores[device.type] = np.concatenate(list(score([[(i, 0) for i in range(5)], [(i, 0) for i in range(5, 9)]])))
    spread = scores["cpu"].std()
    np.testing.assert_allclose(scores[DEVICE.type] / spread, scores["cpu"] / spread, atol=tolerance)
