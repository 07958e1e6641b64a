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
