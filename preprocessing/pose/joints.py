"""People as shards keep them: bytes of a fixed form, rounded to float16.

Axes: P people, J joints (25), 3 numbers (x, y, score).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.pose.skeleton import BODY_25

KeptPeople = NDArray[np.float16]
"""People of one picture as they are stored, ``(P, 25, 3)``, see :data:`.People`. Rounding moves a joint by at most a
quarter of a pixel in pictures of 1024 pixels, half a pixel in larger ones up to 2048, one up to 4096."""
_KIND = np.dtype("<f2")
_PERSON = (len(BODY_25), 3)


def to_bytes(people_PJ3: Any) -> bytes:
    """Return people as little-endian float16, person by person, joint by joint.

    Raises:
        ValueError: If they are not ``(P, 25, 3)``, or a number is not finite or too large.
    """
    people = np.asarray(people_PJ3, np.float32)
    if people.ndim != 3 or people.shape[1:] != _PERSON:
        raise ValueError(f"people are arrays of (P, 25, 3), got {people.shape}")
    with np.errstate(over="ignore"):
        kept = people.astype(_KIND)
    if not np.isfinite(kept).all():
        raise ValueError("a joint is not finite, or lies too far away")
    return kept.tobytes()


def from_bytes(data: Any) -> KeptPeople:
    """Return the people that :func:`to_bytes` made bytes of, ``(P, 25, 3)``; they cannot be written to.

    Raises:
        ValueError: If these are not the bytes of whole, finite people.
    """
    size = _KIND.itemsize * _PERSON[0] * _PERSON[1]
    if len(data) % size:
        raise ValueError(f"{len(data)} bytes are no people of {size} bytes each")
    people = np.frombuffer(data, _KIND).reshape(-1, *_PERSON)
    if not np.isfinite(people).all():
        raise ValueError("a joint is not finite")
    return people
