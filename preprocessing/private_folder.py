"""Folders for compiled code and the like, which programs trust where they find it: nobody else writes there."""

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path


def user_cache() -> Path:
    """Return the user's own folder for what is made once and used again; it is made where it is not there.

    It lies in the user's cache or, where that cannot be written, in the folder for temporary files: under the same name
    for every process, unless somebody else has taken it.
    """
    with suppress(RuntimeError):  # nobody's home folder
        usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kinebert"
        if make_private(usual):
            return usual
    shared = Path(tempfile.gettempdir()) / f"kinebert-{os.getuid()}"
    return shared if make_private(shared) else Path(tempfile.mkdtemp(prefix="kinebert-"))


def keep_compiled_code() -> None:
    """Let torch keep what it compiles in a folder of the user's own, unless the environment names another.

    By itself it takes one whose name everybody can know, among the temporary files. To be called before
    the first network or optimizer is made, which may look for it.
    """
    if "TORCHINDUCTOR_CACHE_DIR" not in os.environ:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(user_cache() / "torchinductor")


def keep_compiled_kernels() -> None:
    """Let Triton keep what it compiles in a folder of the user's own, unless the environment names another.

    All processes of a node find there what the first has compiled; files appear in it whole. To be called before
    the first kernel is started.
    """
    if "TRITON_CACHE_DIR" not in os.environ:
        os.environ["TRITON_CACHE_DIR"] = str(user_cache() / "triton")


def make_private(folder: Path) -> bool:
    """Make a folder that only the user gets into, with its parents; return whether it is there and safe to use.

    One that was there is, if it is the user's, no link, can be written, and nobody else can write into it.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            return False
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
