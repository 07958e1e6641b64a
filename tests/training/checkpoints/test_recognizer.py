"""Checkpoints: what comes back, what is refused and in which words, and that a file is whole or not there."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kinebert.preprocessing.errors import UserError
from kinebert.training.checkpoints.recognizer import (
    FORMAT_VERSION,
    KIND,
    check_shards,
    load_plain,
    load_recognizer,
    save_plain,
    save_recognizer,
)
from kinebert.training.models import Recognizer, build_recognizer
from tests.helpers.fake_shards import FakeShards, FakeVideo
from tests.helpers.paths import ROOT


@dataclass
class FlowShards(FakeShards):
    """A set without videos: a checkpoint does not look at them."""

    videos: list[FakeVideo] = field(default_factory=list)
    uri: str = "/data/flow"
    modality: str = "flow"
    recipe: dict[str, Any] = field(default_factory=lambda: {"width": 340, "tvl1": {"tau": 0.25}})
    digest: str = "0123456789ab"
    classes: list[str] = field(default_factory=lambda: ["wave", "öffnen", "push (left)"])


def network(**options: Any) -> Recognizer:
    plain: dict[str, Any] = {"backbone": "resnet18", "modality": "flow", "num_classes": 3, "clip_length": 4}
    return build_recognizer(**plain | {"size": 32, "width": 0.125} | options)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[str, Recognizer]:
    torch.manual_seed(0)
    net = network(frame_size=(171, 128), num_layers=2)
    net.train()(torch.randn(2, 2, 4, 32, 32))  # moves the running statistics
    uri = str(tmp_path / "best.pt")
    metrics = {"val_top1": 0.75, "val_loss": 0.1}
    save_recognizer(uri, net, FlowShards(), epoch=7, metrics=metrics, extra={"git": "abc", "order": [1, 2]})
    return uri, net


def test_what_was_saved_comes_back(saved: tuple[str, Recognizer]) -> None:
    uri, net = saved
    again, info = load_recognizer(uri)
    x = torch.randn(2, 2, 4, 32, 32)
    assert not again.training
    assert torch.equal(again(x), net.eval()(x))
    assert again.config == net.config == info.config
    assert again.spec == net.spec == info.spec
    assert info.classes == ("wave", "öffnen", "push (left)")
    assert (info.epoch, info.metrics, info.digest) == (7, {"val_top1": 0.75, "val_loss": 0.1}, "0123456789ab")
    assert info.recipe == FlowShards().recipe
    assert info.extra == {"git": "abc", "order": [1, 2]}
    check_shards(uri, info, FlowShards())


def test_it_is_read_without_torchs_compiler(saved: tuple[str, Recognizer]) -> None:
    """Which takes seconds to import, and torch would for a network that is built to be looked at."""
    code = (
        "import sys; from kinebert.training.checkpoints.recognizer import load_recognizer; "
        "load_recognizer(sys.argv[1]); print([name for name in ('sympy', 'torch._dynamo') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, saved[0]], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_first_checkpoints_named_a_stem_otherwise(saved: tuple[str, Recognizer]) -> None:
    uri, net = saved
    content = load_plain(uri, KIND, FORMAT_VERSION)
    weights = content["state_dict"]
    for now, before in (("stem.0", "conv1"), ("stem.1", "bn1")):
        for name in [name for name in weights if name.startswith(f"backbone.{now}.")]:
            weights[name.replace(now, before)] = weights.pop(name)
    save_plain(uri, content, KIND, FORMAT_VERSION)
    x = torch.randn(1, 2, 4, 32, 32)
    assert torch.equal(load_recognizer(uri)[0](x), net.eval()(x))


def test_the_spec_is_that_of_the_file_not_of_the_code(saved: tuple[str, Recognizer]) -> None:
    """A later version may normalise otherwise by default; old weights keep what they were trained with."""
    uri, net = saved
    net.spec = replace(net.spec, mean=(0.1, 0.2))
    save_recognizer(uri, net, FlowShards(), epoch=7, metrics={})
    assert load_recognizer(uri)[0].spec.mean == (0.1, 0.2)


def test_any_torch_reads_it_without_running_code(saved: tuple[str, Recognizer]) -> None:
    content = torch.load(saved[0], weights_only=True)
    assert content["kind"] == KIND
    weights = content.pop("state_dict")
    assert weights.keys() == saved[1].state_dict().keys()
    assert json.loads(json.dumps(content))["config"] == saved[1].config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": [f"c{i}" for i in range(51)]}, r"has 3 classes, the shard set /data/flow has 51\. Give the set"),
        (
            {"classes": ["wave", "push (left)", "öffnen"]},
            r"class 1 is 'öffnen' in the checkpoint and 'push \(left\)' in the set \(2 of 3 differ\)",
        ),
        ({"modality": "rgb"}, r"the checkpoint takes flow, the shard set /data/flow holds rgb"),
        (
            {"digest": "x", "recipe": {"width": 171, "tvl1": {"tau": 0.25}}},
            r"another recipe .*\(checkpoint != set\): width: 340 != 171\. Extract",
        ),
        ({"digest": "x"}, r"digest: '0123456789ab' != 'x'"),
    ],
)
def test_other_shards_are_refused_with_the_difference(
    saved: tuple[str, Recognizer], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        check_shards(saved[0], load_recognizer(saved[0])[1], replace(FlowShards(), **change))
    assert str(caught.value).startswith(saved[0])
    assert "\n" not in str(caught.value)


def rewrite(uri: str, **change: Any) -> None:
    content = load_plain(uri, KIND, FORMAT_VERSION)
    save_plain(uri, content | change, KIND, FORMAT_VERSION)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"not a kinebert checkpoint, but other data \(0 bytes\)"),
        (b"label,path\n", r"not a kinebert checkpoint, but other data \(11 bytes\)"),
        (b"PK\x03\x04" + bytes(64), r"not a kinebert checkpoint, but a damaged file"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_recognizer(str(path))


def test_a_cut_file_is_refused(saved: tuple[str, Recognizer]) -> None:
    path = Path(saved[0])
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 100):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match=f"a damaged file.*{size} bytes"):
            load_recognizer(saved[0])


class Stranger:
    """Something that is not plain."""


def test_foreign_torch_files_are_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "x.pt")
    for content, message in (
        ({"state_dict": {}}, "a PyTorch file of another program"),
        ([1, 2], "a PyTorch file of another program"),
        ({"a": np.float64(1)}, "more than tensors and plain values"),
        ({"kind": "kinebert training state"}, "not a kinebert checkpoint, but a kinebert training state"),
        ({"kind": KIND, "format": 99}, "format 99, this version reads 1"),
    ):
        torch.save(content, path)
        with pytest.raises(UserError, match=message) as caught:
            load_recognizer(path)
        assert "\n" not in str(caught.value)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no\.pt: cannot read the checkpoint: there is no such file"):
        load_recognizer(str(tmp_path / "no.pt"))
    with pytest.raises(UserError, match="cannot read the checkpoint"):
        load_recognizer(str(tmp_path))


def test_checkpoints_that_contradict_themselves_are_refused(saved: tuple[str, Recognizer]) -> None:
    uri, net = saved
    rewrite(uri, config=net.config | {"backbone": "resnet19"})
    with pytest.raises(UserError, match=r"cannot build the checkpoint's network: There is no backbone 'resnet19'"):
        load_recognizer(uri)
    rewrite(uri, config=net.config | {"num_classes": 4})
    with pytest.raises(UserError, match=r"weights do not fit its own network: .*classifier\.weight") as caught:
        load_recognizer(uri)
    assert "\n" not in str(caught.value)
    rewrite(uri, config=net.config, state_dict=None)
    with pytest.raises(UserError, match="has no weights"):
        load_recognizer(uri)
    rewrite(uri, epoch="seven")
    with pytest.raises(UserError, match="epoch: expected int, got 'seven'"):
        load_recognizer(uri)


def test_a_network_that_the_file_has_no_weights_for_takes_no_memory(saved: tuple[str, Recognizer]) -> None:
    uri, net = saved
    for huge in ({"num_classes": 10**12}, {"width": 100_000.0}):  # no machine could hold these
        rewrite(uri, config=net.config | huge)
        with pytest.raises(UserError, match="weights do not fit its own network"):
            load_recognizer(uri)


ABSURD: dict[str, tuple[dict[str, Any], str]] = {
    "layers": ({"num_layers": 100_000}, "num_layers must be at most 256, got 100000"),
    "layers beyond numbers": ({"num_layers": 10**30}, "num_layers must be at most 256"),
    "width": ({"width": 1e6}, ""),
    "width beyond numbers": ({"width": 1e300}, ""),
    "classes beyond numbers": ({"num_classes": 2**62}, ""),
    "a word for a width": ({"width": "x"}, ""),
}


@pytest.mark.parametrize("kind", ABSURD)
def test_absurdly_large_networks_are_refused_before_they_are_built(kind: str, saved: tuple[str, Recognizer]) -> None:
    changes, reason = ABSURD[kind]
    content = torch.load(saved[0], weights_only=True)
    content["config"].update(changes)
    torch.save(content, saved[0])
    began = time.process_time()
    with pytest.raises(UserError, match=rf"best\.pt: .*{reason}") as told:
        load_recognizer(saved[0])
    assert "\n" not in str(told.value)
    assert time.process_time() - began < 10  # a hundred thousand layers take minutes


@pytest.mark.parametrize("value", [np.float64(1), np.zeros(2), {1, 2}, Stranger(), {(1, 2): 3}])
def test_what_could_not_be_read_back_is_not_written(saved: tuple[str, Recognizer], value: Any) -> None:
    before = Path(saved[0]).read_bytes()
    with pytest.raises(TypeError, match=r"content\.extra\.x"):
        save_recognizer(saved[0], saved[1], FlowShards(), epoch=8, metrics={}, extra={"x": value})
    assert Path(saved[0]).read_bytes() == before


def test_a_failed_write_leaves_the_old_file(saved: tuple[str, Recognizer], monkeypatch: pytest.MonkeyPatch) -> None:
    uri, net = saved
    before = Path(uri).read_bytes()

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(UserError, match="cannot write the checkpoint: no space is left"):
        save_recognizer(uri, net, FlowShards(), epoch=8, metrics={})
    assert Path(uri).read_bytes() == before
    assert [path.name for path in Path(uri).parent.iterdir()] == ["best.pt"]


def test_a_missing_folder_is_named(saved: tuple[str, Recognizer], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no/best\.pt: cannot write the checkpoint: there is no such file or folder"):
        save_recognizer(str(tmp_path / "no" / "best.pt"), saved[1], FlowShards(), epoch=1, metrics={})


def test_nested_state_keeps_its_shape(tmp_path: Path) -> None:
    uri = str(tmp_path / "state.pt")
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(3))])
    optimizer.param_groups[0]["params"][0].grad = torch.ones(3)
    optimizer.step()
    save_plain(uri, {"optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()}, "kinebert training state", 3)
    state = load_plain(uri, "kinebert training state", 3)
    assert state.keys() == {"optimizer", "rng"}
    assert state["optimizer"]["param_groups"] == optimizer.state_dict()["param_groups"]
    assert torch.equal(state["optimizer"]["state"][0]["exp_avg"], torch.full((3,), 0.1))
