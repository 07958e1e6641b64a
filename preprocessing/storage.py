"""Files on any filesystem that pyarrow opens (local, s3, gs): whole or not there at all.

A location is an absolute local path or a URI with a scheme, as :func:`resolve_uri` gives it.
"""

import errno
import hashlib
import os
import stat
import tempfile
import urllib.parse
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.fs as pafs

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.stores.addresses import check_no_keys, root_and_path, split_query
from kinebert.preprocessing.stores.answers import StoreFile, answering, of_stores, told
from kinebert.preprocessing.stores.limits import opened
from kinebert.preprocessing.stores.uploads import upload

PARTIAL = ".partial"
"""Ending of files that are still being written; whatever bears it is rubbish once its writer is gone."""


def in_submitted_job() -> bool:
    """Whether this process is the driver of a job given to ``ray job submit``, whose folder is a throw-away copy."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def resolve_uri(text: str | Path) -> str:
    """Turn what a user typed into an absolute local path or a URI.

    Raises:
        ConfigError: If it is empty, a URI that holds a key, or a relative path in a submitted job.
    """
    text = str(text)
    if not text:
        raise ConfigError("expected a path or a URI, got an empty text.")
    if "\0" in text:
        raise ConfigError(f"expected a path or a URI, got {text!r}, which has a character of code 0.")
    if text.startswith("file://"):
        return urllib.parse.unquote(urllib.parse.urlparse(text).path)
    if "://" in text:
        check_no_keys(text)
        return text.rstrip("/")
    path = Path(text).expanduser()
    if not path.is_absolute() and in_submitted_job():
        raise ConfigError(
            f"{text}: a relative path in a submitted job lies in the job's own copy of the working folder, which is "
            "thrown away with it. Give an absolute path on storage that every node sees, or a URI (s3://, gs://)."
        )
    return os.path.abspath(path)


def is_local(uri: str) -> bool:
    """Whether ``uri`` is a local path."""
    return "://" not in uri


def join(uri: str, *parts: str) -> str:
    """Append ``parts`` to a location, in front of a URI's query."""
    if is_local(uri):
        return os.path.join(uri, *parts)
    base, query = split_query(uri)
    return "/".join([base.rstrip("/"), *parts]) + (f"?{query}" if query else "")


def name_of(uri: str) -> str:
    """Last part of a location."""
    return PurePosixPath(uri if is_local(uri) else split_query(uri)[0]).name


def folder_of(uri: str) -> str:
    """Return the folder that a location lies in, with a URI's query."""
    if is_local(uri):
        return os.path.dirname(uri)
    base, query = split_query(uri)
    return base.rpartition("/")[0] + (f"?{query}" if query else "")


def open_filesystem(uri: str) -> tuple[pafs.FileSystem, str]:
    """Return the pyarrow filesystem of a location, and the location's path in it.

    Raises:
        ConfigError: If a URI holds a key.
        UserError: If there is no such filesystem.
    """
    if is_local(uri):
        return pafs.LocalFileSystem(), uri
    root, path = root_and_path(uri)
    return opened(root), path


