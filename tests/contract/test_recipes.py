"""Every recipe of a training: it can be read, it builds the network of its paper, and that network learns."""

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.pipelines import list_recipes
from kinebert.pipelines.list_recipes import TABLES_FROM_HERE, tables
from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.config import load_config, to_plain
from kinebert.training.loop.memory import training_memory
from kinebert.training.loop.step import accumulate, update
from kinebert.training.models import build_recognizer
from kinebert.training.models.sizes.measure import sizes_of
from kinebert.training.models.sizes.papers import HMDB51_CLASSES, TABLES, Row, printed
from kinebert.training.models.sizes.unallocated import build_unallocated
from kinebert.training.models.weights.keys import layouts
from kinebert.training.models.weights.load import check_published
from kinebert.training.optim.groups import freeze
from kinebert.training.optim.losses import cross_entropy_sum
from kinebert.training.optim.registry import build_optimizer
from kinebert.training.recipe.train import TrainRecipe
from kinebert.training.run_folder import evaluation_name
from tests.helpers.networks import smallest_clip
from tests.helpers.paths import ROOT

RECIPES = ROOT / "pipelines" / "recipes"
DOC = ROOT / "docs" / "recipes.md"
NAMES = sorted(
    str(path.relative_to(RECIPES)) for path in RECIPES.rglob("*.toml") if "data" in tomllib.loads(path.read_text())
)
PAPERS = [name for name in NAMES if name.startswith("eccv2020/")]
HEADER = re.compile(
    r"# arXiv:2008\.01232, table (\d), (.+)\. HMDB51; (?:([\d.]+) M parameters|the table prints no parameters)"
)


@cache
def recipe_of(name: str) -> TrainRecipe:
    return load_config(TrainRecipe, RECIPES / name)


def arguments(recipe: TrainRecipe) -> dict[str, Any]:
    data = recipe.data
    clip = {"clip_length": data.clip_length, "size": data.crop_size, "frame_interval": data.frame_interval}
    return {**recipe.model.arguments(), **clip, "modality": data.modality, "num_classes": HMDB51_CLASSES}


@cache
def num_parameters(name: str) -> int:
    return sum(p.numel() for p in build_unallocated(**arguments(recipe_of(name))).parameters())


def header(name: str) -> tuple[str, str, str]:
    """Table, row and printed parameters (millions) that a recipe's first line names."""
    found = HEADER.match((RECIPES / name).read_text())
    assert found, f"{name}: the first line does not say which row of the paper this is"
    return found[1], found[2], found[3] or ""


def paper_rows() -> dict[tuple[str, str], Row]:
    """Rows of the BERT paper's own ablations, by table and name."""
    tables = (table for table in TABLES if table.source.startswith("ECCVW table") and "table 7" not in table.source)
    return {(table.source[len("ECCVW table ")], row.name): row for table in tables for row in table.rows}


TRAINED = [
    pytest.param(row, stream, id=f"{table.source}, {row.name}" + f", stream {stream + 1}" * (len(row.trainings) > 1))
    for table in TABLES
    for row in table.rows
    for stream in range(len(row.trainings))
    if len(row.networks) == len(row.trainings)
]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_complete_and_can_be_recorded(name: str) -> None:
    recipe = recipe_of(name)
    assert from_mapping(TrainRecipe, to_plain(recipe), name) == recipe
    assert recipe.data.modality in Path(recipe.data.shards).name or "frames" in recipe.data.shards


@pytest.mark.parametrize("name", PAPERS)
def test_it_builds_the_papers_network(name: str) -> None:
    table, row_name, figure = header(name)
    row = paper_rows()[table, row_name]
    assert (figure, f"eccv2020/{Path(name).stem}", row.changes) == (row.parameters, row.recipe, ())
    assert figure or table == "2", "only table 2 prints no sizes"
    assert not figure or printed(num_parameters(name) + row.parameters_besides, 6, figure, row.cut) == figure


