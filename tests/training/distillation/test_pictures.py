"""A teacher with a shard set of its own sees the frames, the crop and the mirroring of its student."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.tvl1 import TvL1Params
from kinebert.training.checkpoints.recognizer import load_recognizer, save_recognizer
from kinebert.training.checkpoints.state import load_state
from kinebert.training.data.dataset import ClipDataset
from kinebert.training.data.transforms import to_device_batch
from kinebert.training.distillation.pictures import pictures_of
from kinebert.training.distillation.teacher import TeacherOnDevice
from kinebert.training.loop.initial import pinned
from kinebert.training.loop.loop import TrainSummary, WorkerContext, train
from kinebert.training.loop.preflight import check_training
from kinebert.training.models import build_recognizer
from kinebert.training.recipe.train import TrainRecipe
from tests.helpers.sets import make_rows, make_set
from tests.helpers.small_training import recipe_with

RGB = FrameRecipe(width=86, height=64)
FLOW = FlowRecipe(width=86, height=64, tvl1=TvL1Params(warps=1, outer_iterations=1))  # any flow will do
LENGTHS = (12, 40, 9, 17, 14, 11)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[ManifestRow]:
    return make_rows(tmp_path_factory.mktemp("videos"), LENGTHS)  # four to learn from, two to measure


@pytest.fixture(scope="module")
def sets(rows: list[ManifestRow], tmp_path_factory: pytest.TempPathFactory) -> dict[str, ShardSet]:
    folder = tmp_path_factory.mktemp("sets")
    return {
        "rgb": make_set(rows, folder / "rgb", RGB, 1),
        "flow": make_set(rows, folder / "flow", FLOW, 2),
        "other": make_set(rows[:5], folder / "other", FLOW, 1),
    }


@pytest.fixture(scope="module")
def teacher(sets: dict[str, ShardSet], tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(3)
    net = build_recognizer(
        backbone="resnet18",
        width=0.125,
        head="bert",
        modality="flow",
        num_classes=len(sets["flow"].classes),
        clip_length=4,
        size=16,
    )
    uri = str(tmp_path_factory.mktemp("teacher") / "flow.pt")
    save_recognizer(uri, net.eval(), sets["flow"], epoch=1, metrics={})
    return uri


def recipe_for(sets: dict[str, ShardSet], teacher: str, **data: Any) -> TrainRecipe:
    distill = {"method": "bert", "teacher": teacher, "shards": sets["flow"].uri}
    more = {"shards": sets["rgb"].uri, **data}
    return recipe_with(distill=distill, data=more, batch_size=4, micro_batch=2, epochs=2, optim={"lr": 1e-3})


def start(recipe: TrainRecipe, sets: dict[str, ShardSet], output: Path) -> TrainSummary:
    return train(recipe, sets["rgb"], WorkerContext(num_threads=1), str(output), lambda _: None)


@pytest.mark.parametrize("resize_on", ["loader", "device"])
def test_the_teacher_sees_the_student_s_clips_in_its_own_pictures(
    resize_on: str, sets: dict[str, ShardSet], teacher: str, tmp_path: Path
) -> None:
    recipe = recipe_for(sets, teacher, resize_on=resize_on)
    seen: list[Tensor] = []
    with pytest.MonkeyPatch.context() as patch:
        answer = TeacherOnDevice.__call__

        def watched(self: TeacherOnDevice, x_NCTHW: Tensor) -> Tensor:
            seen.append(x_NCTHW)
            return answer(self, x_NCTHW)

        patch.setattr(TeacherOnDevice, "__call__", watched)
        done = start(recipe, sets, tmp_path)
    assert float(done.history[0]["train_loss_distill"]) > 0
    spec = load_recognizer(teacher)[0].spec
    least = {video.video_id: video.num_images for video in sets["flow"].videos}
    videos = [replace(v, num_images=least[v.video_id]) for v in sets["flow"].select("split1", "train")]
    plain = ClipDataset(sets["flow"], videos, replace(recipe.data, resize_on="loader"), seed=recipe.seed, training=True)
    clips = np.stack([np.asarray(plain[epoch, i][0]) for epoch in range(2) for i in range(4)])
    expected = to_device_batch(torch.from_numpy(clips), spec, torch.device("cpu"))
    found = torch.cat(seen)
    # codes that the device resizes lie at most one from the loader's
    step = 1 / 255 / min(spec.std) * (spec.value_range[1] - spec.value_range[0])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6 if resize_on == "loader" else 1.01 * step)
    assert found.shape[1] == 2
    student, _ = load_recognizer(str(tmp_path / "last.pt"))
    assert student.spec.modality == "rgb"


def test_a_run_remembers_both_sets(sets: dict[str, ShardSet], teacher: str, tmp_path: Path) -> None:
    recipe = pinned(recipe_for(sets, teacher))
    told = check_training(recipe, sets["rgb"], str(tmp_path))
    assert any("the teacher is resnet18 + bert on flow" in note for note in told)
    start(recipe, sets, tmp_path)
    state = load_state(str(tmp_path))
    assert state is not None
    assert state.shards["teacher"]["content"] == sets["flow"].content
    assert "nothing is trained again" in "".join(check_training(recipe, sets["rgb"], str(tmp_path)))


def test_sets_that_do_not_hold_the_same_videos_are_refused(
    sets: dict[str, ShardSet], teacher: str, tmp_path: Path
) -> None:
    recipe = recipe_for(sets, teacher)
    assert recipe.distill is not None
    other = replace(recipe, distill=replace(recipe.distill, shards=sets["other"].uri))
    with pytest.raises(UserError, match="knows nothing of"):
        start(other, sets, tmp_path)
    without = replace(recipe, distill=replace(recipe.distill, shards=""))
    with pytest.raises(UserError, match=r"this teacher takes flow, .* holds rgb. Give its set as distill.shards"):
        start(without, sets, tmp_path)
    assert pictures_of(without, sets["rgb"]).same
