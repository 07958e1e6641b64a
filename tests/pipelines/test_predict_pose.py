"""A recognizer of poses says what happens in new videos: people are found in them as they were for its training."""

import json
from pathlib import Path

import numpy as np
import pytest

from kinebert.pipelines import predict
from kinebert.preprocessing.extraction import pose_finder
from kinebert.preprocessing.extraction.pose_finder import PoseFinder
from kinebert.preprocessing.pose.weights import FOLDER_VARIABLE
from kinebert.preprocessing.recipe import PoseRecipe
from kinebert.training.evaluation.evaluate import average, score_views
from kinebert.training.evaluation.predict import Stream
from kinebert.training.evaluation.scorer import Scorer
from kinebert.training.recipe.train import ProtocolRecipe
from tests.helpers.checkpoints import make_checkpoint
from tests.helpers.poses import SHA256, bright_backend, write_weights
from tests.helpers.sets import make_rows, make_set


def test_scores_are_those_of_the_set_that_extraction_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "nothing"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    pose_finder._started.cache_clear()
    rows = make_rows(tmp_path / "videos", [9, 14])
    weights = write_weights(tmp_path / "weights")
    recipe = {"backend": "bright", "weights": {"network": SHA256}, "width": 80, "height": 60}
    with bright_backend():
        finder = PoseFinder(files={"network": str(weights)})
        shards = make_set(rows, tmp_path / "set", PoseRecipe(**recipe), solver=finder)  # type: ignore[arg-type]
        make_checkpoint(tmp_path / "best.pt", shards, ProtocolRecipe(clips="multi"))
        video, command = rows[0].path, ["--checkpoint", str(tmp_path / "best.pt"), "--output", str(tmp_path / "out")]
        assert predict.cli([video, *command]) == 2
        printed = capsys.readouterr().err
        assert f"there is none with the SHA-256 {SHA256}" in printed
        assert not (tmp_path / "out").exists()
        assert predict.cli([video, *command, "--pose-weights", str(weights.parent)]) == 0
        (row,) = json.loads((tmp_path / "out" / "predictions.json").read_text())["videos"]
        stream = Stream.load(str(tmp_path / "best.pt"))
        entry = [shards.entry(rows[0].video_id)]
        scorer = Scorer(stream.recognizer, shards, entry, stream.data, stream.protocol)
        expected = average(score_views(shards, entry, stream.data, stream.protocol, scorer, part="", batch=16)).scores[
            0
        ]
        assert np.array_equal(np.float32(row["scores"]), expected)
        of_frames = make_set(rows, tmp_path / "other", PoseRecipe(**recipe, source="0123"), solver=finder)  # type: ignore[arg-type]
        make_checkpoint(tmp_path / "best.pt", of_frames, ProtocolRecipe(clips="multi"))
        assert predict.cli([video, *command]) == 2
        assert "takes pose, which cannot be made from a video here" in capsys.readouterr().err
