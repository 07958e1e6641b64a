"""A training that is thought through: it is refused as a training is, says what it would do, and writes nothing."""

import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.orchestration.cluster import Node
from kinebert.orchestration.jobs import dry_run as dry
from kinebert.orchestration.jobs.dry_run import dry_run
from kinebert.orchestration.jobs.requests import TrainingRequest
from kinebert.orchestration.printing import Paragraph
from kinebert.orchestration.ray_train.workers import plan_here
from kinebert.orchestration.reports.dry_run import told
from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.config import parse_toml
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.checkpoints.recognizer import save_recognizer
from kinebert.training.models import build_recognizer
from kinebert.training.recipe.distill import DistillRecipe
from kinebert.training.recipe.train import DataRecipe, ModelRecipe, MultigridRecipe, TrainRecipe
from tests.helpers.listening import Heard
from tests.helpers.sets import make_rows, make_set


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dry")
    make_set(make_rows(folder / "videos", [6] * 9), folder / "rgb", FrameRecipe(resize="none"))
    return folder


@pytest.fixture
def request_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingRequest:
    """A training that may begin; whoever starts a cluster or a training fails."""
    monkeypatch.setattr("kinebert.orchestration.cluster.ray.is_initialized", lambda: False)
    monkeypatch.setattr("kinebert.orchestration.cluster.ray.init", lambda **_: pytest.fail("a cluster was started"))
    monkeypatch.setattr("kinebert.orchestration.cluster._present", None)
    monkeypatch.setattr("kinebert.orchestration.jobs.training.fit", lambda *_, **__: pytest.fail("it was trained"))
    recipe = TrainRecipe(
        data=DataRecipe(shards=str(folder / "rgb"), clip_length=4, crop_size=32),
        model=ModelRecipe(backbone="resnet18", head="tgap", width=0.125),
        batch_size=4,
        micro_batch=2,
        epochs=3,
    )
    return TrainingRequest(recipe=recipe, output=str(folder / "runs" / "rgb"))


def with_model(request: TrainingRequest, **changes: Any) -> TrainingRequest:
    return replace(request, recipe=replace(request.recipe, model=replace(request.recipe.model, **changes)))


def files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def lines(found: dry.DryRun) -> str:
    return "\n".join(part.text if isinstance(part, Paragraph) else str(part) for part in told(found, {}))


def test_it_says_what_would_be_done_and_writes_nothing(request_for: TrainingRequest, folder: Path) -> None:
    before, heard = files(folder), Heard()
    found = dry_run(request_for, heard)
    assert files(folder) == before
    assert [(part.name, part.num_videos, part.num_images, part.num_classes) for part in found.parts] == [
        ("split1/train", 6, 36, 2),
        ("split1/val", 3, 18, 2),
    ]
    assert (found.shards.modality, found.read) == ("rgb", True)
    assert found.num_bytes == sum(path.stat().st_size for path in (folder / "rgb").glob("shard-*.parquet"))
    assert [(stage.recipe.epochs, stage.num_steps) for stage in found.stages] == [(3, 1)]  # of 6 videos, 4 to an update
    assert found.plan is not None
    assert (found.plan.recipe.workers, found.private) == (1, True)
    assert found.memory.total > found.memory.weights > 0
    assert found.available is not None
    assert found.too_large == ""
    assert found.store == f"sqlite:///{folder}/runs/mlflow.db"
    assert any("too few to choose an epoch by" in text for text in heard.said)


def test_the_recipe_that_it_prints_is_the_one_that_would_run(request_for: TrainingRequest) -> None:
    found = dry_run(request_for)
    printed = [*told(found, {"data.shards": "--set", "epochs": "mine.toml"})]
    toml = "\n".join(str(part) for part in printed[: printed.index("")])
    text = lines(found)
    whole = "\n".join(str(part) for part in printed if isinstance(part, str)).partition("\n  recipe ")[0]
    assert "data: " not in toml
    assert from_mapping(TrainRecipe, parse_toml(whole.encode(), "printed"), "printed") == found.recipe
    assert any(str(part).split() == ["epochs", "=", "3", "#", "mine.toml"] for part in printed)
    assert any(str(part).endswith("# --set") and str(part).startswith("shards = ") for part in printed)
    assert any(str(part).split() == ["seed", "=", "0", "#", "default"] for part in printed)
    assert any(str(part).startswith("# tune is not given") for part in printed)
    assert "nothing was trained and nothing was written" in text


