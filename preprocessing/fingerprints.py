"""By what little a video file is known from another that has taken its place."""

import hashlib

from kinebert.preprocessing.storage import open_input

_END_BYTES = 1 << 16


def file_fingerprint(path: str) -> str:
    """Return 32 characters by which a local file is known from another: a digest of its size and of its two ends.

    The first and the last 64 KiB are read, so that it costs little. Another encoding differs there even where it has
    the same size; bytes that changed between the two ends alone are not seen.

    Raises:
        OSError: If it cannot be read.
        UserError: If it is no file.
    """
    with open_input(path) as file:
        head = file.read(_END_BYTES)
        size = file.seek(0, 2)
        file.seek(max(size - _END_BYTES, len(head)))
        return hashlib.sha256(b"%d " % size + head + file.read(_END_BYTES)).hexdigest()[:32]
