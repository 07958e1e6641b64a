"""Files of PyTorch take no more than they hold."""

import io
import time
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.preprocessing.checked.torch_files import ExcessiveError, load_bytes
from kinebert.preprocessing.errors import UserError
from kinebert.training.checkpoints.recognizer import load_recognizer
from kinebert.training.models.weights.files import read_content


def written(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def packed(data: bytes, compression: int, more: int = 0) -> bytes:
    """A file's records in another archive, with a further one of so many zeros."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", compression) as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
        if more:
            new.writestr("archive/data/9", bytes(more))
    return buffer.getvalue()


def claimed(data: bytes, size: int) -> bytes:
    """The same file, whose directory says that its largest record has so many bytes."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
    old, new = largest.file_size.to_bytes(4, "little"), size.to_bytes(4, "little")
    at = data.rindex(largest.filename.encode()) - 46  # its entry in the directory: the size lies at byte 24 of 46
    assert data[at + 24 : at + 28] == old
    return data[: at + 24] + new + data[at + 28 :]


SPARSE = torch.sparse_coo_tensor(torch.tensor([[0], [0]]), torch.tensor([1.0]), (10**9, 10**9), check_invariants=True)
BOMBS = {
    "zeros": lambda: packed(written({"a": torch.ones(9)}), zipfile.ZIP_DEFLATED, 100 * 2**20),
    "lzma": lambda: packed(written({"a": torch.ones(9)}), zipfile.ZIP_LZMA, 100 * 2**20),
    "a size that is not true": lambda: claimed(written({"a": torch.ones(10_000)}), 2**31),
    "a view": lambda: written({"a": torch.ones(1).expand(10**6, 10**6)}),
    "a view deep inside": lambda: written({"a": [{"b": (torch.ones(1).expand(10**6, 10**6),)}]}),
    "no numbers": lambda: written({"a": torch.ones(10**6, 10**6, device="meta")}),
    "sparse": lambda: written({"a": SPARSE}),
}


@cache  # seconds, for what LZMA packs
def made(bomb: str) -> bytes:
    return BOMBS[bomb]()


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("read", [read_content, load_recognizer])
def test_what_would_take_more_than_it_holds_is_refused(
    bomb: str, read: Callable[[str], object], tmp_path: Path
) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(made(bomb))
    start = time.monotonic()
    with pytest.raises(UserError, match=r"w\.pt: refused: it (would unpack|holds a tensor)") as caught:
        read(str(path))
    assert time.monotonic() - start < 5  # a second is usual; unpacking would take memory first
    assert "\n" not in str(caught.value)


def test_a_small_file_that_somebody_has_compressed_is_read() -> None:
    assert load_bytes(packed(written({"a": torch.ones(9)}), zipfile.ZIP_DEFLATED))["a"].sum() == 9


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_that_share_their_numbers_are_read(legacy: bool) -> None:
    weight = torch.arange(12.0).reshape(3, 4)
    buffer = io.BytesIO()
    content = {"a": weight, "tied": weight, "turned": weight.T, "part": weight[1:], "none": torch.empty(0)}
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    found = load_bytes(buffer.getvalue())
    assert all(torch.equal(found[name], content[name]) for name in content)


def test_a_list_of_lists_of_lists_takes_no_time() -> None:
    lists: list[Any] = [0]
    for _ in range(50):
        lists = [lists] * 10
    assert len(load_bytes(written({"a": lists}))["a"]) == 10


def test_a_legacy_file_that_claims_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"a": torch.arange(10.0)}, buffer, _use_new_zipfile_serialization=False)
    path = tmp_path / "w.pth"
    path.write_bytes(buffer.getvalue().replace(b"K\n", b"J" + (2**30).to_bytes(4, "little")))
    with pytest.raises(UserError, match="damaged"):
        read_content(str(path))


def test_the_error_is_one_of_values() -> None:
    with pytest.raises(ExcessiveError, match="unpack to 100 MiB"):
        load_bytes(BOMBS["zeros"]())
