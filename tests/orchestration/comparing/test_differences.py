"""What differs where one of the runs is a fusion."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from kinebert.orchestration.comparing.differences import ABSENT, differences
from kinebert.orchestration.comparing.from_mlflow import Store
from kinebert.orchestration.comparing.runs import Run, choose_evaluations, read_run
from kinebert.orchestration.comparing.verdict import judge
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.training.evaluation.evaluate import read_scores, write_scores
from kinebert.training.evaluation.fusion import fuse
from tests.helpers.compared import HEAD, MULTI, make_run, make_scores


def stream(folder: Path, modality: str, accuracy: float, values: dict[str, Any], **about: Any) -> str:
    """The table of a trained stream."""
    facts = {"modality": modality, "shards": modality * 3, "checkpoint": f"digest of {folder.name}", **about}
    scores = make_scores(accuracy, seed=len(folder.name), about=facts)
    return str(make_run(folder, {MULTI: scores}, values) / MULTI / "scores.parquet")


def fused_of(folder: Path, *tables: str) -> Run:
    folder.mkdir()
    write_scores(str(folder / "scores.parquet"), fuse([read_scores(table) for table in tables]).scores)
    return read_run(str(folder))


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, str]:
    return {
        "rgb": stream(tmp_path / "rgb", "rgb", 0.7, {"seed": 3}),
        "flow": stream(tmp_path / "flow", "flow", 0.8, HEAD),
        "other": stream(tmp_path / "other", "rgb", 0.6, {"seed": 4, "epochs": 9}),
    }


def told(runs: list[Run]) -> dict[str, tuple[str, ...]]:
    lines, _ = differences(choose_evaluations(runs, None))
    assert all(len(set(line.values)) > 1 for line in lines)
    return {line.name: line.values for line in lines}


def test_a_fusion_has_the_recipe_of_its_streams(tables: dict[str, str], tmp_path: Path) -> None:
    run = fused_of(tmp_path / "fused", tables["rgb"], tables["flow"])
    assert (run.recipe["rgb.model.head"], run.recipe["flow.model.head"]) == ("bert", "tgap")
    assert (run.recipe["rgb.seed"], run.recipe["fusion.method"]) == (3, "l2")


def test_beside_one_of_its_streams_a_fusion_differs_in_being_one(tables: dict[str, str], tmp_path: Path) -> None:
    fused = fused_of(tmp_path / "fused", tables["rgb"], tables["flow"])
    assert told([read_run(tables["rgb"]), fused]) == {
        "fusion.method": (ABSENT, "l2"),
        "fusion.stream 1": (ABSENT, "rgb, resnet18 + bert, weight 1"),
        "fusion.stream 2": (ABSENT, "flow, resnet18 + bert, weight 1"),
        "scale": ("logits", "sums"),
    }


def test_beside_another_training_a_fusion_differs_in_what_that_stream_does(
    tables: dict[str, str], tmp_path: Path
) -> None:
    found = told([read_run(tables["other"]), fused_of(tmp_path / "fused", tables["rgb"], tables["flow"])])
    assert found["rgb.seed"] == ("4", "3")
    assert found["rgb.epochs"] == ("9", "6")
    assert found["rgb.checkpoint"] == ("digest of other", "digest of rgb")
    assert not any(name.startswith("flow.") for name in found)


def test_fusions_differ_stream_by_stream(tables: dict[str, str], tmp_path: Path) -> None:
    one = fused_of(tmp_path / "one", tables["rgb"], tables["flow"])
    two = fused_of(tmp_path / "two", tables["other"], tables["flow"])
    assert set(told([one, two])) == {"rgb.seed", "rgb.epochs", "rgb.checkpoint"}


def test_streams_of_one_modality_are_told_apart_by_their_checkpoints(tables: dict[str, str], tmp_path: Path) -> None:
    fused = fused_of(tmp_path / "fused", tables["rgb"], tables["other"])
    assert (fused.recipe["rgb 1.seed"], fused.recipe["rgb 2.seed"]) == (3, 4)
    found = told([read_run(tables["other"]), fused])
    assert not any("seed" in name for name in found)  # it is the second stream


def test_a_fusion_of_a_fusion_has_the_recipes_of_all(tables: dict[str, str], tmp_path: Path) -> None:
    fused_of(tmp_path / "two", tables["rgb"], tables["flow"])
    run = fused_of(tmp_path / "three", str(tmp_path / "two" / "scores.parquet"), tables["other"])
    assert (run.recipe["rgb+flow.flow.model.head"], run.recipe["rgb.seed"]) == ("tgap", 4)


def test_a_recipe_that_was_not_kept_is_one_line(tables: dict[str, str], tmp_path: Path) -> None:
    alone = tmp_path / "moved" / "scores.parquet"
    alone.parent.mkdir()
    write_scores(str(alone), make_scores(0.8, about={"run_folder": str(tmp_path / "gone")}))
    found = told([read_run(tables["rgb"]), read_run(str(alone))])
    assert found["recipe"] == ("known", ABSENT)
    assert "seed" not in found


def test_a_stream_that_learnt_what_is_tested_is_found_in_a_fusion(tables: dict[str, str], tmp_path: Path) -> None:
    leaking = stream(tmp_path / "leaking", "flow", 0.9, {"data": {"shards": "x", "train_part": "test"}})
    fused = fused_of(tmp_path / "fused", tables["rgb"], leaking)
    verdict = judge(choose_evaluations([read_run(tables["rgb"]), fused], None))
    assert verdict.obstacles == ["fused, flow is tested on the videos that it learnt from"]


def test_a_fusion_in_mlflow_has_the_recipes_that_its_run_carries_and_no_bar_is_drawn(
    tables: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fused_of(tmp_path / "fused", tables["rgb"], tables["flow"])
    tracker = Tracker.start(f"sqlite:///{tmp_path}/mlflow.db", "gestures", "fused", {})
    tracker.artifact(tmp_path / "fused" / "scores.parquet")
    for name in ("rgb", "flow"):
        tracker.artifact(tmp_path / name / "recipe.toml", f"streams/{name}")
        shutil.rmtree(tmp_path / name)
    tracker.end("FINISHED")
    capsys.readouterr()
    run = Store(f"sqlite:///{tmp_path}/mlflow.db").find("fused", None)
    assert (run.recipe["rgb.seed"], run.recipe["flow.model.head"]) == (3, "tgap")
    assert capsys.readouterr() == ("", "")
