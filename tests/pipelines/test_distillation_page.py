"""docs/distillation.md: its recipes are recipes, it names what there is, and its demo's recipes differ as it says."""

import re
import tomllib
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from kinebert.orchestration.search.space import read_space
from kinebert.pipelines import demo
from kinebert.pipelines.demo_distillation import KINDS, SEEDS, TEACHER, told
from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.config import load_config
from kinebert.preprocessing.errors import ConfigError
from kinebert.training.distillation.students import STUDENTS
from kinebert.training.recipe.distill import DistillRecipe
from kinebert.training.recipe.train import TrainRecipe
from tests.helpers.paths import ROOT

PAGE = (ROOT / "docs" / "distillation.md").read_text()
RECIPES = ROOT / "pipelines" / "recipes"


def test_its_tables_are_read() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    found = from_mapping(DistillRecipe, tomllib.loads(text)["distill"], "the page")
    assert (found.method, found.factor) == ("mars", 50)
    command = next(line for line in PAGE.splitlines() if line.startswith("kinebert train rgb --set"))
    recipe = load_config(TrainRecipe, RECIPES / "rgb.toml", command.split()[4:])
    assert recipe.distill is not None
    assert (recipe.distill.teacher, recipe.distill.shards) == (found.teacher, found.shards)


def test_it_names_every_method_and_every_recipe_there_is() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == {"method", *STUDENTS}
    for name in re.findall(r"`((?:eccv2020|metu2020|demo)/\w+)`", PAGE):
        assert (RECIPES / f"{name}.toml").exists(), name
    taught = {
        str(path.relative_to(RECIPES))[:-5] for path in RECIPES.rglob("*.toml") if "[distill]" in path.read_text()
    }
    assert all(f"`{name}`" in PAGE for name in taught)


def test_the_demo_s_student_is_tsm_with_a_teacher() -> None:
    alone, taught = (tomllib.loads((RECIPES / "demo" / f"{name}.toml").read_text()) for name in ("tsm", "distill"))
    assert taught.pop("distill")["method"] == "logits"
    assert {**alone, "epochs": taught["epochs"]} == taught


@pytest.mark.parametrize("name", ["distill_bert_frmb"])
def test_lambdas_of_table_5_1_can_be_searched(name: str) -> None:
    recipe = load_config(TrainRecipe, RECIPES / "metu2020" / f"{name}.toml")
    assert recipe.tune is not None
    space = read_space(recipe.tune, recipe, name)
    assert [option / 1000 for option in space["distill.weight"].ends()] == [25, 50, 100, 250, 500]
    assert recipe.tune.trials == 5


def test_the_demo_s_verdict_asks_for_more_than_the_spread() -> None:
    found = {"flow_bert": (0.8, 1.0, 0.6)}
    for number in SEEDS:
        found[f"alone_{number}"] = (0.5, 0.40 + 0.02 * number, 0.6)
        found[f"taught_{number}"] = (0.6, 0.45 + 0.10 * number, 0.6 + 0.1 * number)
    table, words, shown = told(found)
    rows = [list(row) for row in table.rows]
    assert rows[0] == [TEACHER, "80.0", "100.0", "60.0"]
    assert rows[1][2] == "42.0 (40.0 to 44.0)"
    assert rows[-1][1:] == ["+10.0", "+13.0", "+10.0"]
    assert words == [
        "direction: +13.0 points by the teacher; every taught student is above every one alone",
        "order: +10.0 points by the teacher; the seeds' ranges overlap",
    ]
    assert shown
    found["taught_0"] = (0.6, 0.44, 0.6)
    assert not told(found)[2]
    for number in SEEDS:
        found[f"taught_{number}"] = (0.4, 0.45, 0.5)
    assert told(found)[1][1] == "order: -10.0 points by the teacher; every taught student is below every one alone"
    assert len(KINDS) == 2


def test_the_demo_trains_one_teacher_and_three_students_each_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: dict[str, TrainRecipe] = {}
    tested: list[str] = []

    def train_it(args: list[str]) -> int:
        at = args.index("--output")
        trained[Path(args[at + 1]).name] = load_config(TrainRecipe, args[0], args[2:at])
        return 0

    def done(args: list[str]) -> int:
        tested.append(args[0])
        return 0

    monkeypatch.setattr("kinebert.pipelines.train.cli", train_it)
    for name in ("evaluate", "extract_frames", "extract_flow", "index_videos"):
        monkeypatch.setattr(f"kinebert.pipelines.{name}.cli", done)
    monkeypatch.setattr("kinebert.orchestration.cluster.cluster", nullcontext)
    monkeypatch.setattr(demo, "_generate", lambda *_: None)
    monkeypatch.setattr(demo, "_accuracies", lambda scores: (0.5, 0.9 if "taught" in str(scores) else 0.4, 0.5))
    assert demo.main(demo.DemoConfig(output=str(tmp_path), distill=True, student_epochs=2, seed=4)) == 0
    assert list(trained) == ["flow_bert", *(f"{kind}_{number}" for number in SEEDS for kind in KINDS)]
    for number in SEEDS:
        alone, taught = (trained[f"{kind}_{number}"] for kind in KINDS)
        assert replace(taught, distill=None) == alone
        assert (alone.seed, alone.epochs, alone.data.shards) == (4 + number, 2, str(tmp_path / "sets" / "frames"))
        assert taught.distill is not None
        assert taught.distill.teacher == str(tmp_path / "runs" / "flow_bert" / "best.pt")
        assert taught.distill.shards == trained["flow_bert"].data.shards == str(tmp_path / "sets" / "flow")
    assert {str(tmp_path / "runs" / name / "best.pt") for name in trained} <= set(tested)
    assert "direction: +50.0 points by the teacher; every taught student is above every one alone" in (
        capsys.readouterr().out
    )
    with pytest.raises(ConfigError, match="student_epochs must be at least 1"):
        demo.main(demo.DemoConfig(output=str(tmp_path), student_epochs=0))
