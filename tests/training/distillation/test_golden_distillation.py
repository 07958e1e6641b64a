"""Losses, gradients and steps of distillation against the published programs, in float64."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kinebert.training.distillation.losses import sequence_sum
from kinebert.training.distillation.students import STUDENTS, Student
from kinebert.training.loop.step import accumulate, update
from kinebert.training.models import InputSpec, Recognizer
from kinebert.training.models.heads.average import Tgap
from kinebert.training.models.heads.bert import BertPool, bert
from kinebert.training.models.interfaces import Backbone, Head
from kinebert.training.models.weights.keys.bert import artest08
from kinebert.training.optim.losses import cross_entropy_sum
from kinebert.training.optim.registry import build_optimizer
from kinebert.training.recipe.distill import DistillRecipe
from kinebert.training.recipe.optim import OptimRecipe
from tests.helpers import golden

NAME = "distillation/distillation"
CLASSES = 51


class Points(Backbone):
    """One linear layer and a ReLU, of clips that are one point: ``(N, 3, 1, 1, 1)``."""

    num_features, temporal_stride = 2048, 1

    def __init__(self) -> None:
        super().__init__()
        self.back = nn.Linear(3, 2048)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        return torch.relu(self.back(x_NCTHW.flatten(1)))[..., None, None, None]


class Given(Backbone):
    """What comes in is what a backbone would have made of it, ``(N, F, T, 1, 1)``."""

    num_features, temporal_stride = 512, 1

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        return x_NCTHW


def recognizer(backbone: Backbone, head: Head, channels: int) -> Recognizer:
    rgb = channels == 3
    spec = InputSpec(
        modality="rgb" if rgb else "flow",
        num_frames=4,
        crop_size=1,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        flow_stack=1 if rgb else channels // 2,
    )
    return Recognizer(backbone, head, CLASSES, 0.0, spec, {"head": "of a test"})


@pytest.fixture(scope="module")
def arrays() -> dict[str, Any]:
    return golden.arrays(NAME)


def same(ours: Tensor, theirs: np.ndarray) -> None:
    torch.testing.assert_close(ours.detach(), torch.from_numpy(np.asarray(theirs)), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", ["mars", "mers"])
def test_three_steps_of_mars_and_mers(method: str, arrays: dict[str, Any]) -> None:
    net = recognizer(Points(), Tgap(2048), 3)
    shapes = {"back.weight": (2048, 3), "back.bias": (2048,), "fc.weight": (51, 2048), "fc.bias": (51,)}
    seeds = {name: golden.seeded(name, shape).double() for name, shape in shapes.items()}
    net = net.double()
    net.load_state_dict({_ours(name): value for name, value in seeds.items()})
    student = STUDENTS[method](net, DistillRecipe(method=method), 2048)  # type: ignore[arg-type]
    recipe = OptimRecipe(name="sgd", lr=0.1, momentum=0.9, dampening=0.9, weight_decay=1e-3)
    optimizer = build_optimizer(student.parameters(), recipe)
    x, teacher, target = (torch.from_numpy(arrays[name]) for name in ("x", "teacher", "target"))
    assert float(arrays["alpha"]) == DistillRecipe(method="mars").factor
    for step in (1, 2, 3):
        of = {key.partition(".step")[2][2:]: arrays[key] for key in arrays if key.startswith(f"{method}.step{step}.")}
        features = net.pooled(x[..., None, None, None])
        loss = student.recipe.factor * student.distance(features, teacher, None) / 2
        if method == "mars":  # whose stored gradient is that of both losses
            loss = loss + nn.functional.cross_entropy(net.scores(features), target)
        same(torch.autograd.grad(loss, features)[0], of["grad_features"])
        same(features, of["features"])
        done = accumulate(student, [(x[..., None, None, None], target, teacher)], cross_entropy_sum, num_clips=2)
        same(done.distance, of["mse_times_alpha"])
        same(done.loss - done.distance, of["ce"])
        grads = {name.removeprefix("recognizer."): value.grad for name, value in student.named_parameters()}
        assert all(value is not None for value in grads.values())
        same(grads["backbone.back.weight"], of["grad_back_weight"])  # type: ignore[arg-type]
        same(grads["classifier.bias"], of["grad_fc_bias"])  # type: ignore[arg-type]
        same(grads["classifier.weight"].norm(), of["grad_fc_weight_norm"])  # type: ignore[union-attr]
        same(grads["classifier.weight"][:, ::64], of["grad_fc_weight_64"])  # type: ignore[index]
        update(student, optimizer, max_grad_norm=0)
        same(net.get_parameter("backbone.back.weight"), of["back_weight"])
        same(net.get_parameter("backbone.back.bias"), of["back_bias"])
        same(net.classifier.bias, of["fc_bias"])
        same(net.classifier.weight[:, ::64], of["fc_weight_64"])


def _ours(name: str) -> str:
    return f"backbone.{name}" if name.startswith("back") else name.replace("fc", "classifier")


def bert_student(arrays: dict[str, Any], **changes: Any) -> Student:
    net = recognizer(Given(), bert(512, 4, keep_prob=0.8, bert_dropout=0.0), 512).double()
    shapes = [tuple(map(int, text.split(","))) for text in arrays["bert.shapes"].tolist()]
    state = {key: golden.seeded(key, shape) for key, shape in zip(arrays["bert.keys"].tolist(), shapes, strict=True)}
    state |= {f"fc_action.{name}": golden.seeded(f"fc_action.{name}", shape) for name, shape in _FC}
    rename = artest08.LAYOUTS[0].rename
    net.load_state_dict({str(rename(key) or rename(f"bert.{key}")): value.double() for key, value in state.items()})
    return STUDENTS["bert"](net, DistillRecipe(method="bert", **changes), 512)


_FC = (("weight", (CLASSES, 512)), ("bias", (CLASSES,)))
CASES = [
    ("eval", "sum_mean"),
    ("eval", "mse_all"),
    ("masked", "sum_mean"),
    ("masked", "mse_all"),
    ("masked", "mse_hidden"),
]


@pytest.mark.parametrize(("mask", "kind"), CASES)
def test_bert_learns_as_equation_5_1_says(
    mask: str, kind: str, arrays: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    of = {key: value for key, value in arrays.items() if key.startswith(f"bert.{mask}.{kind}.")}
    of = {key.rpartition(".")[2]: value for key, value in of.items()}
    student = bert_student(
        arrays,
        weight=float(of["lambda"]),
        reduction="sum" if kind == "sum_mean" else "mean",
        positions="hidden" if kind == "mse_hidden" else "all",
    ).train()
    visible_NS = torch.from_numpy(arrays["bert.mask"]) > 0
    assert visible_NS[:, 0].all()
    assert not visible_NS.all()
    shown = visible_NS[:, 1:] if mask == "masked" else None
    monkeypatch.setattr(BertPool, "draw_visible", lambda *_: shown)
    if shown is None:
        student.eval()
    shape = (2, 4, 512)
    drawn = [
        torch.randn(shape, generator=torch.Generator().manual_seed(int(arrays[f"bert.{name}_seed"])))
        for name in ("features", "teacher")
    ]
    features_NTF, teacher_NTF = drawn[0].double().requires_grad_(), drawn[1].abs().double()
    target = torch.from_numpy(arrays["bert.target"])
    given_NFTHW = features_NTF.transpose(1, 2)[..., None, None]
    done = accumulate(student, [(given_NFTHW, target, teacher_NTF)], cross_entropy_sum, num_clips=2)
    same(done.loss, of["loss"])
    same(done.distance / float(of["lambda"]), of["distance"])
    same(done.loss - done.distance, of["ce"])
    assert features_NTF.grad is not None
    same(features_NTF.grad, of["grad_features"])
    grads = {name.removeprefix("recognizer."): value.grad for name, value in student.named_parameters()}
    names = [_published(name) for name in arrays["bert.grad_names"].tolist()]
    found = torch.stack([grads[name].norm() for name in names])  # type: ignore[union-attr]
    torch.testing.assert_close(found, torch.from_numpy(of["grad_norms"]), rtol=1e-9, atol=1e-9)
    same(grads["classifier.weight"].norm(), of["grad_fc_weight_norm"])  # type: ignore[union-attr]
    same(grads["classifier.weight"][:, ::32], of["grad_fc_weight_32"])  # type: ignore[index]
    logits_NK, sequence, _ = student.answer(given_NFTHW)
    same(logits_NK, of["logits"])
    same(nn.functional.normalize(sequence, dim=-1), of["sequence"])


def _published(name: str) -> str:
    return str(artest08.LAYOUTS[0].rename(f"bert.{name}"))


def test_between_mean_and_sum_lie_steps_times_features() -> None:
    ours, theirs = torch.randn(3, 4, 512, dtype=torch.float64), torch.rand(3, 4, 512, dtype=torch.float64)
    torch.testing.assert_close(sequence_sum(ours, theirs, "sum"), 4 * 512 * sequence_sum(ours, theirs, "mean"))
    lambdas = [DistillRecipe(method="bert", reduction=reduction).factor for reduction in ("mean", "sum")]  # type: ignore[arg-type]
    assert lambdas == [100_000, 100_000 / (4 * 512)]
