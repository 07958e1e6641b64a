"""Published weights: what is taken, what is changed, what stays fresh, and what is refused."""

import argparse
import io
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kinebert.preprocessing.errors import UserError
from kinebert.training.models import Recognizer, build_recognizer, load_published
from kinebert.training.models.inputs import ACTIVITYNET, BYTE_FLOW
from kinebert.training.models.weights import load
from kinebert.training.models.weights.keys import Layout, layouts
from kinebert.training.models.weights.load import WeightsError, check_published

FACTS: dict[str, Any] = {"source": "somebody/somewhere", "paper": "", "licence": "MIT", "url": "https://example.org"}
LAYOUT = Layout(
    name="toy",
    rules=((r"(stem|layer[1-4])\.(.+)", r"backbone.\1.\2"), (r"fc\.(weight|bias)", r"classifier.\1")),
    ignored=(r"unused\..+",),
    **FACTS,
)


@pytest.fixture(autouse=True)
def _toy_layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, LAYOUT)


def use(monkeypatch: pytest.MonkeyPatch, *known: Layout) -> None:
    monkeypatch.setattr(load, "layouts", lambda: known)


def net(**changes: Any) -> Recognizer:
    config = {"backbone": "r2plus1d_18", "head": "tgap", "num_classes": 3, "size": 32, "clip_length": 8, "width": 0.125}
    return build_recognizer(**{**config, **changes})


def published_state(source: Recognizer) -> dict[str, Tensor]:
    """Return its weights under the names of the toy layout."""
    names = {key: key.removeprefix("backbone.").replace("classifier.", "fc.") for key in source.state_dict()}
    return {names[key]: tensor.clone() for key, tensor in source.state_dict().items() if "head." not in key}


def same(model: Recognizer, state: Mapping[str, Tensor], *keys: str) -> bool:
    own = model.state_dict()
    return all(torch.equal(own[f"backbone.{key}"], state[key]) for key in keys or state if not key.startswith("fc."))


def test_every_weight_arrives_and_is_named() -> None:
    source, model = net(), net()
    state = published_state(source)
    report = load_published(model, state)
    x_NCTHW = torch.randn(2, 3, 8, 32, 32)
    assert torch.equal(model.eval()(x_NCTHW), source.eval()(x_NCTHW))
    assert report.layout == "toy"
    assert sorted(report.loaded) == sorted(model.state_dict())
    assert not [*report.adapted, *report.reinitialized, *report.missing, *report.unexpected, *report.ignored]
    assert "backbone.layer1: 48" in str(report)
    assert "missing: none" in str(report)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {f"module.{key}": tensor for key, tensor in state.items()},
        lambda state: {f"module.model.{key}": tensor for key, tensor in state.items()},
        lambda state: {"epoch": 3, "state_dict": {f"module.{key}": tensor for key, tensor in state.items()}},
        lambda state: {"model_state": state, "cfg": "text"},
        lambda state: {key: tensor for key, tensor in state.items() if "num_batches_tracked" not in key},
        lambda state: {key: tensor.numpy() for key, tensor in state.items()},
    ],
    ids=["module", "module.model", "state_dict", "model_state", "no counters", "arrays"],
)
def test_prefixes_and_wrappers_come_off(wrap: Callable[[dict[str, Tensor]], dict[str, Any]]) -> None:
    state, model = published_state(net()), net()
    report = load_published(model, wrap(state))
    assert same(model, {key: tensor for key, tensor in state.items() if "num_batches_tracked" not in key})
    assert not report.missing


def test_a_prefix_that_some_keys_lack_is_part_of_the_name() -> None:
    state = published_state(net())
    with pytest.raises(
        UserError, match=r"classifier\.bias.+, 1 keys of the file have no place \(such as model\.fc\.bias\)"
    ):
        load_published(net(), {("model." if key == "fc.bias" else "") + key: state[key] for key in state})


@pytest.mark.parametrize("legacy", [False, True])
def test_files_are_read_whoever_wrote_them(tmp_path: Path, legacy: bool) -> None:
    state, model = published_state(net()), net()
    content = {"state_dict": state, "opt": argparse.Namespace(lr=1), "best": np.float64(0.5), "acc": np.ones(2)}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    load_published(model, str(tmp_path / "w.pth"))
    assert same(model, state)
    load_published(net(), tmp_path / "w.pth")


class _Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_no_code_of_a_file_is_run(tmp_path: Path, write: Callable[[Any, Path], None]) -> None:
    write({"state_dict": published_state(net()), "x": _Harmful(tmp_path / "made")}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"w\.pth: ") as caught:
        load_published(net(), tmp_path / "w.pth")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "made").exists()


def test_other_files_are_refused_in_a_line(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"epoch": 3}, buffer)
    files = {"text": b"hello", "none": b"", "cut": buffer.getvalue()[:100], "empty": buffer.getvalue()}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=name) as caught:
            load_published(net(), tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"lost: cannot read the weights: there is no such file"):
        load_published(net(), tmp_path / "lost")
    with pytest.raises(UserError, match=r"holds no weights: .* found the keys 'epoch'"):
        load_published(net(), tmp_path / "empty")


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


