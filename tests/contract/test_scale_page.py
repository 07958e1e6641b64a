"""docs/scale.md: its tables are what is printed, from numbers of other pages and of recipes."""

import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import replace

import pytest

from tests.benchmarks import simulate_feed
from tests.benchmarks.models import CASES
from tests.benchmarks.simulate_feed import TABLES
from tests.helpers import scale
from tests.helpers.paths import ROOT
from tests.helpers.scale import DATA, NETWORKS, Nodes

PAGE = (ROOT / "docs" / "scale.md").read_text()
COMMANDS = [line for block in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
SEVERAL = [Nodes(), Nodes(nodes=4)]
ROWS = [(net, store, cache) for net in NETWORKS for store, cache in simulate_feed.CASES]
RECIPES = dict(
    zip(NETWORKS, ("table1_frmb_bert", "table6_bert", "table4_rgb_frab_bert", "table5_frab_bert_late"), strict=True)
)
KINDS = {"measured", "reckoned", "assumed", "published"}


@pytest.mark.parametrize("name", sorted(TABLES.keys() - {"measured"}))
def test_tables_of_arithmetic_are_what_is_printed(name: str) -> None:
    assert TABLES[name](Nodes()) in PAGE


def line(number: int) -> str:
    """One line of the table of the feed."""
    return f"| {' | '.join(simulate_feed.feed_row(*ROWS[number], SEVERAL))} |\n"


def test_a_line_of_the_feed_is_what_is_simulated() -> None:
    assert line(ROWS.index((NETWORKS[1], "S3", "no"))) in PAGE


@pytest.mark.slow
def test_all_lines_of_the_feed_are() -> None:
    assert simulate_feed.feed(SEVERAL) in PAGE


def test_every_section_says_of_what_kind_its_numbers_are() -> None:
    found = {kind for word in re.findall(r"\[([a-z]+)\b[^\]]*\](?!\()", PAGE) for kind in [word]}
    assert found == KINDS
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:-1]:
        assert re.search(rf"\[({'|'.join(KINDS)})\b", section), section.splitlines()[0]
    assert "Nothing on this page was measured on a GPU" in PAGE


@pytest.mark.parametrize("net", NETWORKS, ids=lambda net: net.case)
def test_networks_are_those_of_the_recipes(net: scale.Network) -> None:
    recipe = tomllib.loads((ROOT / "pipelines" / "recipes" / "eccv2020" / f"{RECIPES[net]}.toml").read_text())
    data = recipe["data"]
    assert (data["clip_length"], data["crop_size"]) == (net.frames, net.size)
    assert (recipe["micro_batch"], recipe["eval_batch"]) == (scale.MICRO_BATCH, scale.EVAL_BATCH)
    assert (recipe["batch_size"], recipe["epochs"]) == (scale.BATCH_SIZE, DATA[0].epochs)
    case = next(case for case in CASES if case.name == net.case)
    assert case.full == (net.frames, net.size)
    words = [case.network["backbone"], case.network.get("reduction"), case.network["head"]]
    network = " + ".join(word for word in words if word)
    row = next(row for row in (ROOT / "docs" / "sizes.md").read_text().splitlines() if f"`{network}` |" in row)
    _, _, _, _, parameters, _, _, gmac, *_ = row.split("|")
    assert float(parameters) == pytest.approx(net.params, abs=0.06)
    assert float(gmac) == pytest.approx(net.gmac, abs=0.01)


def test_what_frames_and_flow_cost_is_what_the_page_on_flow_measured() -> None:
    page = (ROOT / "docs" / "flow.md").read_text()
    found = {}
    for about in ("frames", "flow, classic"):
        (row,) = re.findall(rf"^v_BaseballPitch\S+ +{about} +(.*)$", page, re.MULTILINE)
        _, decode, *_ = cells = row.replace(" %", "").split()
        solve = cells[4]
        found[about] = float(cells[-2]) - float(decode), float(solve) if solve != "-" else 0.0
    assert found["frames"][0] == pytest.approx(scale.FRAME_MS)
    assert found["flow, classic"][0] == pytest.approx(scale.FLOW_SIDE_MS)
    assert sum(found["flow, classic"]) == pytest.approx(scale.FLOW_CORE_MS, abs=0.05)


def test_ways_cost_what_the_page_on_clusters_measured() -> None:
    page = (ROOT / "docs" / "clusters.md").read_text()
    for way in scale.WAYS:
        large = f"{way.ms_224} |" if way.ms_224 else "|"
        assert f"| {way.name} | {way.frame_bytes / 1e3:.1f} | {way.ms_112} | {large}\n" in page


def test_more_nodes_share_what_the_store_gives() -> None:
    one, four = (scale.feed(NETWORKS[0], "NFS", nodes) for nodes in SEVERAL)
    assert four.bottleneck == "server"
    assert four.clips_per_s == pytest.approx(5e9 / 32 / scale.clip_bytes(NETWORKS[0]), rel=0.05)
    assert one.clips_per_s > 2 * four.clips_per_s


def test_many_gpus_take_a_larger_batch_than_the_recipes() -> None:
    assert [replace(Nodes(), nodes=nodes).batch_size for nodes in (1, 2, 4)] == [128, 128, 256]
    assert "`batch_size = 256`" in PAGE


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_print_tables(command: str) -> None:
    python, *args = shlex.split(command)
    assert python == "python"
    printed = subprocess.run([sys.executable, *args], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed.count("| ---") >= 2
