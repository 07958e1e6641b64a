"""Readers of data sets by the name of their source: what each takes, what it says of that, and what it gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kinebert.preprocessing.datasets.listing import Listing
from kinebert.preprocessing.errors import ConfigError, UserError

Read = Callable[[Sequence[str]], Listing]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A data set's reader. Called with absolute paths or URIs, it returns what the data set's own lists say."""

    name: str
    """Of the source, as `kinebert index` takes it."""
    paths: str
    """What it takes, such as ``VIDEOS LISTS``."""
    about: str
    """What those paths are, for people: in `kinebert index --help` and in the README."""
    num_paths: tuple[int, int | None]
    """Fewest and most paths; None where any number more will do."""
    read: Read
    data_set: str = ""
    """Name of the published data set whose lists it reads; empty for a way to list videos of one's own."""

    def __call__(self, paths: Sequence[str]) -> Listing:
        """Read ``paths``.

        Raises:
            UserError: If there are too few or too many paths, or a list is wrong.
        """
        least, most = self.num_paths
        if len(paths) < least or (most is not None and len(paths) > most):
            raise UserError(
                f"expected: kinebert index {self.name} {self.paths}; got {len(paths)} path{'s'[: len(paths) != 1]}."
            )
        return self.read(paths)


READERS: dict[str, Reader] = {}
"""Readers by the name of their source."""


def register_reader(
    name: str, *, paths: str, about: str, num_paths: tuple[int, int | None], data_set: str = ""
) -> Callable[[Read], Read]:
    """Make the decorated function the reader of the source ``name``; the arguments are the fields of :class:`Reader`.

    Raises:
        ConfigError: If there is a reader of that name.
    """

    def register(read: Read) -> Read:
        if name in READERS:
            raise ConfigError(f"there is a reader {name!r} already. Choose another name.")
        READERS[name] = Reader(name=name, paths=paths, about=about, num_paths=num_paths, read=read, data_set=data_set)
        return read

    return register


def sources() -> list[Reader]:
    """Return all readers: first those for videos of one's own, then data sets, each by name."""
    return sorted(READERS.values(), key=lambda reader: (bool(reader.data_set), reader.name))


def sources_table() -> str:
    """Return all readers as the Markdown table that the README shows."""
    rows = [
        f"| `{reader.name} {reader.paths}` | {reader.data_set or 'your own videos'} | {reader.about} |"
        for reader in sources()
    ]
    return "\n".join(["| `kinebert index` | reads | from |", "| --- | --- | --- |", *rows])
