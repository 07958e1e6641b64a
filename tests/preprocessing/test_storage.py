"""Files whole or not at all, on the local disk and on a filesystem that is not; paths as people type them."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import ConfigError, UserError

NAMES = ["plain", "with blanks (1)", "ünï 日本+!#%?"]


@pytest.fixture(params=["local", "mock"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder on the local disk, and one in pyarrow's filesystem in memory."""
    uri = str(tmp_path) if request.param == "local" else f"mock:///{tmp_path.name}"
    storage.make_folder(uri)
    return uri


def test_the_life_of_a_file(root: str) -> None:
    folder = storage.join(root, "a", "b")
    storage.make_folder(folder)
    storage.make_folder(folder)
    uri = storage.join(folder, "file.bin")
    assert not storage.exists(uri)
    storage.write_bytes(uri, b"one")
    storage.write_bytes(uri, b"second")
    assert (storage.read_bytes(uri), storage.file_size(uri)) == (b"second", 6)
    assert storage.list_files(folder) == ["file.bin"]  # no folders, and nothing partial
    assert storage.list_files(storage.join(root, "a")) == []
    assert storage.list_files(storage.join(root, "absent")) == []
    assert storage.list_folders(root) == ["a"]
    assert storage.list_folders(folder) == []
    assert (storage.is_folder(folder), storage.is_folder(uri)) == (True, False)
    assert storage.name_of(uri) == "file.bin"
    storage.delete_file(uri)
    storage.delete_file(uri)
    assert not storage.exists(uri)
    with pytest.raises(FileNotFoundError):
        storage.file_size(uri)
    storage.delete_folder(storage.join(root, "a"))
    storage.delete_folder(storage.join(root, "a"))
    assert not storage.exists(folder)


def test_the_digest_is_that_of_sha256sum(root: str) -> None:
    uri = storage.join(root, "file")
    storage.write_bytes(uri, b"abc")
    assert storage.file_digest(uri) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    storage.write_bytes(uri, bytes(9 << 20))  # more than one block
    assert storage.file_digest(uri) == hashlib.sha256(bytes(9 << 20)).hexdigest()
    with pytest.raises(FileNotFoundError):
        storage.file_digest(storage.join(root, "absent"))


@pytest.mark.parametrize("name", NAMES)
def test_names_with_blanks_signs_and_other_letters(name: str, tmp_path: Path) -> None:
    folder = storage.join(str(tmp_path), name)
    storage.check_writable(folder)
    uri = storage.join(folder, f"{name}.parquet")
    storage.write_bytes(uri, b"x")
    assert (storage.read_bytes(uri), storage.name_of(uri)) == (b"x", f"{name}.parquet")
    assert storage.list_files(folder) == [f"{name}.parquet"]
    assert storage.resolve_uri(Path(uri).as_uri()) == uri


def test_an_error_while_writing_leaves_what_was_there(root: str) -> None:
    uri = storage.join(root, "file")
    storage.write_bytes(uri, b"before")

    def write_half() -> None:
        with storage.whole_file(uri) as path:
            path.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert storage.read_bytes(uri) == b"before"
    assert storage.list_files(root) == ["file"]


def test_a_full_disk_leaves_nothing_and_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    uri = str(tmp_path / "file")
    with pytest.raises(UserError, match="cannot write it: no space is left on the device. Free some"):  # noqa: SIM117
        with storage.explained(uri, "write it"):
            storage.write_bytes(uri, b"x")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="no space is left"):
        storage.check_writable(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bytes, bool]] = []
    final = tmp_path / "file"

    def watch(descriptor: int) -> None:
        seen.append((os.pread(descriptor, 10, 0), final.exists()))

    monkeypatch.setattr("os.fsync", watch)
    storage.write_bytes(str(final), b"content")
    assert seen == [(b"content", False)]


def test_an_upload_that_breaks_off_leaves_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    uri = f"mock:///{tmp_path.name}-broken/file"
    storage.make_folder(f"mock:///{tmp_path.name}-broken")

    def broken(file: object, out: object, block: int) -> None:
        raise OSError("connection reset")

    monkeypatch.setattr("shutil.copyfileobj", broken)
    with pytest.raises(OSError, match="connection reset"):
        storage.write_bytes(uri, b"x")
    assert storage.list_files(storage.folder_of(uri)) == []


def test_litter_is_swept_and_nothing_else(root: str) -> None:
    for name in ("shard.parquet", f".shard.parquet.0123{storage.PARTIAL}", ".claim.json"):
        storage.write_bytes(storage.join(root, name), b"x")
    assert storage.sweep_partials(root) == 1
    assert storage.list_files(root) == [".claim.json", "shard.parquet"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space is left on the device. Free some"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EACCES, "permission denied. Choose a place that you may use"),
        (errno.EROFS, "the filesystem is read-only"),
        (errno.ENOENT, "there is no such file or folder"),
        (errno.ENOTDIR, "a part of the path is a file"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_what_the_system_says_becomes_one_line(number: int, words: str) -> None:
    with pytest.raises(UserError) as error, storage.explained("/data/x", "write it"):
        raise OSError(number, os.strerror(number), "/data/x")
    assert str(error.value).startswith("/data/x: cannot write it: ")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_errors_of_ours_and_bugs_pass_as_they_are() -> None:
    with pytest.raises(ConfigError, match="^mine$"), storage.explained("/data/x", "write it"):
        raise ConfigError("mine")
    with pytest.raises(KeyError), storage.explained("/data/x", "write it"):
        raise KeyError("bug")


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="this is a file, the output must be a folder"):
        storage.check_writable(str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot write to this folder: a part of the path is a file"):
        storage.check_writable(str(tmp_path / "file" / "folder"))
    with pytest.raises(UserError, match="/proc/kinebert: cannot write to this folder: "):
        storage.check_writable("/proc/kinebert")  # refuses folders to root as well


def test_relative_paths_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    assert storage.resolve_uri("sets/../rgb") == str(tmp_path / "rgb")
    assert storage.resolve_uri("~/rgb") == "/home/somebody/rgb"
    assert storage.resolve_uri("/data/rgb/") == "/data/rgb"
    assert storage.resolve_uri("s3://bucket/rgb/") == "s3://bucket/rgb"
    assert storage.resolve_uri("file:///data/a%20b") == "/data/a b"
    with pytest.raises(ConfigError, match="an empty text"):
        storage.resolve_uri("")


def test_relative_paths_are_refused_in_a_submitted_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(ConfigError, match="sets/rgb: a relative path in a submitted job .* Give an absolute path"):
        storage.resolve_uri("sets/rgb")
    assert storage.resolve_uri("/data/rgb") == "/data/rgb"
    assert storage.resolve_uri("gs://bucket/rgb") == "gs://bucket/rgb"


def test_parts_go_before_the_query_of_a_uri() -> None:
    assert storage.join("s3://bucket/set?region=eu", "a", "b") == "s3://bucket/set/a/b?region=eu"
    assert storage.name_of("s3://bucket/set/a.parquet?region=eu") == "a.parquet"
    assert storage.join("/data/what?", "a") == "/data/what?/a"


def test_an_unknown_kind_of_filesystem_is_named() -> None:
    with pytest.raises(UserError, match="nosuch://.*pyarrow cannot open this filesystem"):
        storage.exists("nosuch://host/folder")


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_a_private_file_is_its_owners_and_others_are_as_the_umask_wants_them(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        for private in (True, False):
            storage.write_bytes(str(tmp_path / str(private)), b"x", private=private)
    finally:
        os.umask(before)
    assert (tmp_path / "True").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "False").stat().st_mode & 0o777 == 0o666 & ~umask
