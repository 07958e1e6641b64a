"""Files of this node put into a store: there whole, or not at all."""

import shutil
from contextlib import suppress
from pathlib import Path

import pyarrow.fs as pafs

from kinebert.preprocessing.errors import UserError

LARGEST = 5 * 2**30
"""Bytes: S3 copies no larger files, and to copy is how one changes its name there."""
_BLOCK = 1 << 22


def upload(local: Path, fs: pafs.FileSystem, path: str, under: str) -> None:
    """Put a file into a store, first under another name: what breaks off may be closed there as if it were whole.

    Args:
        local: The file.
        fs: The store.
        path: What it is called there in the end.
        under: What it is called until all of it is there.

    Raises:
        OSError: If the store does not take it; nothing is left then, as far as the store can be asked for that.
        UserError: If it is larger than the store gives names to.
    """
    size = local.stat().st_size
    if size > LARGEST and fs.type_name == "s3":
        raise UserError(
            f"{path}: has {size / 2**30:.1f} GiB; S3 renames files of up to {LARGEST / 2**30:g} GiB. Make smaller "
            "ones, as by fewer videos per shard."
        )
    try:
        try:
            with local.open("rb") as file, fs.open_output_stream(under) as out:
                shutil.copyfileobj(file, out, _BLOCK)
        except OSError:
            if fs.get_file_info(under).size != size:  # else it is whole, and only the answer to that was lost
                raise
        fs.move(under, path)
    except BaseException:
        with suppress(OSError):
            fs.delete_file(under)
        raise
