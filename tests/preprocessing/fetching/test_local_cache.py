"""Files of a node that can be made again: whole or not there, within their bytes, shared by the user's processes."""

import fcntl
import multiprocessing
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import pytest

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.fetching.local_cache import LocalCache


def put(cache: LocalCache, name: str, data: bytes) -> Path | None:
    return cache.add(name, len(data), lambda file: file.write(data))


def names(cache: LocalCache) -> set[str]:
    return {path.name for path in cache.folder.iterdir()} - {".lock"}


def used_at(cache: LocalCache, name: str, second: int) -> None:
    os.utime(cache.folder / name, (second, second))


def test_a_file_is_found_under_its_name(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path / "cache", 100)
    assert cache.find("a") is None
    path = put(cache, "a", b"12345")
    assert path is not None
    assert path.read_bytes() == b"12345"
    assert LocalCache(tmp_path / "cache", 100).find("a") == path, "a later process finds it"
    assert put(cache, "a", b"12") == path
    assert path.read_bytes() == b"12", "replaced"
    cache.remove("a")
    assert cache.find("a") is None


def test_who_was_not_used_for_longest_makes_room(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path / "cache", 100)
    for second, name in enumerate("abc"):
        put(cache, name, bytes(30))
        used_at(cache, name, second)
    cache.find("a")  # is the last used now
    put(cache, "d", bytes(30))
    assert names(cache) == {"a", "c", "d"}
    assert sum(path.stat().st_size for path in cache.folder.iterdir()) <= 100
    assert put(cache, "large", bytes(101)) is None
    assert names(cache) == {"a", "c", "d"}, "nothing goes for what cannot come"


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path / "cache", 100)

    def fail(file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError("the network is gone")

    with pytest.raises(OSError, match="the network is gone"):
        cache.add("a", 10, fail)
    assert names(cache) == set()


def test_what_a_killed_writer_left_is_swept_and_taken_over(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path / "cache", 100)
    for name in (".a.partial", ".b.partial"):
        (cache.folder / name).write_bytes(bytes(60))
    path = put(cache, "a", b"whole")
    assert path is not None
    assert path.read_bytes() == b"whole"
    assert names(cache) == {"a"}


def test_nobody_writes_what_another_is_writing(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path / "cache", 100)
    with open(cache.folder / ".a.partial", "wb") as other:
        other.write(bytes(90))
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        assert put(cache, "a", b"x") is None
        assert put(cache, "b", bytes(20)) is None, "what is being written counts, and stays"
        assert put(cache, "b", bytes(10)) is not None
    assert put(cache, "a", b"x") is not None


def _fill(folder: str, number: int) -> None:
    cache = LocalCache(Path(folder), 1000)
    for i in range(40):
        name = f"{(i * 7 + number) % 13}"
        found = cache.find(name)
        if found is None:
            put(cache, name, name.encode() * (100 // len(name)))
        kept = {}
        with cache._alone():  # when room is made, and taken
            for path in map(Path, os.scandir(folder)):
                with suppress(FileNotFoundError):
                    status = path.stat()
                    kept[status.st_ino] = status.st_size  # what is renamed meanwhile may be met twice
        assert sum(kept.values()) <= 1000


def test_processes_share_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    others = [context.Process(target=_fill, args=(str(tmp_path / "cache"), number)) for number in range(3)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert [other.exitcode for other in others] == [0, 0, 0]
    for path in (tmp_path / "cache").glob("[0-9]*"):
        assert path.read_bytes() == path.name.encode() * (100 // len(path.name)), "whole"


def test_a_folder_of_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    with pytest.raises(UserError, match="cannot be used as a cache: it must be a folder of your own"):
        LocalCache(tmp_path / "cache", 1)
    assert LocalCache(tmp_path / "mine", 1).folder.stat().st_mode & 0o077 == 0
