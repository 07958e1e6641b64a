"""Files of Parquet that this program reads back: their columns are compared with a schema when they are opened."""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError

_KINDS: tuple[Callable[[pa.DataType], bool], ...] = (
    lambda kind: bool(pa.types.is_integer(kind) or pa.types.is_floating(kind)),
    pa.types.is_boolean,
    lambda kind: bool(pa.types.is_string(kind) or pa.types.is_large_string(kind)),
    pa.types.is_map,
    lambda kind: bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)),
)
"""Within one of these, values are taken over as they are: a file may have been written anew by other tools. A fraction
is no whole number, whatever its column."""


def read_table(uri: str, remedy: str, problem: str = "damaged") -> pa.Table:
    """Read a whole file of Parquet.

    Args:
        uri: The file.
        remedy: A sentence for the error: the way out if it cannot be read.
        problem: What it is then.

    Raises:
        UserError: If it is damaged, or another kind of file.
        OSError: If it cannot be opened.
    """
    return parse_table(storage.read_bytes(uri), uri, remedy, problem)


def parse_table(data: bytes, uri: str, remedy: str, problem: str = "damaged") -> pa.Table:
    """Return the table in the bytes of a file, as :func:`read_table` does.

    Raises:
        UserError: If they are damaged, or of another kind of file.
    """
    try:
        table = pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        reason = " ".join(str(error).split()) or "it is too large"
        raise UserError(f"{uri}: {problem}: {reason[:300]}. {remedy}") from None
    return table


def with_columns(table: pa.Table, schema: pa.Schema, uri: str, remedy: str) -> pa.Table:
    """Return the columns of a ``schema`` of a table that was read from ``uri``; further ones are left out.

    Raises:
        UserError: If one is missing, of another type, or empty where it must not be; ``remedy`` says the way out.
    """
    columns = []
    for field in schema:
        if table.schema.get_field_index(field.name) < 0:
            raise UserError(f"{uri}: there is no column {field.name!r} (once). {remedy}")
        column = table.column(field.name)
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        empty = pa.types.is_null(kind) and field.nullable  # as pandas writes a column without a value
        if kind != field.type and not empty and not any(has(kind) and has(field.type) for has in _KINDS):
            raise UserError(f"{uri}: the column {field.name!r} is of {kind}, expected {field.type}. {remedy}")
        if column.null_count and not field.nullable:
            raise UserError(f"{uri}: the column {field.name!r} has empty values. {remedy}")
        try:
            columns.append(column.cast(field.type))
        except (pa.ArrowException, ValueError) as error:
            raise UserError(f"{uri}: the column {field.name!r}: {' '.join(str(error).split())}. {remedy}") from None
    return pa.table(columns, schema=schema)
