"""Trainings with a teacher: what it is, that it stays, and that runs go on to the same bits and the same losses."""

from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.training.checkpoints.recognizer import load_recognizer, save_recognizer
from kinebert.training.checkpoints.state import load_state
from kinebert.training.distillation.kept import KeptAnswers
from kinebert.training.distillation.teacher import TeacherOnDevice
from kinebert.training.loop.events import EpochDone, StageBegan, StepDone
from kinebert.training.models import build_recognizer
from tests.helpers.fake_shards import make_shards
from tests.helpers.small_training import Killed, numbers, poison, recipe_with, run, weights_of

SMALL: dict[str, Any] = {"backbone": "resnet18", "width": 0.125, "clip_length": 4, "size": 16, "num_classes": 3}


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Teachers with weights that were drawn at random, by the head that they have."""
    folder, found = tmp_path_factory.mktemp("teachers"), {}
    for seed, (name, more) in enumerate({"bert": {}, "tgap": {}, "wide": {"width": 0.25}}.items()):
        torch.manual_seed(seed + 7)
        net = build_recognizer(**{**SMALL, "head": "tgap" if name == "wide" else name, **more})
        found[name] = str(folder / f"{name}.pt")
        save_recognizer(found[name], net.eval(), make_shards(), epoch=1, metrics={})
    return found


METHODS: dict[str, dict[str, Any]] = {
    "mars": {"distill": {"method": "mars", "teacher": "tgap"}},
    "mers, joint": {"distill": {"method": "mers", "teacher": "tgap"}},
    "mers, in stages": {
        "distill": {"method": "mers", "teacher": "tgap", "mers": "stages", "feature_epochs": 1},
        "optim": {"schedule": "constant"},
    },
    "bert": {"distill": {"method": "bert", "teacher": "bert"}},
    "bert, hidden, sum, mixed": {
        "distill": {"method": "bert", "teacher": "bert", "positions": "hidden", "reduction": "sum", "weight": 2.0},
        "mixing": {"mixup": 0.4, "cutmix": 1.0},
    },
    "logits": {"distill": {"method": "logits", "teacher": "bert", "temperature": 2.0}, "ema": 0.5},
    "projection": {"distill": {"method": "mars", "teacher": "wide", "projection": True}},
    "float64, channels last": {
        "distill": {"method": "bert", "teacher": "bert"},
        "amp": "fp64",
        "channels_last": True,
        "optim": {"lr_zero": ["backbone.stem", "backbone.layer[12]"]},
    },
}


def of_method(name: str, teachers: dict[str, str], **more: Any) -> dict[str, Any]:
    """The changes of a method, with its teacher's file."""
    changes = {**METHODS[name], **more}
    return {**changes, "distill": {**changes["distill"], "teacher": teachers[changes["distill"]["teacher"]]}}


SLOW_METHODS: dict[str, dict[str, Any]] = {
    "bf16": {"distill": {"method": "bert", "teacher": "bert", "dtype": "bf16"}, "data": {"crop_size": 16}},
    "clips in stages": {
        "distill": {"method": "mars", "teacher": "tgap"},
        "stages": [{"clip_length": 2, "epochs": 1}, {"clip_length": 4, "epochs": 1}],
    },
}
METHODS |= SLOW_METHODS
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in SLOW_METHODS]


