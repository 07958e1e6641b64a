"""docs/mtnet.md: what it says of sizes is so."""

import re
import tomllib
from dataclasses import dataclass

import pytest

from kinebert.training.models.sizes.measure import sizes_of
from tests.helpers.paths import ROOT

PAGE = ROOT / "docs" / "mtnet.md"


@dataclass(frozen=True)
class Row:
    """A row of the page's tables; numbers as they stand there."""

    name: str
    network: str
    options: str
    clip: str
    paper_params: str
    params: str
    paper_operations: str
    operations: str
    count: str

    def reckoned(self) -> tuple[str, str]:
        """Return our parameters in millions and our operations in 1e9, as the page writes them."""
        frames, pixels = map(int, self.clip.split(" x "))
        found = sizes_of(
            backbone=self.network,
            head="tgap",
            num_classes=400,
            clip_length=frames,
            size=pixels,
            backbone_options=tomllib.loads("\n".join(self.options.split(", "))),
        )
        operations = {"macs": found.macs, "twice": 2 * found.paper_flops}[self.count]
        return f"{found.parameters / 1e6:.2f}", f"{operations / 1e9:.2f}"

    def off(self) -> tuple[float, float]:
        """Return by how much ours are larger than the paper's, as a part of these."""
        pairs = ((self.params, self.paper_params), (self.operations, self.paper_operations))
        params, operations = (float(ours) / float(theirs) - 1 for ours, theirs in pairs)
        return params, operations


def rows() -> list[Row]:
    cells = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in PAGE.read_text().splitlines()]
    return [Row(*row) for row in cells if len(row) == 9 and " x " in row[3]]


FAST = {"MTNet-S", "MTConv"}


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.name, marks=() if row.name in FAST else pytest.mark.slow) for row in rows()]
)
def test_ours_are_reckoned(row: Row) -> None:
    assert (row.params, row.operations) == row.reckoned()


def test_it_says_how_near_the_three_networks_come() -> None:
    by_name = {row.name: row.off() for row in rows() if row.name.startswith(("MTNet", "MTConv"))}
    for size in "SML":
        assert max(map(abs, by_name[f"MTNet-{size}"])) < 0.031
    words = PAGE.read_text()
    claims = re.search(r"are ([\d.]+) and ([\d.]+) % too large, and their operations at most ([\d.]+) % away", words)
    assert claims is not None
    medium, large = by_name["MTNet-M"], by_name["MTNet-L"]
    wanted = (medium[0], large[0], max(abs(by_name[f"MTNet-{size}"][1]) for size in "SML"))
    assert claims.groups() == tuple(f"{100 * value:.1f}" for value in wanted)
    claims = re.search(r"within ([\d.]+) % of the parameters and ([\d.]+) % of\s+the operations", words)
    assert claims is not None
    assert claims.groups() == tuple(f"{100 * abs(value):.1f}" for value in by_name["MTConv"])


def test_the_three_branches_are_seen_in_the_tables() -> None:
    found = {row.name: row for row in rows()}
    ratios = [found[f"M, {ratio}"] for ratio in ("no prolonged branch", "0.875", "0.75", "0.625", "0.5")]
    for column in ("params", "paper_params", "operations", "paper_operations"):
        values = [float(getattr(row, column)) for row in ratios]
        assert values == sorted(values, reverse=True), column
    assert len(found) == 32
