"""Every backbone and every head leaves Python: compiled, exported, and as ONNX."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.training.models import Recognizer
from tests.helpers.networks import Combination, clips, one_of_each
from tests.helpers.requirements import imported, needs

MISSING = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
ONNX_AT_ONCE = [Combination("resnet18", "lstm"), Combination("r2plus1d_18", "bert")]
"""What is tried without asking for slow tests."""


def marked(combination: Combination) -> Any:
    small = combination.backbone.endswith("_18") or combination in ONNX_AT_ONCE
    return combination.param(*([] if small else [pytest.mark.slow]))


@pytest.mark.parametrize("combination", [marked(combination) for combination in one_of_each()])
def test_exported_it_scores_the_same_for_every_batch(combination: Combination) -> None:
    net = combination.build().eval()
    exported = export(net)
    for count in (1, 3):
        x_NCTHW = clips(net, count)
        with torch.inference_mode():
            torch.testing.assert_close(exported.module()(x_NCTHW), net(x_NCTHW))


@pytest.mark.slow
@pytest.mark.parametrize(
    "combination",
    [
        Combination("resnet18", "bert", "flow").param(),
        Combination("r2plus1d_18", "nonlocal_concat").param(),
        Combination("resnet3d_18", "conv_gru", "pose", "frmb").param(),
    ],
)
def test_compiled_it_scores_and_learns_the_same(combination: Combination) -> None:
    net = combination.build(dropout=0.0).eval()  # eval: what training draws would differ
    compiled = torch.compile(net)
    x_NCTHW = clips(net)
    plain, fast = net(x_NCTHW), compiled(x_NCTHW)
    torch.testing.assert_close(fast, plain, rtol=1e-3, atol=1e-4)
    parameters = list(net.parameters())
    wanted = torch.autograd.grad(plain.square().sum(), parameters)
    largest = max(float(gradient.abs().max()) for gradient in wanted)
    for gradient, expected in zip(torch.autograd.grad(fast.square().sum(), parameters), wanted, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-2, atol=1e-4 * largest)


@needs("onnx", not MISSING, f"{' and '.join(MISSING)} not installed")
@pytest.mark.parametrize(
    "combination",
    [
        combination.param(*([] if combination in ONNX_AT_ONCE else [pytest.mark.slow]))
        for combination in (*ONNX_AT_ONCE, *one_of_each())
    ],
)
def test_onnx_scores_the_same(combination: Combination, tmp_path: Path) -> None:
    net = combination.build().eval()
    x_NCTHW = clips(net, 2)
    program = torch.onnx.export(net, (x_NCTHW,), dynamo=True, verbose=False)
    assert program is not None
    program.save(tmp_path / "net.onnx")
    onnxruntime = imported("onnxruntime", "onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    (scores_NK,) = session.run(None, {session.get_inputs()[0].name: x_NCTHW.numpy()})
    with torch.inference_mode():
        torch.testing.assert_close(torch.from_numpy(scores_NK), net(x_NCTHW), rtol=1e-3, atol=1e-4)


def export(net: Recognizer) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1, max=64)
    return torch.export.export(net, (clips(net, 2),), dynamic_shapes=({0: batch},))
