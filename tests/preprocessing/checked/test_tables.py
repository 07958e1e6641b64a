"""Columns of files that other tools have written anew: what is taken over, and what is refused by name."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinebert.preprocessing.checked.tables import read_table, with_columns
from kinebert.preprocessing.errors import UserError

SCHEMA = pa.schema(
    [
        pa.field("label", pa.int32(), nullable=False),
        pa.field("fps", pa.float64(), nullable=False),
        pa.field("problem", pa.string()),
    ]
)


def taken(**columns: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = with_columns(pa.table(columns), SCHEMA, "m", "Make it again.").to_pylist()
    return found


def test_numbers_of_another_width_or_kind_and_columns_without_values_are_taken_over() -> None:
    expected = [{"label": 1, "fps": 25.0, "problem": None}]
    assert taken(label=pa.array([1], pa.int64()), fps=[25.0], problem=pa.array([None], pa.large_string())) == expected
    assert taken(label=[1.0], fps=[25], problem=pa.array([None], pa.null()), more=["x"]) == expected


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"label": [0.5]}, "m: the column 'label': .*truncated.* Make it again."),
        ({"label": [2**40]}, "m: the column 'label': .*2147483647"),
        ({"label": ["1"]}, "m: the column 'label' is of string, expected int32. Make it again."),
        ({"fps": pa.array([None], pa.float64())}, "m: the column 'fps' has empty values"),
        ({"fps": pa.array([None], pa.null())}, "m: the column 'fps' is of null, expected double"),
        ({"problem": [True]}, "m: the column 'problem' is of bool, expected string"),
    ],
)
def test_what_would_be_another_value_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        taken(**{"label": [1], "fps": [25.0], "problem": [None]} | changed)


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"x": list(range(9999))}), path, compression="none", write_page_checksum=True)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"t.parquet: damaged: .* Make it again."):
        read_table(str(path), "Make it again.")