@pytest.mark.parametrize(("row", "stream"), TRAINED)
def test_a_row_of_a_paper_is_trained_by_the_recipe_that_it_names(row: Row, stream: int) -> None:
    name, changes = row.trainings[stream]
    recipe = load_config(TrainRecipe, RECIPES / f"{name}.toml", changes)
    given = arguments(recipe)
    network = row.networks[stream]
    apart = ("backbone_options", "num_classes", "size")
    assert {key: given.get(key) for key in network if key not in apart} == {
        key: value for key, value in network.items() if key not in apart
    }
    assert network["size"] in (given["size"], recipe.test.crop_size), "papers count as they train, or as they test"
    options = network.get("backbone_options", {})
    assert {key: given["backbone_options"].get(key) for key in options} == options


def test_sums_of_the_thesis_say_what_is_fused() -> None:
    """The folders of the shell's braces are the streams', and their tables those that the recipes' tests end in."""
    sums = [row for table in TABLES for row in table.rows if row.fused]
    assert [len(row.trainings) for row in sums] == [2, 3, 2, 3, 2, 3]
    for row in sums:
        folders, table = re.fullmatch(r"runs/\{(.+)\}/(.+)/scores\.parquet", row.fused).groups()  # type: ignore[union-attr]
        for folder, (name, changes) in zip(folders.split(","), row.trainings, strict=True):
            recipe = load_config(TrainRecipe, RECIPES / f"{name}.toml", changes)
            assert folder.startswith(recipe.model.backbone)
            assert folder.endswith(f"_{recipe.data.modality}")
            assert ("frmb" in folder) == (recipe.model.reduction == "frmb")
            assert table == evaluation_name("split1", "test", recipe.test.name)


def test_every_row_of_the_paper_has_one() -> None:
    have = {(table, row) for table, row, _ in map(header, PAPERS)}
    streams = {key for key in paper_rows() if not key[1].startswith("both")}
    assert streams <= have
    assert len(have) == len(PAPERS), "two recipes are of the same row"


@pytest.mark.parametrize("name", PAPERS)
def test_it_trains_and_is_tested_as_published(name: str) -> None:
    recipe = recipe_of(name)
    data, model, optim = recipe.data, recipe.model, recipe.optim
    assert (recipe.batch_size, recipe.micro_batch, recipe.epochs) == (128, 8, 200)
    assert (optim.weight_decay, optim.schedule, optim.patience, optim.factor) == (1e-3, "plateau", 5, 0.1)
    rates = {"adamw": 1e-5, "sgd": 1e-2}
    assert optim.lr == pytest.approx(rates[optim.name] * (10 if model.backbone == "i3d" else 1))
    assert optim.name == "adamw" or (optim.momentum, optim.dampening) == (0.9, 0.9)
    assert (data.sampling, data.frame_interval, data.eval_scale) == ("dense", 1, 0.875)
    assert (recipe.test.clips, recipe.test.crops, recipe.test.average) == ("eccv2020", 10, "logits")
    if model.head.startswith("bert"):
        published = ("bert2", True) if model.backbone == "i3d" else ("bert5", False)
        assert (model.head_options["init"], model.head_options["normalize_tokens"]) == published
        assert (model.dropout, model.head_options["keep_prob"], optim.name) == (0.8, 0.8, "adamw")
    else:
        without = 0.7 if data.modality == "flow" else 0.8
        assert model.head_options.get("fc_dropout", model.dropout) == without
        assert "fc_dropout" not in model.head_options or model.dropout == 0


@pytest.mark.parametrize("name", PAPERS)
def test_the_weights_that_it_names_are_known(name: str) -> None:
    text, known = (RECIPES / name).read_text(), (ROOT / "docs" / "weights.md").read_text()
    named = re.findall(r"(?:Starts from|ends with) (\S+)\s+#? ?\((\w+) ", text)
    assert len(named) == 2 - ("no network of this row" in text)
    for file, layout in named:
        assert f"\n| {file} |" in known.split(f"\n## {layout}\n")[1].split("\n## ")[0]


