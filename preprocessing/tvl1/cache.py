"""Where numba keeps the machine code of the solver between processes.

numba notices when the file of a function changes, but not when that of another function which it calls does: after an
update it would run old code on memory of a new layout. So every state of the sources has a folder of its own.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numba

from kinebert.preprocessing.private_folder import user_cache

_config: Any = numba.config  # its values are made when numba is imported
_COPIES = "runtime_resources"
"""Folder of a session of Ray that the code of jobs is unpacked in."""


@contextmanager
def own_cache(package: Path) -> Iterator[None]:
    """Name the folder for all functions with ``cache=True`` that are defined inside the block.

    It lies in ``NUMBA_CACHE_DIR``, beside the sources, in the user's cache or, where none of them can be written, in a
    temporary folder. Not beside those of a job of Ray, a copy that goes with the cluster: the next would compile anew.

    Args:
        package: Folder of the sources; those of the folder above count as well.
    """
    before = _config.CACHE_DIR
    folder = _writable(package, before) / f"tvl1-{_digest(package)}"
    with suppress(OSError):  # numba says what is wrong with it
        folder.mkdir(mode=0o700)  # numba runs what it finds there
    _config.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        _config.CACHE_DIR = before


def _digest(package: Path) -> str:
    state = hashlib.sha256()
    for path in sorted([*package.glob("*.py"), *package.parent.glob("*.py")]):
        state.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return state.hexdigest()[:12]


def _writable(package: Path, given: str) -> Path:
    places = [Path(given)] if given else []
    if _COPIES not in package.parts:
        places.append(package / "__pycache__")
    for place in places:
        if _can_write(place):
            return place
    return user_cache()


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
