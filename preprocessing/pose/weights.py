"""Files of weights of pose backends: where they lie on a machine, and whether they are what a recipe names.

A recipe names them by their digest. Where they lie is a matter of the machine: a path that was given, the folder that
the environment names, or the user's cache, in this order.
"""

import functools
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.lookup import find
from kinebert.preprocessing.pose.estimator import PoseBackend, WeightsFile
from kinebert.preprocessing.private_folder import user_cache

FOLDER_VARIABLE = "KINEBERT_POSE_WEIGHTS"
"""Environment variable that names a folder of weights."""
_CACHED = "pose"


def weights_folders() -> list[Path]:
    """Return the folders of this machine that weights are looked for in, the first of which new ones are put into."""
    named = os.environ.get(FOLDER_VARIABLE, "")
    return [*([Path(named).expanduser()] if named else []), user_cache() / _CACHED]


def find_weights(sha256: str, first: str = "") -> str | None:
    """Return the path of a file with this digest in one of the folders, under whatever name; None if there is none.

    Args:
        sha256: Its digest.
        first: Another folder, to be looked at before them.
    """
    for folder in [*([Path(first)] if first else []), *weights_folders()]:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.is_file() and not path.name.endswith(storage.PARTIAL) and digest_of(str(path)) == sha256:
                return str(path)
    return None


def digest_of(path: str) -> str:
    """Return the SHA-256 of a local file; it is read once in a process, unless it changes.

    Raises:
        UserError: If it cannot be read.
    """
    with storage.explained(path, "read these weights"):
        state = os.stat(path)
        return _digest_of(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _digest_of(path: str, size: int, changed_at: int) -> str:
    del size, changed_at  # they tell when it has to be read again
    return storage.file_digest(path)


def name_weights(
    backend: PoseBackend, named: Mapping[str, str], given: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the digests by role that a recipe names, with those of the files that are given.

    Args:
        backend: Whose files they are.
        named: Digests that are known already.
        given: Paths by role.

    Raises:
        ConfigError: If the backend has no such role.
        UserError: If a file cannot be read, or is not the one that is named.
    """
    known = {file.role: file for file in backend.files}
    for role in given or {}:
        find(known, role, f"file of weights of the pose backend {backend.name}")
    digests = dict(named)
    for role, path in (given or {}).items():
        digests[role] = _checked(path, known[role], digests.get(role) or known[role].sha256, backend)
    return digests


def locate_weights(
    backend: PoseBackend, named: Mapping[str, str], given: Mapping[str, str] | None = None, folder: str = ""
) -> dict[str, str]:
    """Return the local paths of a backend's files by role, every one with the digest that is named.

    Args:
        backend: Whose files they are.
        named: Digests by role, as a recipe has them.
        given: Paths by role to look at first; one that is not on this machine is looked for by its digest.
        folder: One to look in before those of the machine.

    Raises:
        UserError: If a file is missing, or is not the one that is named; it says what to do, and the licence.
    """
    found = {}
    for file in backend.files:
        path = _located(backend, file, named.get(file.role), (given or {}).get(file.role), folder)
        if path is not None:
            found[file.role] = path
    return found


def _located(backend: PoseBackend, file: WeightsFile, named: str | None, given: str | None, folder: str) -> str | None:
    """Return the path of one file; None for an optional one that nobody asked for."""
    sha256 = named or file.sha256
    if given is not None and os.path.exists(given):
        _checked(given, file, sha256, backend)
        return given
    if file.optional and not named and given is None:
        return None
    path = find_weights(sha256, folder) if sha256 else None
    if path is None:
        raise UserError(_missing(backend, file, f"with the SHA-256 {sha256}" if sha256 else f"at {given or 'a path'}"))
    return path


def _checked(path: str, file: WeightsFile, sha256: str, backend: PoseBackend) -> str:
    """Return the digest of a file, which is to be ``sha256`` unless that is empty."""
    if not os.path.isfile(path):
        raise UserError(
            f"{path}: there is no such file of weights ({file.role}: {file.about}). {_ways(backend, file)}."
        )
    found = digest_of(path)
    if sha256 and found != sha256:
        way_out = ", or leave the digest out of the recipe to take this one" if not file.sha256 else ""
        raise UserError(
            f"{path}: not the weights that are asked for ({file.role} of {backend.name}): its SHA-256 is {found}, "
            f"expected {sha256}. {_ways(backend, file)}{way_out}."
        )
    return found


def _missing(backend: PoseBackend, file: WeightsFile, how: str) -> str:
    looked = ", ".join(map(str, weights_folders()))
    return (
        f"the pose backend {backend.name} needs a file {file.role!r} ({file.about}); there is none {how} on "
        f"{socket.gethostname()} (looked in {looked}). Licence: {backend.licence}. {_ways(backend, file)}."
    )


def _ways(backend: PoseBackend, file: WeightsFile) -> str:
    obtain = f"{backend.obtain.rstrip('.')}. " if backend.obtain else ""
    return f"{obtain}Give the file's path (--weights {file.role}=FILE), or put it into the folder {FOLDER_VARIABLE}"