@contextmanager
def explained(uri: str, doing: str) -> Iterator[None]:
    """Turn what the operating system says about ``uri`` into one line that a user can act on."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        hints = {
            errno.ENOSPC: "no space is left on the device. Free some, or choose another place",
            errno.EDQUOT: "the disk quota is used up. Free some space, or choose another place",
            errno.EACCES: "permission denied. Choose a place that you may use, or change its permissions",
            errno.EPERM: "permission denied. Choose a place that you may use, or change its permissions",
            errno.EROFS: "the filesystem is read-only. Choose another place",
            errno.ENOENT: "there is no such file or folder. Check the spelling",
            errno.ENOTDIR: "a part of the path is a file, not a folder. Choose another place",
            errno.EISDIR: "this is a folder, a file was expected",
        }
        if not is_local(uri) and not error.errno:
            raise told(uri, error) from error
        reason = hints.get(error.errno or 0) or str(error)
        raise UserError(f"{uri}: cannot {doing}: {reason}.") from error


@of_stores
def exists(uri: str) -> bool:
    """Whether there is a file or folder at ``uri``."""
    fs, path = open_filesystem(uri)
    return bool(fs.get_file_info(path).type != pafs.FileType.NotFound)


@of_stores
def is_folder(uri: str) -> bool:
    """Whether there is a folder (or a prefix with files) at ``uri``."""
    fs, path = open_filesystem(uri)
    return bool(fs.get_file_info(path).type == pafs.FileType.Directory)


@of_stores
def file_size(uri: str) -> int:
    """Size of the file at ``uri`` in bytes. Raises FileNotFoundError if there is none."""
    fs, path = open_filesystem(uri)
    info = fs.get_file_info(path)
    if info.type == pafs.FileType.Unknown and is_local(uri):
        check_regular(uri)
    if info.type != pafs.FileType.File:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), uri)
    return int(info.size)


def open_regular(path: str | Path, flags: int = os.O_RDONLY) -> int:
    """Open a local file and return its descriptor, which the caller closes; a new one is as the umask wants it.

    Whatever is read or locked on a disk is opened here: a pipe would be waited for, and a device may never end.

    Raises:
        OSError: If it cannot be opened, as by ``os.open``; a folder neither.
        UserError: If it is a pipe, a socket or a device.
    """
    with suppress(FileNotFoundError):
        _check_regular(path, os.stat(path))  # before it is opened: some devices act on that alone
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o666)
    try:
        _check_regular(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_regular(path: str | Path) -> None:
    """Raise, as :func:`open_regular` does, unless a local file can be opened for reading without waiting for it."""
    os.close(open_regular(path))


def _check_regular(path: str | Path, found: os.stat_result) -> None:
    mode = found.st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = "named pipe" if stat.S_ISFIFO(mode) else "socket" if stat.S_ISSOCK(mode) else "device"
        raise UserError(f"{path}: this is a {kind}, not a file. Give a file, or remove it if it lies in the way.")


@of_stores
def file_identity(uri: str) -> tuple[int, ...] | None:
    """Numbers that change when the file at ``uri`` is written to or replaced; its size first. None without a file."""
    if is_local(uri):
        try:
            found = os.stat(uri)
        except FileNotFoundError:
            return None
        return found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev
    fs, path = open_filesystem(uri)
    info = fs.get_file_info(path)
    return (int(info.size), int(info.mtime_ns or 0)) if info.type == pafs.FileType.File else None


def modified_at(uri: str) -> float | None:
    """When a file was written, by the clock of its storage, in seconds since the epoch; None if that cannot say."""
    found = file_identity(uri)
    return found[1] / 1e9 if found is not None and found[1] else None


@of_stores
def open_input(uri: str) -> Any:
    """Open a file for random reads. The caller closes it.

    Raises:
        OSError: If it cannot be opened.
        UserError: If it is a pipe, a socket or a device.
    """
    if is_local(uri):
        check_regular(uri)
    fs, path = open_filesystem(uri)
    return fs.open_input_file(path) if is_local(uri) else StoreFile(uri, fs, path)


@of_stores
def read_bytes(uri: str) -> bytes:
    """Whole content of a file."""
    with open_input(uri) as file:
        data: bytes = file.read()
    return data


def file_digest(uri: str) -> str:
    """SHA-256 of a file, 64 characters, read in blocks. Raises FileNotFoundError if there is none."""
    state = hashlib.sha256()
    with open_input(uri) as file:
        while block := file.read(1 << 22):
            state.update(block)
    return state.hexdigest()


@of_stores
def list_files(uri: str) -> list[str]:
    """Names of the files directly in a folder, sorted; empty if there is no such folder."""
    fs, path = open_filesystem(uri)
    infos = fs.get_file_info(pafs.FileSelector(path, allow_not_found=True))
    return sorted(info.base_name for info in infos if info.type == pafs.FileType.File)


@of_stores
def list_folders(uri: str) -> list[str]:
    """Names of the folders directly in a folder, sorted; empty if there is no such folder."""
    fs, path = open_filesystem(uri)
    infos = fs.get_file_info(pafs.FileSelector(path, allow_not_found=True))
    return sorted(info.base_name for info in infos if info.type == pafs.FileType.Directory)


@of_stores
def make_folder(uri: str) -> None:
    """Make a folder and its parents; fine if it is there."""
    fs, path = open_filesystem(uri)
    fs.create_dir(path, recursive=True)


@of_stores
def delete_file(uri: str) -> None:
    """Remove a file; fine if it is gone."""
    fs, path = open_filesystem(uri)
    try:
        fs.delete_file(path)
    except FileNotFoundError:
        pass
    except OSError:
        if exists(uri):
            raise


@of_stores
def move_file(uri: str, to: str) -> None:
    """Give a file another name on the same filesystem, in place of what bears it."""
    if is_local(uri):
        os.replace(uri, to)
        return
    fs, path = open_filesystem(uri)
    fs.move(path, open_filesystem(to)[1])


@of_stores
def delete_folder(uri: str) -> None:
    """Remove a folder with all that is in it; fine if it is gone."""
    fs, path = open_filesystem(uri)
    if is_folder(uri):
        fs.delete_dir(path)


@contextmanager
def whole_file(uri: str) -> Iterator[Path]:
    """Give a local path to write to; on leaving without an error the file takes its name ``uri`` in one step.

    On a local disk the bytes go beside the final name, reach the disk, and are renamed. Elsewhere they go to a
    temporary file of this node, are uploaded when complete, and then take their name.
    """
    if is_local(uri):
        final = Path(uri)
        partial = final.with_name(f".{final.name}.{uuid.uuid4().hex}{PARTIAL}")
        try:
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(final)
        finally:
            partial.unlink(missing_ok=True)
        return
    with tempfile.TemporaryDirectory(prefix="kinebert-") as folder:
        local = Path(folder) / name_of(uri)
        yield local
        fs, path = open_filesystem(uri)
        under = f"{path.rpartition('/')[0]}/.{local.name}.{uuid.uuid4().hex}{PARTIAL}"
        with answering(uri):
            upload(local, fs, path, under)


def write_bytes(uri: str, data: bytes, private: bool = False) -> None:
    """Write a file whole or not at all. Its folder must exist. A ``private`` one can be read by its owner only."""
    with whole_file(uri) as path:
        if private:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        path.write_bytes(data)


def sweep_partials(uri: str) -> int:
    """Remove what killed writers left in a folder, and return how many files that were."""
    litter = [name for name in list_files(uri) if name.endswith(PARTIAL)]
    for name in litter:
        delete_file(join(uri, name))
    return len(litter)


def check_writable(uri: str) -> None:
    """Make the folder ``uri`` and prove that it takes files, before hours are spent.

    Raises:
        UserError: If it cannot be made or written, with the reason.
    """
    with explained(uri, "write to this folder"):
        if exists(uri) and not is_folder(uri):
            raise UserError(f"{uri}: this is a file, the output must be a folder.")
        make_folder(uri)
        probe = join(uri, f".writable-{uuid.uuid4().hex}{PARTIAL}")
        write_bytes(probe, b"")
        delete_file(probe)
