"""Names in the folder of a training, and which of its epochs is the best one."""

import re
from pathlib import Path

import pytest

from kinebert.training import run_folder
from kinebert.training.run_folder import EpochRow, best_epoch, evaluation_name, number_of, rank
from tests.helpers.paths import ROOT


@pytest.mark.parametrize(
    ("checkpoint", "name"),
    [
        ("best.pt", "split1-test-multi-x10"),
        ("s3://bucket/run/best.pt", "split1-test-multi-x10"),
        ("/runs/a.b/last.pt", "split1-test-multi-x10-last"),
        ("epoch-0007.pt", "split1-test-multi-x10-epoch-0007"),
        ("/runs/x/stage1_best.pt", "split1-test-multi-x10-stage1_best"),
    ],
)
def test_an_evaluation_is_named_after_what_was_scored(checkpoint: str, name: str) -> None:
    assert evaluation_name("split1", "test", "multi-x10", checkpoint) == name


def test_the_names_that_folders_of_older_trainings_have() -> None:
    assert (run_folder.epoch_file(7), run_folder.stage_file("best.pt", 0)) == ("epoch-0007.pt", "stage1_best.pt")
    files = (run_folder.BEST_FILE, run_folder.LAST_FILE, *run_folder.STATE_FILES)
    assert files == ("best.pt", "last.pt", "state.pt", "state-before.pt", "state-damaged.pt")
    tables = (run_folder.SCORES_FILE, run_folder.VIEWS_FILE, run_folder.METRICS_FILE)
    assert tables == ("scores.parquet", "views.parquet", "metrics.json")
    assert (run_folder.RECIPE_FILE, run_folder.HISTORY_FILE) == ("recipe.toml", "history.json")


def test_the_best_epoch() -> None:
    """Higher top-1, then the lower loss, then the first; epochs without validation are passed over."""
    rows: list[EpochRow] = [
        {"epoch": 1, "train_loss": 3.0},
        {"epoch": 2, "val_top1": 0.5, "val_loss": 2.0},
        {"epoch": 3, "val_top1": 0.5, "val_loss": 1.0},
        {"epoch": 4, "val_top1": 0.5, "val_loss": 1.0},
        {"epoch": 5, "val_top1": 0.4, "val_loss": 0.1},
    ]
    assert best_epoch(rows) == rows[2]
    assert rank(rows[2]) > rank(rows[1]) > rank(rows[4])
    without_loss: list[EpochRow] = [{"epoch": 1, "val_top1": 0.1}, {"epoch": 2, "val_top1": 0.2}]
    assert best_epoch(without_loss) == without_loss[1]
    assert best_epoch(rows[:1]) is best_epoch([]) is None
    assert [number_of(rows[0], name) for name in ("epoch", "train_loss", "val_loss", "lr_sgd")] == [
        1.0,
        3.0,
        None,
        None,
    ]


def test_nothing_else_spells_a_name_out() -> None:
    """A name in a string of its own, outside the module that has them all, is a second home."""
    spelt = "|".join(
        re.escape(value)
        for name, value in vars(run_folder).items()
        if name.endswith("_FILE") and isinstance(value, str)
    )
    literal = re.compile(rf'"({spelt})"')
    folders = ("preprocessing", "training", "orchestration", "pipelines")
    paths = [path for folder in folders for path in Path(ROOT / folder).rglob("*.py") if path.name != "run_folder.py"]
    found = [str(path) for path in paths if literal.search(path.read_text())]
    assert len(paths) > 100
    assert found == []
