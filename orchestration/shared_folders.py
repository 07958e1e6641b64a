"""Folders that all nodes must see alike: whoever works on a node looks first, before hours are spent."""

import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.folder_lock import holder
from kinebert.preprocessing.sets.plan import PlannedShard

_PATIENCE_S, _POLL_S = 60.0, 1.0
"""A network's filesystem may show what another node wrote a while later."""
_WAY_OUT = "Put it on storage that all nodes mount at this path, or give a URI (s3://, gs://)."


@dataclass(frozen=True)
class Shared:
    """What a driver sees, to be found again where its work is done."""

    held: tuple[tuple[str, str], ...] = ()
    """Folders that the driver holds, with its tokens."""
    files: tuple[tuple[str, int], ...] = ()
    """Files that are read, with their sizes."""
    folders: tuple[str, ...] = ()
    """Folders that files are read from, which may come and go."""

    @staticmethod
    def seen_here(held: Sequence[str] = (), files: Sequence[str] = (), videos: Sequence[PlannedShard] = ()) -> "Shared":
        """Look at folders that this process holds, at files, and at the folders of some videos; what is not here is not
        looked for elsewhere.
        """
        sizes = []
        for file in files:
            with suppress(FileNotFoundError):
                sizes.append((file, storage.file_size(file)))
        marks = [(folder, holder(folder)) for folder in held]
        some = {videos[i].videos[0].path for i in (0, len(videos) // 2, -1)} if videos else set()
        folders = {storage.folder_of(path) for path in some if storage.is_local(path)}
        return Shared(
            tuple((folder, token) for folder, token in marks if token),
            tuple(sizes),
            tuple(sorted(filter(storage.is_folder, folders))),
        )

    def check(self) -> None:
        """Find all of it here.

        Raises:
            UserError: If this node sees something else, or nothing, at one of the paths.
        """
        until, host = time.monotonic() + _PATIENCE_S, socket.gethostname()
        for folder, token in self.held:
            while _holder(folder) != token:
                if time.monotonic() > until:
                    raise UserError(
                        f"{folder}: the node {host} does not see the folder that this program works in, but "
                        f"{'another one' if storage.exists(folder) else 'nothing'}. {_WAY_OUT}"
                    )
                time.sleep(_POLL_S)
        for folder in self.folders:
            while not storage.is_folder(folder):
                if time.monotonic() > until:
                    raise UserError(f"{folder}: the node {host} sees no such folder of videos. {_WAY_OUT}")
                time.sleep(_POLL_S)
        for file, size in self.files:
            while (found := _size(file)) != size:
                if time.monotonic() > until:
                    it = "no such file" if found is None else f"another file of {found} bytes, not {size}"
                    raise UserError(f"{file}: the node {host} sees {it}. {_WAY_OUT}")
                time.sleep(_POLL_S)


def _holder(folder: str) -> str:
    try:
        return holder(folder)
    except UserError:
        raise
    except OSError:  # replaced while it was read
        return ""


def _size(file: str) -> int | None:
    try:
        return storage.file_size(file)
    except UserError:
        raise
    except OSError:
        return None
