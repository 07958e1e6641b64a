"""I3D and SlowFast in every combination of the BERT papers, against a plain reading of the published networks."""

import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kinebert.preprocessing.errors import UserError
from kinebert.training.models import Recognizer, build_recognizer, load_published
from tests.helpers import published_paths as plain


@pytest.fixture(autouse=True)
def _inference() -> Any:
    with torch.inference_mode():
        yield


def network(backbone: str, head: str, reduction: str | None = None, **changes: Any) -> Recognizer:
    config = {"num_classes": plain.NUM_CLASSES, "clip_length": 64, "size": 32, "width": 0.125}
    return build_recognizer(backbone=backbone, head=head, reduction=reduction, **{**config, **changes}).eval()


def clips(channels: int = 3, frames: int = 64) -> Tensor:
    return torch.randn(2, channels, frames, 32, 32, generator=torch.Generator().manual_seed(1))


def error(net: Recognizer, x_NCTHW: Tensor, theirs_NK: Tensor) -> float:
    """Return the largest difference over the deviation, of both clips at once and of the first by itself."""
    ours, alone = net(x_NCTHW), net(x_NCTHW[:1])
    return float(max((ours - theirs_NK).abs().max(), (alone - theirs_NK[:1]).abs().max()) / theirs_NK.std())


@pytest.mark.parametrize("modality", ["rgb", "flow"])
@pytest.mark.parametrize(
    ("reduction", "head"), [(None, "tgap"), (None, "bert"), ("frab", "bert"), ("frmb", "bert")], ids=str
)
def test_i3d_is_the_published_one(modality: str, reduction: str | None, head: str) -> None:
    channels = 3 if modality == "rgb" else 2
    state = plain.make_state(plain.i3d_shapes(reduction, head == "bert", channels))
    net = network("i3d", head, reduction, modality=modality)
    report = load_published(net, state)
    assert report.layout == "artest08_i3d"
    assert len(report.loaded) == len(state) == len(net.state_dict())
    assert not any((report.adapted, report.reinitialized, report.missing, report.unexpected, report.ignored))
    assert error(net, clips(channels), plain.i3d(state, clips(channels))) < 1e-5  # measured 3e-6


@pytest.mark.parametrize(
    ("reduction", "fusion", "layout"),
    [
        (None, None, "artest08_slowfast"),
        ("frab", "late", "artest08_slowfast"),
        ("frab", "early", "artest08_slowfast"),
        ("frmb", "late", "artest08_slowfast_frmb"),
        ("frmb", "early", "artest08_slowfast_frmb"),
    ],
)
def test_slowfast_is_the_published_one(reduction: str | None, fusion: str | None, layout: str) -> None:
    state = plain.make_state(plain.slowfast_shapes(reduction, fusion))
    net = network("slowfast_50", f"bert_{fusion}" if fusion else "tgap", reduction)
    report = load_published(net, state)
    assert report.layout == layout
    assert len(report.loaded) == len(net.state_dict()) == len(state) - len(report.ignored)
    assert not any((report.adapted, report.reinitialized, report.missing, report.unexpected))
    assert {"model.head.projection.weight", "model.head.projection.bias"} <= set(report.ignored)
    twice = {key for key in state if re.match(r"model\.s5\.pathway\d_res2\.(conv|bn|downsample)", key)}
    assert twice <= set(report.ignored), "blocks that have two names are named once as such"
    assert error(net, clips(), plain.slowfast(state, clips())) < 1e-5  # measured 3e-6


def caffe2_name(key: str) -> str | None:
    """Return what Caffe2 calls the PySlowFast tensor ``key``; None for what it does not have."""
    if key.endswith("num_batches_tracked"):
        return None
    name, _, part = key.rpartition(".")
    path = "t_" if "pathway1" in name else ""
    norm = {"weight": "bn_s", "bias": "bn_b", "running_mean": "bn_rm", "running_var": "bn_riv"}[part]
    if name == "head.projection":
        return f"pred_{part[0]}"
    if "_stem" in name:
        return f"{path}conv1_w" if name.endswith(".conv") else f"{path}res_conv1_{norm}"
    if "_fuse" in name:
        stage = int(name[1])
        source = f"t_res{stage}_{plain.BLOCKS[stage - 2] - 1}_branch2c_bn" if stage > 1 else "t_pool1"
        return f"{source}_subsample_{'w' if name.endswith('conv_f2s') else norm}"
    block = f"{path}res{name[1]}_{name.split('_res')[1][0]}_branch"
    branch = name.split(".branch")[1].replace(".", "")
    return f"{block}{branch.removesuffix('_bn')}_{norm if branch.endswith('_bn') else 'w'}"


