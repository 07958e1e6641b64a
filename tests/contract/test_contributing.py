"""The examples of CONTRIBUTING.md are what they say: they register themselves, and keep what every network promises."""

from collections.abc import Iterator
from itertools import pairwise
from types import ModuleType

import numpy as np
import pytest
import torch

from kinebert.preprocessing.errors import UserError
from kinebert.training.evaluation.evaluate import VideoScores
from kinebert.training.models import Recognizer, build_recognizer, load_published
from kinebert.training.models.registry import BACKBONE_OPTIONS, BACKBONES, HEADS
from kinebert.training.models.sizes.measure import sizes_of
from kinebert.training.models.weights.keys import layouts
from tests.contract.test_recognizers import (  # noqa: F401  each is tried again, with the networks of this module
    test_backbone_says_what_it_leaves,
    test_bf16_is_near_float32,
    test_clips_of_a_batch_do_not_meet_in_eval,
    test_gradients_reach_every_parameter,
    test_saved_and_loaded_it_is_the_same,
    test_scores_have_one_column_per_class,
    test_spec_is_complete_and_plain,
    test_training_draws_anew,
)
from tests.helpers.contributing import placed, restored
from tests.helpers.networks import Combination, clips

HEADINGS = ("Adding a backbone", "Adding a head", "Adding a layout of published weights", "Adding an analysis")
COMBINATIONS = [
    Combination("slow_fusion", "bert"),
    Combination("slow_fusion", "bert", "flow", "frab"),
    Combination("slow_fusion", "largest", "pose", "frmb"),
]


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    """The page's modules by name; what they register is gone afterwards, for other tests ask for all that there is."""
    folder = tmp_path_factory.mktemp("examples")
    with restored(BACKBONES, HEADS, BACKBONE_OPTIONS), placed(folder, *HEADINGS) as modules:
        yield {path.removesuffix(".py"): module for path, module in modules.items()}
    layouts.cache_clear()


@pytest.fixture(scope="module", params=[combination.param() for combination in COMBINATIONS])
def net(examples: dict[str, ModuleType], request: pytest.FixtureRequest) -> Recognizer:
    torch.manual_seed(7)
    combination: Combination = request.param
    return combination.build()


def test_full_size_it_is_the_papers_trunk(examples: dict[str, ModuleType]) -> None:
    sizes = sizes_of(backbone="slow_fusion", head="tgap", num_classes=487, clip_length=10, size=170)
    trunk = sizes.parameters - (256 + 1) * 487
    channels, weights = (3, 96, 256, 384, 384, 256), (4 * 121, 2 * 25, 2 * 9, 9, 9)
    assert trunk == sum(count * a * b + b for count, (a, b) in zip(weights, pairwise(channels), strict=True))


def test_an_option_is_an_argument_of_the_function(examples: dict[str, ModuleType]) -> None:
    net = Combination("slow_fusion", "tgap").build(backbone_options={"norm": True})
    assert any(name.endswith("running_mean") for name in net.state_dict())


def test_checkpointed_it_learns_the_same(examples: dict[str, ModuleType]) -> None:
    nets = [
        Combination("slow_fusion", "tgap").build(checkpointing=checkpointing, dropout=0.0)
        for checkpointing in (False, True)
    ]
    nets[1].load_state_dict(nets[0].state_dict())
    x_NCTHW = clips(nets[0])
    for net in nets:
        net.train()(x_NCTHW).square().sum().backward()
    for plain, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(other.grad, plain.grad)


def test_published_weights_are_read(examples: dict[str, ModuleType]) -> None:
    module = examples["training/models/weights/keys/clips/somebody"]
    layouts.cache_clear()
    assert "somebody_slow_fusion" in [layout.name for layout in layouts()], "it is found among the others"
    (file,) = module.LAYOUTS[0].files
    net = build_recognizer(**{**file.arguments(), "width": 0.125})
    names = {f"backbone.stages.{ours}.0": f"conv{theirs}" for theirs, ours in module.NAMES.items()}
    names["classifier"] = "fc"
    state = {}
    for name, tensor in net.state_dict().items():
        part, _, kind = name.rpartition(".")
        state[f"module.{names[part]}.{kind}"] = torch.randn_like(tensor)
    report = load_published(net, {"state_dict": {**state, "module.step": torch.zeros(())}})
    assert report.layout == "somebody_slow_fusion"
    assert report.ignored == ["step"]
    assert len(report.loaded) == len(state) == 12
    assert torch.equal(net.backbone.get_parameter("stages.4.0.0.bias"), state["module.conv5.bias"])


def scores_of(labels: list[int], scale: str = "probabilities") -> VideoScores:
    """Return scores that are ever less sure of class 0: 0.9, 0.8, 0.7 and 0.6."""
    sure_V = np.array([0.9, 0.7, 0.6, 0.8], np.float32)
    return VideoScores(
        video_ids=["a", "b", "c", "d"],
        labels=np.array(labels),
        classes=["left", "right"],
        about={"scale": scale},
        scores=np.stack([sure_V, 1 - sure_V], axis=1),
        num_clips=np.ones(4, np.int64),
    )


def test_the_surest_videos_are_counted(examples: dict[str, ModuleType]) -> None:
    analysis = examples["training/evaluation/coverage"]
    rows = analysis.coverage(scores_of([0, 1, 1, 0]))  # from sure to unsure: right, right, wrong, wrong
    assert [row.num_videos for row in rows] == [1, 2, 3, 4]
    assert [row.accuracy for row in rows] == pytest.approx([1, 1, 2 / 3, 0.5])
    assert [row.confidence for row in rows] == pytest.approx([0.9, 0.8, 0.7, 0.6], abs=1e-6)
    assert analysis.coverage(scores_of([0, 1, 1, 0]), [1.0])[0].accuracy == scores_of([0, 1, 1, 0]).metrics().top[1]
    for wrong in (scores_of([0, 1, 1, -1]), scores_of([0, 1, 1, 0], "sums")):
        with pytest.raises(UserError, match="take the table of one stream"):
            analysis.coverage(wrong)


def test_they_are_printed_in_percent(examples: dict[str, ModuleType]) -> None:
    table = examples["orchestration/reports/coverage"].coverage_table({"rgb": scores_of([0, 1, 1, 0])})
    assert [line.split() for line in table.lines()] == [
        ["stream", "surest", "25%", "surest", "50%", "surest", "75%", "surest", "100%"],
        ["rgb", "100.0", "100.0", "66.7", "50.0"],
    ]
