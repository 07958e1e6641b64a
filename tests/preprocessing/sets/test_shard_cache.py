"""Shards that come over a network are kept on the node: once fetched, read from there, and never believed blindly."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.fetching.sources import Sources
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets import shard_cache
from kinebert.preprocessing.sets.reader import ShardSet
from tests.helpers.sets import make_rows, make_set


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """Four videos in four shards, on a disk of this machine."""
    folder = tmp_path_factory.mktemp("cache")
    rows = make_rows(folder / "videos", [6, 40, 6, 6])
    return make_set(rows, folder / "set", FrameRecipe(width=48, height=32), videos_per_shard=1)


@pytest.fixture
def far(near: ShardSet, tmp_path: Path) -> ShardSet:
    """The same on an object store."""
    uri = f"mock:///{tmp_path.name}/set"
    storage.make_folder(uri)
    fs, path = storage.open_filesystem(uri)
    pafs.copy_files(near.uri, path, source_filesystem=pafs.LocalFileSystem(), destination_filesystem=fs)
    return ShardSet.open(uri)


@pytest.fixture
def read_from(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every file that is read, as it is read."""
    seen: list[str] = []
    read = Sources.read

    def watched(self: Sources, uri: str, file_bytes: int, start: int, num_bytes: int) -> pa.Buffer:
        seen.append(uri)
        return read(self, uri, file_bytes, start, num_bytes)

    monkeypatch.setattr(Sources, "read", watched)
    return seen


def read_all(found: ShardSet, near: ShardSet) -> None:
    for entry in near.videos:
        indices = [0, entry.num_images - 1]
        np.testing.assert_array_equal(found.read_clip(entry, indices), near.read_clip(entry, indices))
    if found._files.cache is not None:
        found._files.cache.wait()


def kept(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def test_what_is_expected_has_been_fetched_when_it_is_read(far: ShardSet, near: ShardSet, read_from: list[str]) -> None:
    assert (far.is_far, near.is_far) == (True, False)
    entry = far.entry("class1/v01")
    for _ in range(2):
        far.expect(entry, [0, 35, 39])
    assert len(far._files._ahead) == 1
    before = near.read_clip(entry, [35])
    read_from.clear()
    np.testing.assert_array_equal(far.read_clip(entry, [0, 35])[1:], before)
    assert len([uri for uri in read_from if uri.startswith("mock:")]) <= 1, "neighbours are one request"
    near.expect(entry, [0])
    assert len(near._files._ahead) == 0, "a disk of this machine is not waited for"


def test_what_nobody_reads_is_let_go(far: ShardSet) -> None:
    for i in range(200):
        far.expect(far.videos[i % 4], [0])
        far._files._ahead[f"x{i}", 0, 1] = far._files._ahead.popitem()[1]
    assert len(far._files._ahead) <= 65


def test_later_epochs_are_read_from_the_node(
    far: ShardSet, near: ShardSet, read_from: list[str], tmp_path: Path
) -> None:
    far.keep_shards(str(tmp_path / "kept"), 10**9)
    read_all(far, near)
    assert sorted(path.name for path in kept(tmp_path / "kept")) == sorted(s.sha256 for s in near.dataset.shards)
    again: ShardSet = pickle.loads(pickle.dumps(far))  # as after a restart, or in another process
    for found in (far, again):
        read_from.clear()
        read_all(found, near)
        assert not any(uri.startswith("mock:") for uri in read_from)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [flip, lambda path: path.write_bytes(path.read_bytes()[:99]), Path.unlink])
def test_a_kept_shard_that_changed_is_fetched_again(
    far: ShardSet, near: ShardSet, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    far.keep_shards(str(tmp_path / "kept"), 10**9)
    read_all(far, near)
    for path in kept(tmp_path / "kept"):
        harm(path)
    again: ShardSet = pickle.loads(pickle.dumps(far))
    read_all(again, near)
    read_all(again, near)
    for path in kept(tmp_path / "kept"):
        assert storage.file_digest(str(path)) == path.name


def test_bytes_without_the_recorded_digest_are_not_kept(
    far: ShardSet, near: ShardSet, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shard = near.dataset.shards[0].name
    data = bytearray(storage.read_bytes(storage.join(far.uri, shard)))
    data[-100] ^= 1  # in the footer, where no checksum of a page sees it
    storage.write_bytes(storage.join(far.uri, shard), bytes(data))
    far.keep_shards(str(tmp_path / "kept"), 10**9)
    read_all(far, near)
    assert len(kept(tmp_path / "kept")) == 3
    assert f"{shard} is not kept there: " in capfd.readouterr().out


def test_of_a_set_that_is_too_large_a_part_is_kept(far: ShardSet, near: ShardSet, tmp_path: Path) -> None:
    sizes = [shard.bytes for shard in near.dataset.shards]
    far.keep_shards(str(tmp_path / "kept"), sizes[0] + sizes[1])
    for _ in range(3):
        read_all(far, near)
        assert {path.name for path in kept(tmp_path / "kept")} == {s.sha256 for s in near.dataset.shards[:2]}


def test_a_full_disk_ends_the_keeping_and_nothing_else(
    far: ShardSet, near: ShardSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.ftruncate", full)
    far.keep_shards(str(tmp_path / "kept"), 10**9)
    read_all(far, near)
    read_all(far, near)
    assert capfd.readouterr().out.count("No space left on device") < 5
    assert kept(tmp_path / "kept") == []


def test_a_folder_on_a_server_is_refused(far: ShardSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_cache, "is_on_this_machine", lambda path: False)
    monkeypatch.setattr(shard_cache, "filesystem_of", lambda path: "nfs4")
    with pytest.raises(ConfigError, match=r"data\.cache_folder: .*/kept lies on nfs4, not on a disk of this node"):
        far.keep_shards(str(tmp_path / "kept"), 1)


def test_a_folder_that_others_can_write_to_is_refused(far: ShardSet, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(UserError, match="must be a folder of your own"):
        far.keep_shards(str(tmp_path / "open"), 1)


def test_a_folder_without_a_size_is_refused(near: ShardSet) -> None:
    with pytest.raises(ConfigError, match=r"data\.cache_folder is given without data\.cache_gib"):
        near.keep_shards("/cache", 0)


def test_a_set_on_a_disk_of_the_node_is_not_copied(near: ShardSet, tmp_path: Path) -> None:
    copy = ShardSet.open(str(shutil.copytree(near.uri, tmp_path / "set")))
    copy.keep_shards(str(tmp_path / "kept"), 10**9)
    read_all(copy, near)
    assert not (tmp_path / "kept").exists()
