"""Files of weights: whoever wrote them, and what they must not do."""

import argparse
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kinebert.preprocessing.errors import UserError
from kinebert.training.models import load_published
from kinebert.training.models.weights.files import strip_prefixes
from tests.helpers.toy_weights import net, published_state, same

pytestmark = pytest.mark.usefixtures("toy_layout")


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


def _under(prefix: str) -> Callable[[dict[str, Any]], Any]:
    return lambda state: {f"{prefix}{key}": value for key, value in state.items()}


WRAPPED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "compiled": _under("_orig_mod."),
    "compiled, then in parallel": _under("module._orig_mod."),
    "in parallel, then compiled": _under("_orig_mod.module."),
    "Lightning": lambda state: {"state_dict": _under("model._orig_mod.")(state), "hyper_parameters": {"lr": 0.1}},
    "network": _under("network."),
    "a name of somebody's": _under("my_net.trunk."),
    "sharded": _under("_fsdp_wrapped_module."),
    "compiled inside": lambda state: {
        ".".join([key.split(".")[0], "_orig_mod", *key.split(".")[1:]]): v for key, v in state.items()
    },
    "averaged": lambda state: {"n_averaged": torch.tensor(3), **_under("module.")(state)},
    "ema": _under("ema.module."),
    "nested containers": lambda state: {"model": {"state_dict": _under("module.")(state)}, "epoch": 3},
    "everything at once": lambda state: {
        "state_dict": {"model_state": {"model": _under("module.net._orig_mod.model.")(state)}, "epoch": 3}
    },
    "the same the other way round": lambda state: {
        "model": {"model_state": {"state_dict": _under("net.module.")(state)}}
    },
    "settings under a usual name": lambda state: {"model": {"name": "r18", "model": {"depth": 18}}, "net": state},
    "a container of another name": lambda state: {"generator": state, "optimizer": {"state": {}}},
    "an epoch beside": lambda state: {**state, "epoch": 3},
    "itself": lambda state: state,
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED.keys())
def test_what_wrappers_put_around_weights_is_taken_off(wrap: Callable[[dict[str, Any]], Any], tmp_path: Path) -> None:
    state, model = published_state(net()), net()
    torch.save(wrap(dict(state)), tmp_path / "w.pth")
    load_published(model, tmp_path / "w.pth")
    assert same(model, state)


def test_what_lies_beside_a_wrapped_network_is_told_and_not_dropped() -> None:
    state = {**_under("model.")(dict(published_state(net()))), "criterion.weight": torch.ones(2)}
    with pytest.raises(UserError, match=r"criterion\.weight"):
        load_published(net(), state)
    report = load_published(net(), state, allow=("criterion.*",))
    assert report.unexpected == ["criterion.weight"]


def test_no_two_keys_become_one_and_what_is_not_wrapped_stays() -> None:
    both = {"model.a.w": torch.ones(1), "a.w": torch.zeros(1), "model.b": torch.ones(1)}
    assert strip_prefixes(both) == [both]
    assert [list(state) for state in strip_prefixes({"module.a": torch.ones(1)})] == [["module.a"], ["a"]]
    assert strip_prefixes({}) == [{}]


def test_weights_under_several_names_are_not_guessed_and_those_left_aside_are_told(tmp_path: Path) -> None:
    state = dict(published_state(net()))
    with pytest.raises(UserError, match="holds weights under 'one', 'two'"):
        load_published(net(), {"one": state, "two": state})
    report = load_published(net(), {"state_dict": state, "state_dict_ema": state})
    assert any("'state_dict_ema'" in note for note in report.notes)


def test_a_container_that_holds_itself_ends() -> None:
    content: dict[str, Any] = {}
    content["model"] = content
    with pytest.raises(UserError, match="holds no weights"):
        load_published(net(), content)
