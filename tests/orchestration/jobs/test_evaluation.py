"""An evaluation as a job: what it returns, what it leaves, what it tells, and who may work in its folder."""

from pathlib import Path

import numpy as np
import pytest
import torch

from kinebert.orchestration.jobs.evaluation import Evaluation, evaluate
from kinebert.orchestration.jobs.requests import EvaluationRequest
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.folder_lock import held
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.evaluation.evaluate import read_scores
from kinebert.training.evaluation.view_scores import read_views
from kinebert.training.recipe.train import ProtocolRecipe
from tests.helpers.checkpoints import make_checkpoint
from tests.helpers.listening import Heard
from tests.helpers.sets import make_rows, make_set


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    folder = tmp_path_factory.mktemp("evaluation")
    return make_set(make_rows(folder / "videos", [9] * 9), folder / "rgb", FrameRecipe(resize="none"))


@pytest.fixture
def checkpoint(shards: ShardSet, tmp_path: Path) -> str:
    torch.set_num_threads(1)
    return make_checkpoint(tmp_path / "run" / "best.pt", shards, ProtocolRecipe(clips="multi"))


def one(*checkpoints: str, heard: Heard | None = None) -> Evaluation:
    (result,) = evaluate(EvaluationRequest(checkpoints=checkpoints, part="val"), heard or Heard())
    return result


def test_what_is_returned_is_what_is_written(
    checkpoint: str, shards: ShardSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heard = Heard()
    result = one(checkpoint, heard=heard)
    assert result.folder == str(tmp_path / "run" / "split1-val-multi")
    stored, views = read_scores(result.table), read_views(f"{result.folder}/views.parquet")
    assert stored.video_ids == result.scores.video_ids == [v.video_id for v in shards.select("split1", "val")]
    np.testing.assert_array_equal(stored.scores, result.scores.scores)
    assert len(views.videos) == result.by_clip.num_videos == 2 * len(stored.video_ids)  # 9 frames hold two clips of 4
    assert result.notes == ("split1/val chose this checkpoint among the epochs; last.pt was chosen by nothing",)
    assert Path(result.report).name == "report.md"
    assert (heard.said, heard.shown[-1]) == ([], f"{len(views.videos)} views of {len(stored.video_ids)} videos")
    assert sorted(path.name for path in Path(result.folder).iterdir()) == [
        *["metrics.json", "report", "scores.parquet", "views.parquet"]
    ]
    assert capsys.readouterr() == ("", "")  # a Python caller is not printed at


def test_two_evaluations_do_not_write_into_one_folder(checkpoint: str) -> None:
    first = one(checkpoint)
    before = {path: path.stat().st_mtime_ns for path in Path(first.folder).rglob("*")}
    with held(first.folder, "evaluate"), pytest.raises(UserError, match="another kinebert evaluate works here"):
        one(checkpoint)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    np.testing.assert_array_equal(one(checkpoint).scores.scores, first.scores.scores)


def test_all_mistakes_are_found_before_anything_is_scored(checkpoint: str, shards: ShardSet, tmp_path: Path) -> None:
    other = make_checkpoint(tmp_path / "other" / "best.pt", shards, ProtocolRecipe(), split="split9")
    with pytest.raises(UserError, match="no split 'split9'"):
        evaluate(EvaluationRequest(checkpoints=(checkpoint, other), part="val"))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["best.pt"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"save_every_s": -1.0}, "save_every_s must be a number of seconds from 0"),
        ({"checkpoints": ()}, "give the checkpoint of a training"),
        ({"workers": 2, "device": "cuda:0"}, "workers choose their own GPUs"),
    ],
)
def test_requests_that_make_no_sense(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        EvaluationRequest(**{"checkpoints": ("best.pt",), **values})  # type: ignore[arg-type]
