"""The examples of CONTRIBUTING.md are what they say: they register themselves, and keep what every network promises."""

from collections.abc import Iterator
from itertools import pairwise
from types import ModuleType

import pytest
import torch

from kinebert.training.models import Recognizer, build_recognizer, load_published
from kinebert.training.models.registry import BACKBONE_OPTIONS, BACKBONES, HEADS
from kinebert.training.models.sizes.measure import sizes_of
from kinebert.training.models.weights import load
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
from tests.helpers.contributing import example, restored
from tests.helpers.networks import Combination, clips

HEADINGS = {
    "c3d": "Adding a backbone",
    "largest": "Adding a head",
    "layout": "Adding a layout of published weights",
}
COMBINATIONS = [
    Combination("c3d", "bert"),
    Combination("c3d", "bert", "flow", "frab"),
    Combination("c3d", "largest", "pose", "frmb"),
]


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    """The page's three modules; what they register is gone afterwards, for other tests ask for all that there is."""
    folder = tmp_path_factory.mktemp("examples")
    with restored(BACKBONES, HEADS, BACKBONE_OPTIONS):
        yield {name: example(heading, folder) for name, heading in HEADINGS.items()}


@pytest.fixture(scope="module", params=[combination.param() for combination in COMBINATIONS])
def net(examples: dict[str, ModuleType], request: pytest.FixtureRequest) -> Recognizer:
    torch.manual_seed(7)
    combination: Combination = request.param
    return combination.build()


def test_full_size_it_is_the_papers_trunk(examples: dict[str, ModuleType]) -> None:
    sizes = sizes_of(backbone="c3d", head="tgap", num_classes=487, clip_length=16)
    trunk = sizes.parameters - (512 + 1) * 487
    channels = (3, 64, 128, 256, 256, 512, 512, 512, 512)
    assert trunk == sum(27 * a * b + b for a, b in pairwise(channels))


def test_an_option_is_an_argument_of_the_function(examples: dict[str, ModuleType]) -> None:
    net = Combination("c3d", "tgap").build(backbone_options={"norm": True})
    assert any(name.endswith("running_mean") for name in net.state_dict())


def test_checkpointed_it_learns_the_same(examples: dict[str, ModuleType]) -> None:
    nets = [
        Combination("c3d", "tgap").build(checkpointing=checkpointing, dropout=0.0) for checkpointing in (False, True)
    ]
    nets[1].load_state_dict(nets[0].state_dict())
    x_NCTHW = clips(nets[0])
    for net in nets:
        net.train()(x_NCTHW).square().sum().backward()
    for plain, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(other.grad, plain.grad)


def test_published_weights_are_read(examples: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "layouts", lambda: examples["layout"].LAYOUTS)
    (file,) = examples["layout"].LAYOUTS[0].files
    net = build_recognizer(**{**file.arguments(), "width": 0.125})
    names = {f"backbone.stages.{ours}.0": f"conv{theirs}" for theirs, ours in examples["layout"].NAMES.items()}
    names["classifier"] = "fc"
    state = {}
    for name, tensor in net.state_dict().items():
        part, _, kind = name.rpartition(".")
        state[f"module.{names[part]}.{kind}"] = torch.randn_like(tensor)
    report = load_published(net, {"state_dict": {**state, "module.step": torch.zeros(())}})
    assert report.layout == "somebody_c3d"
    assert report.ignored == ["step"]
    assert len(report.loaded) == len(state) == 18
    assert torch.equal(net.state_dict()["backbone.stages.4.2.0.bias"], state["module.conv5b.bias"])