def test_the_weights_of_ones_own_recipe_fit_it() -> None:
    recipe = recipe_of("own/rgb_weights.toml")
    files = {file.name: file for layout in layouts() for file in layout.files}
    published = build_unallocated(**files[recipe.model.weights].arguments())
    names = {key: key.removeprefix("backbone.").replace("classifier.", "fc.") for key in published.state_dict()}
    ours = build_unallocated(**{**arguments(recipe), "num_classes": 2})
    report, fits = check_published(ours, {names[key]: value for key, value in published.state_dict().items()})
    assert (fits, report.layout, report.notes) == (True, "torchvision_r2plus1d", [])  # and no variant is changed
    freeze(ours, recipe.optim.frozen)
    assert not any(parameter.requires_grad for parameter in ours.backbone.get_submodule("layer1").parameters())


def test_rows_of_the_same_network_are_the_same_training() -> None:
    for names in (
        ("table1_average_sgd", "table3_rgb"),
        ("table1_frmb_bert", "table2_bert_1_layer", "table3_rgb_frmb_bert"),
    ):
        first, *others = (recipe_of(f"eccv2020/{name}.toml") for name in names)
        assert all(other == first for other in others)


@pytest.mark.parametrize("name", NAMES)
def test_one_step_at_reduced_size(name: str) -> None:
    recipe = recipe_of(name)
    length, size = smallest_clip(recipe.model.backbone)
    small = {"width": 0.125, "reduction_width": 128, "clip_length": length, "size": size, "num_classes": 5}
    net = build_recognizer(**{**arguments(recipe), **small}).train()
    optimizer = build_optimizer(net.parameters(), recipe.optim)
    before = {key: value.clone() for key, value in net.named_parameters()}
    batches = [(torch.randn(2, len(net.spec.mean), length, size, size), torch.tensor([0, i])) for i in (1, 2)]
    done = accumulate(net, batches, cross_entropy_sum, num_clips=4)
    assert done.loss.isfinite()
    update(net, optimizer, recipe.optim.max_grad_norm)
    assert all(value.isfinite().all() for value in net.parameters())
    still = [key for key, value in net.named_parameters() if torch.equal(value, before[key])]
    assert len(still) < len(before) / 4, still


def costed() -> list[Any]:
    """All recipes; of each table of the paper one, the others, of nearly the same cost, are for the slow tests."""
    seen: set[str] = set()
    found = []
    for name in NAMES:
        table = header(name)[0] if name in PAPERS else name
        found.append(pytest.param(name, marks=[pytest.mark.slow] * (table in seen)))
        seen.add(table)
    return found


@pytest.mark.parametrize("name", costed())
def test_its_cost_is_what_it_says(name: str) -> None:
    recipe = recipe_of(name)
    sizes = sizes_of(**arguments(recipe))
    memory = training_memory(recipe, recipe.data.modality, HMDB51_CLASSES, torch.device("cpu"))
    counts = f"{sizes.parameters / 1e6:.3g} M parameters, {sizes.macs / 1e9:.3g} GMac a clip"
    assert f"# Cost: {counts}, {memory.total / 2**30:.2g} GiB to train.\n" in (RECIPES / name).read_text()


def test_the_document_lists_them_all() -> None:
    _, _, listed = DOC.read_text().partition(TABLES_FROM_HERE)
    assert listed == tables(), "make it again: kinebert recipes --paper-tables docs/recipes.md"
    for name in NAMES:
        assert f"\n| `{name.removesuffix('.toml')}` |" in listed, name


def test_a_page_without_the_line_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Mine\n")
    assert list_recipes.cli(["--paper-tables", str(page)]) == 2
    assert "after which the tables go" in capsys.readouterr().err
    assert page.read_text() == "# Mine\n"