def test_weights_are_found_and_fitted_or_refused(request_for: TrainingRequest, tmp_path: Path) -> None:
    given = request_for.recipe.model.arguments()
    for name, width in (("w.pth", 0.125), ("wide.pth", 0.25)):
        net = build_recognizer(**{**given, "width": width}, num_classes=2, clip_length=4, size=32)
        torch.save({"config": net.config, "state_dict": net.state_dict()}, tmp_path / name)
    heard = Heard()
    found = dry_run(with_model(request_for, weights=str(tmp_path / "w.pth")), heard)
    assert any("w.pth, read as kinebert: " in text for text in heard.said)
    assert len(found.recipe.model.weights_digest) == 64
    assert f"weights: {tmp_path}/w.pth, SHA-256 {found.recipe.model.weights_digest}" in lines(found)
    assert "# of the file" in lines(found)
    with pytest.raises(UserError, match="do not fit resnet18"):
        dry_run(with_model(request_for, weights=str(tmp_path / "wide.pth")))
    with pytest.raises(UserError, match="no such file"):
        dry_run(with_model(request_for, weights=str(tmp_path / "lost.pth")))


def test_weights_from_the_web_are_not_fetched(
    request_for: TrainingRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked = with_model(request_for, weights="https://127.0.0.1:1/w.pth", weights_digest="a" * 64)
    found = dry_run(asked)
    assert found.weights == "https://127.0.0.1:1/w.pth, which would be fetched first: whether it fits is not known yet"
    assert found.recipe.model.weights_digest == "a" * 64
    with pytest.raises(UserError, match="which bytes are meant"):
        dry_run(with_model(request_for, weights="https://127.0.0.1:1/w.pth"))


@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_a_set_that_is_not_what_was_written_is_refused(request_for: TrainingRequest, folder: Path, damage: str) -> None:
    shard = sorted((folder / "rgb").glob("shard-*.parquet"))[-1]
    whole = shard.read_bytes()
    try:
        if damage == "gone":
            shard.unlink()
        else:
            shard.write_bytes(bytes([whole[0], whole[1] ^ 1]) + whole[2:] if damage == "changed" else whole[:-1])
        words = {"changed": "is not what was written", "cut": f"{len(whole)} were written", "gone": "no such file"}
        with pytest.raises(UserError, match=f"{shard.name}: .*{words[damage]}"):
            dry_run(request_for)
    finally:
        shard.write_bytes(whole)


def test_of_a_large_set_sizes_are_looked_at(request_for: TrainingRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry, "_READ_BYTES", 1000)
    monkeypatch.setattr(dry, "changed_shards", lambda *_: pytest.fail("it was read"))
    found = dry_run(request_for)
    assert not found.read
    assert "are there, of the right sizes (kinebert verify reads them)" in lines(found)


def test_too_little_memory_is_said_with_what_to_lower(
    request_for: TrainingRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry, "_available", lambda *_: 1_000_000)
    found = dry_run(request_for)
    assert "warning: memory will hardly do. Each worker held micro_batch = 2 clips" in lines(found)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": {"split": "two"}}, "no split 'two'"),
        ({"data": {"modality": "flow"}}, "the recipe's data.modality is flow"),
        ({"model": {"head": "concat_fc"}, "data": {"shards": "/nowhere"}}, "expected a finished shard set"),
        ({"workers": 4096, "batch_size": 8192}, "workers = 4096, but this machine has"),
        ({"optim": {"frozen": ("backbone.nothing",)}}, "backbone.nothing"),
    ],
)
def test_it_is_refused_as_the_training_is(request_for: TrainingRequest, changes: dict, words: str) -> None:
    recipe = request_for.recipe
    inner = {
        key: replace(getattr(recipe, key), **value) if isinstance(value, dict) else value
        for key, value in changes.items()
    }
    with pytest.raises(UserError, match=words):
        dry_run(replace(request_for, recipe=replace(recipe, **inner)))