@pytest.mark.parametrize("name", [*(name for name in METHODS if name not in SLOW_METHODS), *SLOW])
def test_a_killed_run_goes_on_to_the_same_bits(name: str, teachers: dict[str, str], tmp_path: Path) -> None:
    recipe = recipe_with(**of_method(name, teachers, epochs=2))
    before = Path(teachers["bert"]).read_bytes()
    whole, told = run(recipe, tmp_path / "whole")
    for die_at in (3, 4):
        with pytest.raises(Killed):
            run(recipe, tmp_path / "cut", die_at=die_at)
    cut, _ = run(recipe, tmp_path / "cut")
    assert numbers(cut.history) == numbers(whole.history)
    expected = weights_of(tmp_path / "whole")
    assert all(torch.equal(value, expected[key]) for key, value in weights_of(tmp_path / "cut").items())
    states = [load_state(str(tmp_path / kind)) for kind in ("cut", "whole")]
    projections = [state.projection for state in states if state is not None]
    if name == "projection":
        assert torch.equal(*projections)  # type: ignore[arg-type]
    else:
        assert projections == [None, None]
    for event in told:
        if isinstance(event, StepDone) and event.loss_distill is not None:
            assert event.loss_distill > 0
            assert event.loss == pytest.approx(event.loss_labels + event.loss_distill)  # type: ignore[operator]
    rows = [event.numbers() for event in told if isinstance(event, EpochDone)]
    assert rows[0]["train_loss"] == pytest.approx(rows[0]["train_loss_labels"] + rows[0]["train_loss_distill"])
    student, info = load_recognizer(str(tmp_path / "whole" / "best.pt"))
    assert set(student.state_dict()) == set(build_recognizer(**{**SMALL, "head": "bert"}).state_dict())
    assert Path(teachers["bert"]).read_bytes() == before
    if name != "mers, in stages":
        assert len(info.extra["train"]["distill"]["teacher_digest"]) == 64


def test_features_come_nearer_to_the_teacher_s(teachers: dict[str, str], tmp_path: Path) -> None:
    for name in ("mars", "mers, joint", "bert"):
        done, _ = run(recipe_with(**of_method(name, teachers, epochs=3)), tmp_path / name)
        first, *_, last = [float(row["train_loss_distill"]) for row in done.history]
        assert last < 0.8 * first, name


def test_the_paper_s_mers_trains_features_and_then_the_classifier(teachers: dict[str, str], tmp_path: Path) -> None:
    done, told = run(recipe_with(**of_method("mers, in stages", teachers, epochs=3)), tmp_path)
    assert [event.stage for event in told if isinstance(event, StageBegan)] == [2]
    stage1, stage2 = (load_recognizer(str(tmp_path / name))[0].state_dict() for name in ("stage1_last.pt", "last.pt"))
    same = {name for name, value in stage2.items() if torch.equal(value, stage1[name])}
    assert set(stage2) - same == {"classifier.weight", "classifier.bias"}  # running statistics stay as well
    torch.manual_seed(0)
    fresh = build_recognizer(**{**SMALL, "head": "bert", "dropout": 0.2}).state_dict()
    assert torch.equal(stage1["classifier.weight"], fresh["classifier.weight"])
    assert not torch.equal(stage1["backbone.stem.0.weight"], fresh["backbone.stem.0.weight"])
    first, second, _ = done.history
    assert first["train_loss_labels"] == 0
    assert "train_loss_distill" not in second


def test_joint_mers_moves_running_statistics_twice(teachers: dict[str, str], tmp_path: Path) -> None:
    counts = []
    for name in ("mars", "mers, joint"):
        run(recipe_with(**of_method(name, teachers, epochs=1)), tmp_path / name)
        counts.append(int(weights_of(tmp_path / name)["backbone.stem.1.num_batches_tracked"]))
    assert counts == [6, 12]  # 24 videos in micro-batches of 4


def test_a_rate_of_0_leaves_weights_and_moves_statistics(teachers: dict[str, str], tmp_path: Path) -> None:
    names = ["backbone.stem", "backbone.layer[123]"]
    run(recipe_with(**of_method("mars", teachers, epochs=1, optim={"lr_zero": names})), tmp_path / "zero")
    torch.manual_seed(0)
    fresh = build_recognizer(**{**SMALL, "head": "bert", "dropout": 0.2})
    found, parameters = weights_of(tmp_path / "zero"), dict(fresh.named_parameters())
    before = tuple(f"backbone.{part}." for part in ("stem", "layer1", "layer2", "layer3"))
    for name, value in fresh.state_dict().items():
        still = name.startswith(before) and name in parameters
        assert torch.equal(found[name], value) == still, name
    with pytest.raises(ConfigError, match=r"optim.lr_zero: the recognizer has no module 'backbone.layer9'"):
        run(recipe_with(optim={"lr_zero": ["backbone.layer9"]}), tmp_path / "none")


