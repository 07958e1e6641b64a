"""Pages of registered models: accuracy of just that checkpoint, with its interval, and whose weights it began with."""

from pathlib import Path
from typing import Any

import pytest

from kinebert.orchestration.tracking.model_cards import evaluations_of, licence_of, model_card
from kinebert.training.evaluation.evaluate import write_scores
from kinebert.training.models.weights.keys import layouts
from kinebert.training.recipe.train import ModelRecipe, ProtocolRecipe
from kinebert.training.run_folder import checkpoint_digest
from tests.helpers.checkpoints import make_checkpoint
from tests.helpers.compared import make_scores
from tests.helpers.fake_shards import make_shards

SHARDS: Any = make_shards()
ABOUT = {"model": "resnet18 + bert", "modality": "rgb", "clips": "float32 (N, 3, 4, 32, 32)"}
ABOUT |= {"test": "the centre clip x the centre crop, mean of the logits", "mean": "[0.5]", "std": "[0.2]"}


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    return make_checkpoint(tmp_path / "best.pt", SHARDS, ProtocolRecipe())


def evaluated(folder: Path, name: str, accuracy: float, part: str, checkpoint: str) -> None:
    (folder / name).mkdir()
    scores = make_scores(accuracy, part=part, about={"checkpoint": checkpoint})
    write_scores(str(folder / name / "scores.parquet"), scores)


def test_a_card_has_the_accuracy_of_this_checkpoint_and_no_other(checkpoint: str, tmp_path: Path) -> None:
    digest = checkpoint_digest(checkpoint)
    evaluated(tmp_path, "a", 0.9, "val", digest)
    evaluated(tmp_path, "b", 0.7, "test", digest)
    evaluated(tmp_path, "c", 0.5, "test", "another")
    (tmp_path / "report").mkdir()
    test, val = evaluations_of(checkpoint)
    assert [scores.about["part"] for scores in (test, val)] == ["test", "val"]
    card = model_card(checkpoint, ABOUT, [f"class {i}" for i in range(25)], ModelRecipe(weights=""))
    accuracies = [line for line in card.text.splitlines() if line.startswith("**Accuracy**")]
    for scores, line in zip((test, val), accuracies, strict=True):
        assert f"top-1 {100 * scores.metrics().top[1]:.1f} %" in line
    assert "95 % interval" in accuracies[0]
    assert float(card.tags["top1"]) == pytest.approx(test.metrics().top[1], abs=1e-4)
    low, high = map(float, card.tags["top1_95"].split(" to "))
    assert low < test.metrics().top[1] < high
    assert card.tags["tested_on"].startswith("split1/test, ")
    assert "**Classes**: 25: class 0, " in card.text
    assert "class 19, ..." in card.text
    assert ABOUT["clips"] in card.text


def test_a_checkpoint_that_was_never_tested_says_so(checkpoint: str) -> None:
    card = model_card(checkpoint, ABOUT, ["a", "b"], ModelRecipe())
    assert "**Accuracy**: not known; no evaluation lies beside the checkpoint" in card.text
    assert "top1" not in card.tags


def test_the_licence_is_that_of_the_file_that_a_training_began_with() -> None:
    for layout in layouts():
        for file in layout.files:
            name = file.name.replace("<k>", "2")
            said = licence_of(ModelRecipe(weights=f"/data/weights/{name}"))
            known = {f"{one.source}: {one.licence}" for one in layouts() if file.name in {f.name for f in one.files}}
            assert said.removeprefix(f"begun with {name.rpartition('/')[2]} of ") in known
    assert licence_of(ModelRecipe()) == "trained from scratch, with no weights of others"
    assert licence_of(ModelRecipe(weights="mine.pt")) == "begun with mine.pt, whose licence is not known here"