@pytest.mark.parametrize(("modality", "flow_stack"), [("flow", 1), ("flow", 5), ("pose", 1)])
@pytest.mark.parametrize("rescale", [True, False])
def test_the_first_convolution_takes_other_channels(modality: str, flow_stack: int, rescale: bool) -> None:
    state, model = published_state(net()), net(modality=modality, flow_stack=flow_stack)
    report = load_published(model, state, rescale=rescale)
    theirs, ours = state["stem.0.weight"], model.get_parameter("backbone.stem.0.weight")
    if modality == "pose":
        assert torch.equal(ours, theirs)
        assert not report.adapted
        return
    assert report.adapted == ["backbone.stem.0.weight"]
    assert ours.shape[1] == 2 * flow_stack
    expected = theirs.mean(dim=1) * (3 / (2 * flow_stack) if rescale else 1)
    for channel in ours.unbind(dim=1):
        torch.testing.assert_close(channel, expected)
    if rescale:
        torch.testing.assert_close(ours.sum(dim=1), theirs.sum(dim=1), rtol=1e-4, atol=1e-5)
    assert "3 channels averaged for" in report.reasons["backbone.stem.0.weight"]


def test_weights_of_flow_stay_as_they_are_for_flow() -> None:
    state, model = published_state(net(modality="flow")), net(modality="flow")
    assert not load_published(model, state).adapted
    assert same(model, state)


@pytest.mark.parametrize(("inflation", "factor"), [("divide", 1.0), ("copy", 7.0)])
def test_kernels_of_pictures_are_spread_over_time(
    monkeypatch: pytest.MonkeyPatch, inflation: Any, factor: float
) -> None:
    use(monkeypatch, Layout(name="inflated", rules=LAYOUT.rules, inflated=True, **FACTS))
    source = net(backbone="resnet18")
    model = net(backbone="resnet3d_18", num_classes=4)
    report = load_published(model, published_state(source), inflation=inflation)
    kernel, ours = source.get_parameter("backbone.stem.0.weight"), model.get_parameter("backbone.stem.0.weight")
    assert ours.shape == (*kernel.shape[:2], 7, *kernel.shape[2:])
    torch.testing.assert_close(ours.sum(dim=2), kernel * factor)
    assert report.reasons["backbone.stem.0.weight"].startswith("spread over 7 time steps")
    assert "backbone.layer2.0.downsample.0.weight" in report.loaded  # one time step: nothing to divide


def test_kernels_without_time_are_refused_where_the_layout_knows_none() -> None:
    with pytest.raises(UserError, match=r"in the file, \(8, 3, 7, 7, 7\) in the network"):
        load_published(net(backbone="resnet3d_18"), published_state(net(backbone="resnet18")))


def test_a_classifier_may_be_a_convolution() -> None:
    state, model = published_state(net()), net()
    report = load_published(model, {**state, "fc.weight": state["fc.weight"][..., None, None, None]})
    assert torch.equal(model.classifier.weight, state["fc.weight"])
    assert "classifier.weight" in report.loaded


def test_other_variants_are_built_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def family(shapes: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any] | None:
        return {"family": "torchvision"} if "stem.0.weight" in shapes else None

    use(monkeypatch, Layout(name="variant", rules=LAYOUT.rules, options=family, **FACTS))
    source, model = net(backbone_options={"family": "torchvision"}), net()
    assert model.config["backbone_options"]["family"] == "ig65m"
    report = load_published(model.eval(), published_state(source))
    x_NCTHW = torch.randn(1, 3, 8, 32, 32)
    assert torch.equal(model(x_NCTHW), source.eval()(x_NCTHW))
    assert model.config == source.config
    assert report.notes == ["the backbone becomes the variant with family = 'torchvision' (it was 'ig65m')"]
    assert not load_published(source, published_state(source)).notes


def test_of_layouts_with_the_same_keys_the_fitting_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    inflated = Layout(name="a", rules=LAYOUT.rules, inflated=True, **FACTS)
    never = Layout(name="b", rules=LAYOUT.rules, options=lambda shapes, options: None, **FACTS)
    use(monkeypatch, never, inflated, LAYOUT)
    frames, clips = net(backbone="resnet18"), net(backbone="resnet3d_18")
    assert load_published(net(backbone="resnet3d_18"), published_state(frames)).layout == "a"
    assert load_published(net(backbone="resnet3d_18"), published_state(clips)).layout == "toy"
    assert load_published(net(backbone="resnet18"), published_state(frames), "toy").layout == "toy"
    with pytest.raises(UserError, match=r"do not fit this network: read as b: their shapes"):
        load_published(net(backbone="resnet18"), published_state(frames), "b")
    with pytest.raises(UserError, match=r"There is no layout of weights 'tov'\. Did you mean toy\?"):
        load_published(net(), published_state(frames), "tov")


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


def test_the_input_is_what_the_weights_expect(monkeypatch: pytest.MonkeyPatch) -> None:
    use(
        monkeypatch,
        Layout(name="bytes", rules=LAYOUT.rules, normalization={"rgb": ACTIVITYNET, "flow": BYTE_FLOW}, **FACTS),
    )
    model = net(modality="flow", flow_stack=2)
    report = load_published(model, published_state(net()))
    assert (model.spec.mean, model.spec.value_range) == ((127.5,) * 4, (0.0, 255.0))
    assert report.notes == [
        "the input becomes what the weights expect: 0 to 255, mean 127.5 127.5 127.5 127.5, deviation 1 1 1 1"
    ]


def test_nothing_is_made_where_there_are_only_shapes() -> None:
    state = {key: tensor.to("meta") for key, tensor in published_state(net()).items()}
    with torch.device("meta"):
        model = net(modality="flow")
    assert load_published(model, state).adapted == ["backbone.stem.0.weight"]


def test_layouts_have_unique_names_and_all_facts() -> None:
    for layout in layouts():
        assert layout.rules
        assert layout.source
        assert layout.licence
        assert layout.url