def test_it_plans_for_this_machine_without_a_cluster(
    request_for: TrainingRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinebert.orchestration.ray_train.workers.available_cores", lambda: 8)
    two = replace(request_for.recipe, workers=2)
    plan = plan_here(two, None, "auto")
    assert (plan.recipe.workers, plan.cpus, plan.use_gpu) == (2, 4.0, False)
    assert plan_here(replace(two, min_workers=1), 8.0, "cpu").recipe.workers == 1
    with pytest.raises(UserError, match="workers = 2 with 8 CPUs each need 16, the cluster has 8"):
        plan_here(two, 8.0, "cpu")


def test_a_cluster_is_asked_and_what_it_would_start_is_said(
    request_for: TrainingRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_little(*_: object) -> None:
        raise UserError("workers = 1, but the cluster has 0 GPUs.")

    monkeypatch.setattr("kinebert.orchestration.cluster.is_private", lambda: False)
    monkeypatch.setattr("kinebert.orchestration.cluster.cluster", nullcontext)
    monkeypatch.setattr(dry, "plan_workers", too_little)
    monkeypatch.setattr(dry, "may_grow_to", lambda: None)
    with pytest.raises(UserError, match="the cluster has 0 GPUs"):
        dry_run(request_for)
    monkeypatch.setattr(dry, "may_grow_to", lambda: Node(64, 8))
    found = dry_run(request_for)
    assert found.plan is None
    assert "cluster: the cluster would be asked for nodes first: workers = 1, but the cluster has 0 GPUs." in lines(
        found
    )
    assert "how much there is is not known here" in lines(found)


def test_the_cycles_of_multigrid_are_a_table(request_for: TrainingRequest) -> None:
    given = request_for.recipe
    recipe = replace(
        given,
        multigrid=MultigridRecipe(long_cycle=True, short_cycle=True),
        batch_size=1,
        micro_batch=1,
        epochs=6,
    )
    text = lines(dry_run(replace(request_for, recipe=recipe)))
    length, crop = given.data.clip_length, given.data.crop_size
    assert "length: 6 epochs, " in text
    first, last = (line for line in text.splitlines() if line.strip().startswith(("1-3", "6-6")))
    assert f"16x{length // 4}x{crop // 2}, " in first
    assert "8, 8, 8" in first
    assert f"4x{length}x{crop // 2}, " in last
    assert f"1x{length}x{crop} " in last


def test_a_teacher_is_read_and_its_memory_counted(request_for: TrainingRequest, tmp_path: Path) -> None:
    shards = ShardSet.open(request_for.recipe.data.shards)
    teacher = build_recognizer(
        backbone="resnet18", width=0.25, num_classes=len(shards.classes), clip_length=4, size=32, head="bert"
    )
    uri = str(tmp_path / "teacher.pt")
    save_recognizer(uri, teacher.eval(), shards, epoch=1, metrics={})
    distill = DistillRecipe(method="logits", teacher=uri)
    plain, taught = (
        dry_run(replace(request_for, recipe=replace(request_for.recipe, distill=one))) for one in (None, distill)
    )
    weights = 4 * sum(value.numel() for value in teacher.state_dict().values())
    assert plain.memory.teacher == 0
    assert plain.teacher == ""
    clip = 4 * 2 * 3 * 4 * 32 * 32
    assert weights + clip < taught.memory.teacher < weights + 20 * clip
    assert taught.memory.total == plain.memory.total + taught.memory.teacher
    text = lines(taught)
    assert f"teacher: resnet18 + bert on rgb, {uri}, SHA-256 {taught.recipe.distill.teacher_digest}" in text  # type: ignore[union-attr]
    assert re.search(r"[0-9.]+ teacher\)", text)
    wide = replace(request_for.recipe, distill=replace(distill, method="mars"))
    with pytest.raises(UserError, match="the teacher gives 128 pooled features, the student 64"):
        dry_run(replace(request_for, recipe=wide))
