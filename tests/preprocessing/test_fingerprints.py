"""What a file's fingerprint sees, and what it does not."""

from pathlib import Path

import numpy as np
import pytest

from kinebert.preprocessing.fingerprints import file_fingerprint

END = 65_536


@pytest.mark.parametrize("size", [0, 1, END, END + 1, 2 * END, 2 * END + 1, 5 * END])
def test_any_byte_near_the_ends_counts_and_so_does_the_size(size: int, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    data = np.random.default_rng(size).bytes(size)
    path.write_bytes(data)
    before = file_fingerprint(str(path))
    assert len(before) == 32
    for at in {0, END - 1, size - END, size - 1}:
        if 0 <= at < size:
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            assert file_fingerprint(str(path)) != before, at
    path.write_bytes(data + b"\0")
    assert file_fingerprint(str(path)) != before
    (tmp_path / "copy.mp4").write_bytes(data)
    assert file_fingerprint(str(tmp_path / "copy.mp4")) == before


def test_a_change_in_the_middle_of_a_large_file_is_not_seen(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(bytes(3 * END))
    before = file_fingerprint(str(path))
    path.write_bytes(bytes(END) + b"x" + bytes(2 * END - 1))
    assert file_fingerprint(str(path)) == before