def test_a_teacher_neither_learns_nor_hides_steps_nor_drops_anything(teachers: dict[str, str], tmp_path: Path) -> None:
    asked: list[tuple[bool, bool, torch.Tensor]] = []
    with pytest.MonkeyPatch.context() as patch:
        answer = TeacherOnDevice.__call__

        def watched(self: TeacherOnDevice, x_NCTHW: torch.Tensor) -> torch.Tensor:
            first, second = answer(self, x_NCTHW), answer(self, x_NCTHW)
            assert torch.equal(first, second)
            asked.append((self._network.training, any(p.requires_grad for p in self._network.parameters()), first))
            return first

        patch.setattr(TeacherOnDevice, "__call__", watched)
        run(recipe_with(**of_method("logits", teachers, epochs=1)), tmp_path)
    assert len(asked) == 6
    assert not any(training or learns or given.requires_grad for training, learns, given in asked)


def test_what_does_not_fit_is_refused_with_the_numbers(teachers: dict[str, str], tmp_path: Path) -> None:
    def start(distill: dict[str, Any], **more: Any) -> None:
        run(recipe_with(distill=distill, **more), tmp_path)

    wide, plain = teachers["wide"], teachers["tgap"]
    with pytest.raises(ConfigError, match=r"gives 128 pooled features, the student 64\. .*distill.projection = true"):
        start({"method": "mars", "teacher": wide})
    with pytest.raises(ConfigError, match=r"gives 4 x 128 features of the time steps, the student 4 x 64"):
        start({"method": "bert", "teacher": wide})
    with pytest.raises(ConfigError, match=r"gives 2 x 64 features of the time steps, the student 4 x 64\..*every"):
        start({"method": "bert", "teacher": plain, "every": 2})
    with pytest.raises(ConfigError, match=r"the student's head is 'tgap'"):
        start({"method": "bert", "teacher": plain}, model={"head": "tgap"})
    with pytest.raises(UserError, match="distill.teacher is empty"):
        start({"method": "mars"})
    with pytest.raises(UserError, match=r"the digest of this teacher is [0-9a-f]{64}, .* is 00ff"):
        start({"method": "mars", "teacher": plain, "teacher_digest": "00ff"})
    with pytest.raises(ConfigError, match=r"the teacher's crop_size is 16, data.crop_size is 24"):
        start({"method": "mars", "teacher": plain}, data={"crop_size": 24})
    with pytest.raises(ConfigError, match=r"mers = \"features\" trains features under a classifier"):
        start({"method": "mers", "mers": "features", "teacher": plain})
    with pytest.raises(ConfigError, match=r"out of epochs = 3"):
        start(
            {"method": "mers", "mers": "stages", "feature_epochs": 3, "teacher": plain}, optim={"schedule": "constant"}
        )
    with pytest.raises(ConfigError, match="Leave multigrid out"):
        start({"method": "mars", "teacher": plain}, multigrid={"short_cycle": True}, model={"head": "tgap"})


def test_a_teacher_of_other_classes_or_pictures_is_refused(teachers: dict[str, str], tmp_path: Path) -> None:
    others = make_shards(num_classes=3)
    others.classes = ["a", "b", "c"]
    with pytest.raises(UserError, match="tells 3 classes apart, which are not the 3"):
        run(recipe_with(distill={"method": "logits", "teacher": teachers["tgap"]}), tmp_path, others)
    run(recipe_with(distill={"method": "mars", "teacher": teachers["tgap"]}, epochs=1), tmp_path / "pooled", others)
    flow = make_shards(modality="flow")
    with pytest.raises(UserError, match="this teacher takes rgb, /fake/set holds flow"):
        run(recipe_with(distill={"method": "mars", "teacher": teachers["tgap"]}), tmp_path, flow)
    others = make_shards()
    others.digest, others.recipe = "other", {"width": 64}
    with pytest.raises(UserError, match="width: 32 != 64"):
        run(recipe_with(distill={"method": "mars", "teacher": teachers["tgap"]}), tmp_path, others)


