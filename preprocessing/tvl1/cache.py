"""Where numba keeps the machine code of the solver between processes.

numba notices when the file of a function changes, but not when that of another function which it calls does: after an
update it would run old code on memory of a new layout. So every state of the sources has a folder of its own.
"""

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numba

_config: Any = numba.config  # its values are made when numba is imported


@contextmanager
def own_cache(package: Path) -> Iterator[None]:
    """Name the folder for all functions with ``cache=True`` that are defined inside the block.

    It lies in ``NUMBA_CACHE_DIR``, beside the sources, in the user's cache or, where none of them can be written, in a
    temporary folder.

    Args:
        package: Folder of the sources; those of the folder above count as well.
    """
    before = _config.CACHE_DIR
    _config.CACHE_DIR = str(_writable(package, before) / f"tvl1-{_digest(package)}")
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
    places.append(package / "__pycache__")
    with suppress(RuntimeError):  # nobody's home folder
        places.append(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kinebert")
    for place in places:
        if _can_write(place):
            return place
    own = Path(tempfile.gettempdir()) / f"kinebert-{os.getuid()}"
    with suppress(OSError):
        own.mkdir(mode=0o700)
    there = own.lstat()
    if stat.S_ISDIR(there.st_mode) and there.st_uid == os.getuid() and _can_write(own):
        return own
    return Path(tempfile.mkdtemp(prefix="kinebert-"))  # numba runs what it finds: nobody else may have put it there


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