def caffe2_state(kernel: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the weights of a SlowFast by PySlowFast's names, and by Caffe2's beside what a training leaves."""
    state = plain.make_state(plain.pyslowfast_shapes(kernel=kernel))
    blobs = {name: tensor for key, tensor in state.items() if (name := caffe2_name(key))}
    training = {f"{name}_momentum": tensor for name, tensor in blobs.items() if name.endswith(("_w", "_s", "_b"))}
    return state, {**blobs, **training, "lr": torch.tensor([0.1]), "model_iter": torch.tensor([196])}


@pytest.mark.parametrize(("kernel", "alpha"), [(7, 4), (5, 8)], ids=["8x8", "4x16"])
@pytest.mark.parametrize("form", ["pyth", "caffe2"])
def test_pyslowfast_in_both_forms(form: str, kernel: int, alpha: int, tmp_path: Path) -> None:
    state, blobs = caffe2_state(kernel)
    net = network("slowfast_50", "tgap", clip_length=32)
    if form == "pyth":
        file = tmp_path / "SLOWFAST.pyth"
        torch.save({"epoch": 3, "model_state": state, "optimizer_state": {}, "cfg": "TRAIN: ..."}, file)
        report = load_published(net, file)
        assert not report.ignored
    else:
        file = tmp_path / "SLOWFAST.pkl"
        file.write_bytes(pickle.dumps({"blobs": {name: blob.numpy() for name, blob in blobs.items()}}, protocol=2))
        report = load_published(net, file)
        assert len(report.ignored) == len(blobs) - sum(map(bool, map(caffe2_name, state)))
    assert report.layout == {"pyth": "pyslowfast", "caffe2": "pyslowfast_caffe2"}[form]
    assert not any((report.adapted, report.reinitialized, report.missing, report.unexpected))
    assert net.config["backbone_options"]["picking"] == "linspace"
    assert net.config["backbone_options"]["alpha"] == alpha

    x_NCTHW = clips(frames=32)
    indices = {4: [0, 4, 8, 13, 17, 22, 26, 31], 8: [0, 10, 20, 31]}[alpha]
    paths = plain.slowfast_paths(state, x_NCTHW[:, :, indices], x_NCTHW, alpha=alpha)
    pooled = torch.cat([path.mean(dim=(2, 3, 4)) for path in paths], dim=1)
    theirs = pooled @ state["head.projection.weight"].T + state["head.projection.bias"]
    assert error(net, x_NCTHW, theirs) < 1e-5  # measured 2e-6


def test_frames_that_were_asked_for_stay_so() -> None:
    net = network("slowfast_50", "bert_late", "frab", backbone_options={"picking": "stride"})
    report = load_published(net, plain.make_state(plain.pyslowfast_shapes(num_classes=400)))
    assert net.config["backbone_options"]["picking"] == "stride"
    assert {name.split(".")[0] for name in report.reinitialized} == {"backbone", "head", "classifier"}
    assert all("mapper.slow" in name for name in report.reinitialized if name.startswith("backbone"))


def test_weights_for_frames_fill_a_network_for_flow() -> None:
    net = network("slowfast_50", "bert_early", "frmb", modality="flow", flow_stack=5)
    report = load_published(net, plain.make_state(plain.pyslowfast_shapes(num_classes=400)))
    assert report.adapted == ["backbone.slow.stem.0.weight", "backbone.fast.stem.0.weight"]
    assert {name.rpartition("res5.2")[0] for name in report.reinitialized if name.startswith("backbone")} == {
        "backbone.slow.",
        "backbone.fast.",
    }
    assert net(clips(10)).isfinite().all()


def test_a_file_of_another_reduction_is_refused() -> None:
    frmb = plain.make_state(plain.slowfast_shapes("frmb", "late"))
    with pytest.raises(UserError, match=r"read as artest08_slowfast_frmb, the weights do not fit slowfast_50 \+ frab"):
        load_published(network("slowfast_50", "bert_late", "frab"), frmb)
    frab = plain.make_state(plain.slowfast_shapes("frab", "late"))
    with pytest.raises(UserError, match=r"read as artest08_slowfast, the weights do not fit slowfast_50 \+ frmb"):
        load_published(network("slowfast_50", "bert_late", "frmb"), frab)