def test_a_run_goes_on_with_its_teacher_alone(teachers: dict[str, str], tmp_path: Path) -> None:
    run(recipe_with(distill={"method": "mars", "teacher": teachers["tgap"]}, epochs=1), tmp_path / "run")
    with pytest.raises(UserError, match=r"recipe\.distill\.teacher_digest"):
        run(recipe_with(distill={"method": "mars", "teacher": teachers["bert"]}, epochs=2), tmp_path / "run")
    with pytest.raises(UserError, match=r"recipe\.distill"):
        run(recipe_with(epochs=2), tmp_path / "run")
    moved = tmp_path / "moved.pt"
    moved.write_bytes(Path(teachers["tgap"]).read_bytes())
    done, _ = run(recipe_with(distill={"method": "mars", "teacher": str(moved)}, epochs=2), tmp_path / "run")
    assert len(done.history) == 2


def test_answers_are_asked_for_once_where_clips_are_the_same(teachers: dict[str, str], tmp_path: Path) -> None:
    data = {"clips": "centre", "multi_scale": False, "flip": False}
    distill = {"method": "bert", "teacher": teachers["bert"]}
    plain, _ = run(recipe_with(distill=distill, data=data, epochs=2), tmp_path / "plain")
    asked: list[int] = []
    kept = {**distill, "keep_features": str(tmp_path / "kept")}
    with pytest.MonkeyPatch.context() as patch:
        answer = TeacherOnDevice.__call__

        def counted(self: TeacherOnDevice, x_NCTHW: torch.Tensor) -> torch.Tensor:
            asked.append(len(x_NCTHW))
            return answer(self, x_NCTHW)

        patch.setattr(TeacherOnDevice, "__call__", counted)
        done, _ = run(recipe_with(distill=kept, data=data, epochs=2), tmp_path / "run")
        assert sum(asked) == 24
        again, _ = run(recipe_with(distill=kept, data=data, epochs=2), tmp_path / "again")
        assert sum(asked) == 24
        run(recipe_with(distill={**kept, "teacher": teachers["tgap"]}, data=data, epochs=1), tmp_path / "other")
        assert sum(asked) == 48
    for row, expected, third in zip(done.history, plain.history, again.history, strict=True):
        assert row["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-4)  # other batches for the teacher
        assert third["train_loss"] == pytest.approx(row["train_loss"], rel=1e-4)
    with pytest.raises(ConfigError, match=r"these are drawn: data.clips, data.multi_scale, data.flip, mixing"):
        recipe_with(distill=kept, mixing={"mixup": 0.5})
    (folder,) = {KeptAnswers(recipe_with(distill=kept, data=data), make_shards()).folder}
    assert Path(folder).parent == tmp_path / "kept"


def test_a_broken_batch_is_named_with_a_teacher_too(
    teachers: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = poison(monkeypatch, "v005")
    recipe = recipe_with(**of_method("bert", teachers, epochs=1, non_finite="skip"))
    done, _ = run(recipe, tmp_path, shards)
    assert done.history[0]["skipped"] == 1
    assert done.history[0]["train_loss_distill"] > 0


def test_published_weights_teach_as_a_checkpoint_of_them_does(teachers: dict[str, str], tmp_path: Path) -> None:
    network, _ = load_recognizer(teachers["bert"])
    torch.save(network.state_dict(), tmp_path / "published.pth")
    of = {"backbone": "resnet18", "width": 0.125, "head": "bert", "layout": "kinebert"}
    given = {"method": "logits", "teacher": str(tmp_path / "published.pth"), "network": of}
    plain, _ = run(recipe_with(distill={"method": "logits", "teacher": teachers["bert"]}, epochs=1), tmp_path / "plain")
    done, _ = run(recipe_with(distill=given, epochs=1), tmp_path / "published")
    assert numbers(done.history) == numbers(plain.history)
    torch.save({k: v for k, v in network.state_dict().items() if not k.startswith("head.")}, tmp_path / "published.pth")
    with pytest.raises(UserError, match=r"as a teacher these weights lack head\."):
        run(recipe_with(distill=given), tmp_path / "headless")
    tokens = {**given, "method": "bert"}  # the head is passed over
    assert len(run(recipe_with(distill=tokens, epochs=1), tmp_path / "tokens")[0].history) == 1
    with pytest.raises(UserError, match="holds rgb. Give its set as distill.shards"):
        run(recipe_with(distill={**given, "network": {**of, "modality": "flow"}}), tmp_path / "flow")
