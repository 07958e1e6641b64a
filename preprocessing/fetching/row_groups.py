"""Row groups of shards taken from their bytes alone, without the footer of their file, which may be far away.

Only what this program writes is understood: one row in a row group, plain values, one data page after the other, which
the columns' order says the owner of. Everything else is refused, and then read with the footer's help.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

_DATA_PAGE, _PLAIN = 0, 0
_TYPE, _SIZE, _CRC, _ABOUT, _NUM_VALUES, _ENCODING = 1, 3, 4, 5, 1, 2
"""Numbers of fields in Parquet's page header, and in what it says about a data page."""
Buffers = list[pa.Buffer]


class OtherLayoutError(ValueError):
    """Bytes that are no row group of the layout that is known here, or are damaged."""


@dataclass
class _Reader:
    """Takes values from bytes, one after the other."""

    data: memoryview
    at: int = 0

    def take(self, num_bytes: int) -> int:
        """Step over some bytes and return where they begin."""
        start, self.at = self.at, self.at + num_bytes
        if not 0 <= start <= self.at <= len(self.data):
            raise OtherLayoutError(f"{num_bytes} bytes at {start} of {len(self.data)}")
        return start

    def uint32(self) -> int:
        """Return the next four bytes, little-endian."""
        return int(struct.unpack_from("<I", self.data, self.take(4))[0])

    def varint(self) -> int:
        """Return the next number of Thrift's compact protocol."""
        value = shift = 0
        while True:
            byte = self.data[self.take(1)]
            value |= (byte & 0x7F) << shift
            if byte < 0x80 or shift > 63:
                return value
            shift += 7

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Return the fields of a Thrift struct by their numbers: integers, booleans, structs."""
        fields: dict[int, Any] = {}
        number = 0
        while (head := self.data[self.take(1)]) and depth < 4:
            delta, kind = head >> 4, head & 0x0F
            number = number + delta if delta else _signed(self.varint())
            if kind in (1, 2):
                fields[number] = kind == 1
            elif kind in (4, 5, 6):
                fields[number] = _signed(self.varint())
            elif kind == 8:
                self.take(self.varint())  # texts, as in statistics
            elif kind == 12:
                fields[number] = self.struct(depth + 1)
            else:
                raise OtherLayoutError(f"a field of kind {kind}")
        return fields


def _signed(value: int) -> int:
    return value >> 1 ^ -(value & 1)


def read_row_group(data: pa.Buffer, schema: pa.Schema) -> dict[str, Any]:
    """Return the values of the one row of a row group, by column.

    Args:
        data: All of its bytes, and none besides.
        schema: Of the shard: columns of 32-bit integers, texts, bytes, and lists of bytes.

    Returns:
        Integers, texts, and bytes as lists of buffers that lie in ``data``; nothing is copied.

    Raises:
        OtherLayoutError: If they are something else, or a page does not have its checksum.
    """
    reader = _Reader(memoryview(data).cast("B"))
    row: dict[str, Any] = {}
    for column in schema:
        count = row.get("num_images", 1) if pa.types.is_list(column.type) else 1
        values: Buffers = []
        while len(values) < count:
            values += _page(reader, data, column)
        row[column.name] = _plain(values, column, count)
    if reader.at != len(data):
        raise OtherLayoutError(f"{len(data) - reader.at} bytes are left over")
    return row


def _plain(values: Buffers, column: pa.Field, count: int) -> Any:
    if len(values) != count:
        raise OtherLayoutError(f"{column.name}: {len(values)} values, expected {count}")
    if pa.types.is_integer(column.type):
        return int.from_bytes(values[0], "little", signed=True)
    return values[0].to_pybytes().decode(errors="replace") if pa.types.is_string(column.type) else values


def _page(reader: _Reader, data: pa.Buffer, column: pa.Field) -> Buffers:
    """Return the values of the next page, as buffers."""
    header = reader.struct()
    about = header.get(_ABOUT)
    if header.get(_TYPE) != _DATA_PAGE or not isinstance(about, dict) or about.get(_ENCODING) != _PLAIN:
        raise OtherLayoutError(f"{column.name}: no plain data page")
    size = header.get(_SIZE, -1)
    begin = reader.take(size)
    crc = header.get(_CRC)
    if crc is not None and zlib.crc32(reader.data[begin : begin + size]) != crc & 0xFFFFFFFF:
        raise OtherLayoutError(f"{column.name}: the page has another checksum")
    end, reader.at = reader.at, begin
    if pa.types.is_list(column.type):
        for _ in range(2):  # where lists begin, and which values there are: one list, and all of them
            reader.take(reader.uint32())
    fixed = pa.types.is_integer(column.type)
    values = []
    for _ in range(about.get(_NUM_VALUES, 0)):
        length = 4 if fixed else reader.uint32()
        values.append(data.slice(reader.take(length), length))
    if reader.at != end or not values:
        raise OtherLayoutError(f"{column.name}: {end - reader.at} bytes of a page are left over")
    return values
