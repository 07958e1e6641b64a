"""A network of two streams trains on aligned sets, goes on to the bit, and is evaluated, shown and asked of videos."""

from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.orchestration.reports.attention_figure import draw_attention
from kinebert.orchestration.reports.drawing import to_png
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.tvl1 import TvL1Params
from kinebert.training.aligned import AlignedShards
from kinebert.training.checkpoints.recognizer import check_shards, load_recognizer
from kinebert.training.evaluation.attention import attend_videos
from kinebert.training.evaluation.evaluate import evaluate
from kinebert.training.evaluation.predict import Stream, predict_video
from kinebert.training.loop.preflight import check_training
from kinebert.training.recipe.train import ProtocolRecipe, TrainRecipe
from tests.helpers.sets import make_rows, make_set
from tests.helpers.small_training import Killed, numbers, recipe_with, run, weights_of

RGB = FrameRecipe(width=86, height=64)
FLOW = FlowRecipe(width=86, height=64, tvl1=TvL1Params(warps=1, outer_iterations=1))  # any flow will do


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> AlignedShards:
    folder = tmp_path_factory.mktemp("sets")
    rows = make_rows(folder / "videos", (9, 12, 8, 15, 10, 9, 11, 13, 9))
    return AlignedShards([make_set(rows, folder / name, of) for name, of in (("rgb", RGB), ("flow", FLOW))])


def recipe_of(sets: AlignedShards, head: str) -> TrainRecipe:
    first, second = (one.uri for one in sets.sets)
    return recipe_with(
        data={"shards": first, "beside": [second], "modality": "rgb+flow", "crop_size": 32},
        model={"head": head},
        batch_size=4,
        micro_batch=2,
        epochs=2,
    )


@pytest.fixture(scope="module", params=["bert", "bert_tokens"])
def trained(request: pytest.FixtureRequest, sets: AlignedShards, tmp_path_factory: pytest.TempPathFactory) -> Any:
    recipe, folder = recipe_of(sets, request.param), tmp_path_factory.mktemp("run")
    summary, _ = run(recipe, folder, sets)  # type: ignore[arg-type]
    return recipe, folder, summary


def test_a_killed_run_goes_on_to_the_same_weights(trained: Any, sets: AlignedShards, tmp_path: Path) -> None:
    recipe, folder, whole = trained
    with pytest.raises(Killed):
        run(recipe, tmp_path, sets, die_at=2)  # type: ignore[arg-type]
    summary, events = run(recipe, tmp_path, sets)  # type: ignore[arg-type]
    assert events[0].resumed is not None
    expected = weights_of(folder)
    for name, value in weights_of(tmp_path).items():
        assert torch.equal(value, expected[name]), name
    assert numbers(summary.history) == numbers(whole.history)


def test_its_checkpoint_knows_both_sets(trained: Any, sets: AlignedShards) -> None:
    uri = str(trained[1] / "best.pt")
    _, info = load_recognizer(uri)
    assert info.recipe == {one.modality: dict(one.recipe) for one in sets.sets}
    check_shards(uri, info, sets)
    with pytest.raises(UserError, match=r"takes rgb\+flow, .* holds rgb\. Give .* rgb shards, and of flow beside"):
        check_shards(uri, info, sets.sets[0])
    with pytest.raises(UserError, match=r"holds flow\+rgb"):
        check_shards(uri, info, AlignedShards(sets.sets[::-1]))


def test_it_refuses_flow_of_another_recipe(trained: Any, sets: AlignedShards, tmp_path: Path) -> None:
    rows = make_rows(tmp_path / "videos", (9, 12, 8, 15, 10, 9, 11, 13, 9))
    other = make_set(rows, tmp_path / "flow", FlowRecipe(width=86, height=64, bound=8, tvl1=FLOW.tvl1))
    uri = str(trained[1] / "best.pt")
    _, info = load_recognizer(uri)
    with pytest.raises(UserError, match=r"flow\.bound: 20\.0 != 8"):
        check_shards(uri, info, AlignedShards([sets.sets[0], other]))


def test_it_is_asked_of_a_video_as_of_its_sets(trained: Any, sets: AlignedShards) -> None:
    """Extracted and scored on the way, a video has the scores that its sets give it."""
    uri = str(trained[1] / "best.pt")
    net, _ = load_recognizer(uri)
    scores = evaluate(net, sets, trained[0].data, part="val", protocol=ProtocolRecipe(clips="multi"))
    stream = Stream.load(uri, lambda protocol: ProtocolRecipe(clips="multi"))
    assert [one.modality for one in stream.extractions] == ["rgb", "flow"]
    path = sets.sets[0].uri.replace("rgb", "videos") + f"/{scores.video_ids[0]}.mp4"
    said = predict_video(path, [stream])
    torch.testing.assert_close(torch.from_numpy(said.scores), torch.from_numpy(scores.scores[0]), rtol=1e-5, atol=1e-6)
    assert len(said.windows) == scores.num_clips[0]


def test_attention_is_told_of_each_stream(trained: Any, sets: AlignedShards) -> None:
    found = attend_videos(str(trained[1] / "best.pt"))
    (clip,) = found.clips
    assert clip.clip.shape == (4, 32, 32, 5)
    assert [layer.name for layer in clip.layers] == ["rgb, layer 1", "flow, layer 1"]
    shares = [layer.weights for layer in clip.layers]
    if trained[0].model.head == "bert":
        sums = [share.sum(axis=1) for share in shares]
    else:
        sums = [shares[0].sum(axis=1) + shares[1][:, 1:].sum(axis=1)]
    for one in sums:
        torch.testing.assert_close(torch.from_numpy(one), torch.ones(len(one)))
    assert to_png(draw_attention(found.clips, found.shards.flow_bound))[:4] == b"\x89PNG"


def test_a_set_alone_is_refused_where_two_are_named(trained: Any, sets: AlignedShards, tmp_path: Path) -> None:
    assert isinstance(sets.sets[0], ShardSet)
    with pytest.raises(UserError, match=r"holds rgb, the recipe's data\.modality is rgb\+flow\. Give .* in this order"):
        check_training(trained[0], sets.sets[0], str(tmp_path))
