"""One program at a time in an output folder."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError

_LOCK = ".lock"


@contextmanager
def held(output: str, program: str) -> Iterator[None]:
    """Keep a folder on a disk for this process: two programs in one would write over each other.

    The lock goes with the process, however it ends. Object storage has none: there nobody is kept out.

    Raises:
        UserError: If another process works there.
    """
    if not storage.is_local(output):
        yield
        return
    with storage.explained(output, "write to this folder"):
        lock = open(storage.join(output, _LOCK), "w")  # noqa: SIM115 - closed below
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{output}: another kinebert {program} works here. Wait for its end, or end it.") from None
        yield
