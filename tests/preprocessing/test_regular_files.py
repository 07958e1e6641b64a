"""A pipe, a socket or a device in the place of a file is refused at once, by every reader."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from kinebert.preprocessing import storage
from kinebert.preprocessing.config import read_toml
from kinebert.preprocessing.datasets.list_text import read_text
from kinebert.preprocessing.datasets.manifest import read_manifest
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.folder_lock import EXTRACTION, held
from kinebert.preprocessing.sets.dataset_file import read_dataset_file
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.video.probe import probe_video

READERS: dict[str, Callable[[str], object]] = {
    "bytes": storage.read_bytes,
    "digest": storage.file_digest,
    "random reads": storage.open_input,
    "a recipe": read_toml,
    "a list": read_text,
    "a manifest": read_manifest,
}


def in_time(read: Callable[[], object]) -> object:
    """Return what ``read`` raises or returns; fails if it waits."""
    found: list[object] = []

    def work() -> None:
        try:
            found.append(read())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(20)
    assert found, "it waits for a writer"
    return found[0]


@pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())
def test_no_reader_waits_for_a_pipe(read: Callable[[str], object], tmp_path: Path) -> None:
    path = tmp_path / "file"
    os.mkfifo(path)
    error = in_time(lambda: read(str(path)))
    assert isinstance(error, UserError)
    assert "named pipe" in str(error)
    assert str(path) in str(error)


def test_sockets_devices_and_folders_are_no_files(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        with pytest.raises(UserError, match="socket"):
            storage.read_bytes(str(path))
    with pytest.raises(UserError, match="device"):
        storage.read_bytes("/dev/zero")
    with pytest.raises(UserError, match="this is a folder"), storage.explained(str(tmp_path), "read"):
        storage.read_bytes(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(str(tmp_path / "none"))


def test_a_link_to_a_file_is_a_file_and_one_to_a_pipe_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    assert storage.read_bytes(str(tmp_path / "link")) == b"x"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-pipe").symlink_to("pipe")
    with pytest.raises(UserError, match="named pipe"):
        storage.read_bytes(str(tmp_path / "to-pipe"))


def test_a_pipe_in_the_place_of_a_mark_is_written_over_and_one_in_that_of_a_lock_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".running.json")

    def hold() -> bool:
        with held(str(tmp_path), EXTRACTION):
            return (tmp_path / ".running.json").is_file()

    assert in_time(hold) is True
    os.mkfifo(tmp_path / ".running.lock")
    error = in_time(hold)
    assert isinstance(error, UserError)
    assert "named pipe" in str(error)


def test_no_set_waits_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dataset.json")
    for read in (read_dataset_file, ShardSet.open):
        error = in_time(lambda read=read: read(str(tmp_path)))  # type: ignore[misc]
        assert isinstance(error, UserError)
        assert "named pipe" in str(error)


def test_a_pipe_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    os.mkfifo(path)
    facts = in_time(lambda: probe_video(str(path)))
    assert "named pipe" in str(facts.problem)  # type: ignore[attr-defined]


def test_a_new_lock_file_is_as_the_umask_wants_it(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        os.close(storage.open_regular(tmp_path / "new", os.O_CREAT | os.O_RDWR))
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640
