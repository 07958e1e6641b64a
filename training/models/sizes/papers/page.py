"""The papers' tables as pages: sizes (`docs/sizes.md`), and recipes (the end of `docs/recipes.md`)."""

from collections.abc import Iterator

from kinebert.training.models.sizes.papers import TABLES
from kinebert.training.models.sizes.papers.rows import Network, Row, Table

_ABOUT = """# Sizes: the papers' and ours

Made by `kinebert describe --paper-tables docs/sizes.md`. Parameters are in millions, operations and GMac in 1e9, for
one clip, and 51 classes (HMDB51) unless a title says otherwise. *Paper* is as printed, *ours* is our network in the
same count. A note stands where the two are not the same at the printed precision. Accuracies are the papers', in
percent; [recipes.md](recipes.md) says which recipe trains which row.

- **Operations** are the BERT papers' own count, that of ptflops 0.5.2: the multiply-adds of convolutions and linear
  layers, their biases, 2 per element out of a batch norm, 1 per element out of an `nn.ReLU` and 1 per element into a
  pooling layer. Matrix products and functional calls are not in it. Nor does the tool see an LSTM, but the papers'
  figure holds theirs, and so does this count. Tables of other papers count multiply-adds: their titles say so.
- What the tool saw of the *published* code is counted. An average over the picture is a pooling layer there, wherever
  we write a mean. I3D's ReLUs and padded pools are not in it: the former are functions, the latter a class of their
  own. SlowFast's pools of size 1 after its first stage are in it, though they do nothing and our network has none.
- **GMac** are the multiply-adds of convolutions, linear and recurrent layers and all matrix products.
"""


def sizes_page() -> str:
    """Return the tables of sizes as a page, rows that no network of ours is of left out."""
    return _ABOUT + "".join(_sizes_of(table) for table in TABLES if any(row.networks for row in table.rows))


def recipes_tables() -> str:
    """Return every row of every table with its accuracies, and how it is trained."""
    return "".join(_recipes_of(table) for table in TABLES)


def _sizes_of(table: Table) -> str:
    heads = ["", "network", "parameters: paper", "ours", "operations: paper", "ours", "GMac", *table.accuracies, ""]
    return _table(
        table, heads, ([*_sizes(row), *_scores(table, row), _note(row)] for row in table.rows if row.networks)
    )


def _recipes_of(table: Table) -> str:
    heads = ["", *table.accuracies, "recipe"]
    return _table(table, heads, ([row.name, *_scores(table, row), _training(row)] for row in table.rows))


def _table(table: Table, heads: list[str], rows: Iterator[list[str]]) -> str:
    lines = [f"\n## {table}\n", *([f"{table.note}\n"] if table.note else []), _line(heads), "|---" * len(heads) + "|"]
    return "\n".join([*lines, *map(_line, rows)]) + "\n"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _sizes(row: Row) -> list[str]:
    parameters = sum(sizes.parameters for sizes in row.sizes)
    return [
        row.name,
        " and ".join(dict.fromkeys(map(_spelt, row.networks))),
        row.parameters,
        f"{parameters / 1e6:.3f}",
        row.operations,
        f"{row.our_operations / 1e9:.3f}",
        f"{row.macs / 1e9:.3f}",
    ]


def _scores(table: Table, row: Row) -> tuple[str, ...]:
    return row.accuracies or ("",) * len(table.accuracies)


def _note(row: Row) -> str:
    if row.parameters_besides or row.without_norms:
        return f"{row.cause}; {'without' if row.without_norms else 'with'} them {row.our_parameters / 1e6:.3f}"
    return row.cause


def _training(row: Row) -> str:
    if not row.trainings:
        return row.cause or "no recipe"
    streams = (" ".join([f"`{name}`", *(f"`--set {change}`" for change in some)]) for name, some in row.trainings)
    return " and ".join(streams) + f"; `kinebert fuse {row.fused}`" * bool(row.fused)


def _spelt(network: Network) -> str:
    parts: list[str] = [network[key] for key in ("backbone", "reduction", "head") if network[key] is not None]
    options = ", ".join(f"{name} {_plain(value)}" for name, value in network.get("backbone_options", {}).items())
    modality: str = network.get("modality", "rgb")
    return f"`{' + '.join(parts)}`" + f" ({options})" * bool(options) + f" {modality}" * (modality != "rgb")


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
