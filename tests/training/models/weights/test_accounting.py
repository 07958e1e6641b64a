"""Every key and every parameter is accounted for: what stays fresh, what is left over, what is allowed."""

import pickle

import pytest
import torch
from torch import Tensor

from kinebert.preprocessing.errors import UserError
from kinebert.training.models import load_published
from kinebert.training.models.weights.keys import Layout
from kinebert.training.models.weights.load import WeightsError, check_published
from tests.helpers.toy_weights import FACTS, LAYOUT, net, published_state, same, use

pytestmark = pytest.mark.usefixtures("toy_layout")


def test_other_classes_leave_the_classifier_fresh_and_say_so() -> None:
    state, model = published_state(net(num_classes=7)), net()
    report = load_published(model, state)
    assert report.reinitialized == ["classifier.weight", "classifier.bias"]
    assert report.reasons["classifier.weight"] == "classifier.weight is (7, 64) in the file, (3, 64) in the network"
    assert same(model, state)
    assert model.classifier.bias.eq(0).all()


def test_a_file_without_head_leaves_the_head_fresh_and_says_so() -> None:
    state, model = published_state(net()), net(head="bert")
    before = {key: tensor.clone() for key, tensor in model.head.state_dict().items()}
    report = load_published(model, state)
    assert set(report.reinitialized) == {f"head.{key}" for key in before}
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.head.state_dict().items())
    assert set(report.loaded) == model.state_dict().keys() - set(report.reinitialized)


def test_a_file_without_classifier_leaves_it_fresh() -> None:
    state = {key: tensor for key, tensor in published_state(net()).items() if "fc." not in key}
    report = load_published(net(), state)
    assert report.reinitialized == ["classifier.weight", "classifier.bias"]


@pytest.mark.parametrize("reduction", ["frab", "frmb"])
def test_a_file_without_reduction_leaves_it_fresh_and_names_what_is_lost(
    reduction: str,
) -> None:
    source = net(backbone="resnet50")
    model = net(backbone="resnet50", reduction=reduction, reduction_width=256)
    report = load_published(model, published_state(source))
    (block,) = model.backbone.reduced
    names = {name for name in model.state_dict() if name.startswith(f"backbone.{block}.") and "num_batches" not in name}
    assert set(report.reinitialized) == {*names, "classifier.weight", "classifier.bias"}
    lost = {key for key in published_state(source) if key.startswith(f"{block}.")}
    assert {key for key in report.ignored if "num_batches" not in key} >= {key for key in lost if "num_b" not in key}
    assert bool(lost) == (reduction == "frmb")
    assert not report.missing + report.unexpected


def test_what_is_unaccounted_for_is_an_error_and_changes_nothing() -> None:
    state, model = published_state(net()), net()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    wrong: dict[str, tuple[dict[str, Tensor], str]] = {
        "strange": (
            {**state, "extra.weight": torch.zeros(1)},
            r"read as toy, .+ 0 parameters are missing, 1 keys of the file have no place \(such as extra\.weight\)\.",
        ),
        "of something else": (
            {**state, **{f"extra.{i}": torch.zeros(1) for i in range(len(state))}},
            r"nearest is toy, to which \d+ are strange, such as 'extra\.0'",
        ),
        "left over": (
            {**state, "layer4.9.weight": torch.zeros(1)},
            r"0 parameters are missing, 1 keys of the file have no place \(such as layer4\.9\.weight: would be backb",
        ),
        "missing": (
            {key: tensor for key, tensor in state.items() if key != "stem.1.running_mean"},
            r"1 parameters are missing \(such as backbone\.stem\.1\.running_mean\), 0 keys",
        ),
        "half a classifier": (
            {key: tensor for key, tensor in state.items() if key != "fc.bias"},
            r"1 parameters are missing \(such as classifier\.bias\)",
        ),
        "misfit": (
            {**state, "stem.4.weight": torch.ones(9)},
            r"are missing \(such as backbone\.stem\.4\.weight: \(9,\) in the file, \(8,\) in the network\)",
        ),
    }
    for content, message in wrong.values():
        with pytest.raises(UserError, match=message) as caught:
            load_published(model, content)
        assert "\n" not in str(caught.value)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_errors_carry_the_report() -> None:
    state = published_state(net())
    state["stem.4.weight"] = torch.ones(9)
    with pytest.raises(WeightsError) as caught:
        load_published(net(), state)
    report = caught.value.report
    assert (report.missing, report.unexpected) == (["backbone.stem.4.weight"], ["stem.4.weight"])
    assert "(9,) in the file, (8,) in the network" in str(report)
    assert pickle.loads(pickle.dumps(caught.value)).report == report
    assert check_published(net(), state) == (report, False)


@pytest.mark.parametrize("allow", [("extra.*", "backbone.stem.4.*"), ("extra.weight", "stem.4.weight"), ("*",)])
def test_what_is_allowed_is_reported_all_the_same(allow: tuple[str, ...]) -> None:
    state = {**published_state(net()), "extra.weight": torch.zeros(1)}
    state["stem.4.weight"] = torch.ones(9)
    report = load_published(net(), state, "toy", allow=allow)
    assert report.missing == ["backbone.stem.4.weight"]
    assert set(report.unexpected) == {"extra.weight", "stem.4.weight"}
    assert "would be" not in str(report)


def test_known_but_useless_keys_are_named() -> None:
    report = load_published(net(), {**published_state(net()), "unused.weight": torch.zeros(1)})
    assert report.ignored == ["unused.weight"]


def test_two_keys_of_one_tensor_need_a_layout_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = (*LAYOUT.rules, (r"twin\.(weight|bias)", r"classifier.\1"))
    state = published_state(net())
    twins = {**state, "twin.weight": state["fc.weight"] + 1}
    use(monkeypatch, Layout(name="one", rules=rules, **FACTS))
    with pytest.raises(UserError, match=r"such as fc\.weight: twin\.weight is classifier\.weight as well"):
        load_published(net(), twins)
    use(monkeypatch, Layout(name="shared", rules=rules, shared=True, **FACTS))
    model = net()
    assert load_published(model, twins).ignored == ["fc.weight"]
    assert torch.equal(model.classifier.weight, twins["twin.weight"])
