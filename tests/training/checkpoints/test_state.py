"""A state holds what a restart needs, is found whole or not at all, and tells whether it belongs to a training."""

from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.training.checkpoints.recognizer import save_plain
from kinebert.training.checkpoints.state import (
    TrainState,
    about,
    check_continues,
    content_of,
    find_state,
    load_state,
    recover_state,
    save_state,
)
from kinebert.training.run_folder import BEFORE_FILE, DAMAGED_FILE, STATE_FILE
from tests.helpers.fake_shards import make_shards
from tests.helpers.small_training import recipe_with

KIND = "kinebert training state"


def state_at(epoch: int, **changes: Any) -> TrainState:
    values: dict[str, Any] = {
        "recipe": recipe_with().identity(),
        "shards": about(make_shards()),
        "weights": {"classifier.weight": torch.full((3, 2), float(epoch))},
        "optimizer": {"state": {0: {"step": torch.tensor(2.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        "schedule": {"scale": 1.0, "best": float("inf"), "bad_epochs": 0},
        "scaler": None,
        "epoch": epoch,
        "step": 2,
        "sums": [1.0, 2.0, 3.0, 0.0],
        "best": {"epoch": 1, "val_top1": 0.5},
        "history": [{"epoch": 1, "val_top1": 0.5, "lr_sgd": 0.25}],
    }
    return TrainState(**{**values, **changes})


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    before = state_at(1, stage=1, average={"module.weight": torch.ones(2)}, taken_over=3)
    save_state(str(tmp_path), before)
    after = load_state(str(tmp_path))
    assert after is not None
    for name, value in content_of(before).items():
        found = getattr(after, name)
        if name in ("weights", "average"):
            assert all(torch.equal(tensor, value[key]) for key, tensor in found.items())
            assert found.keys() == value.keys()
        else:
            assert found == value, name


def test_states_of_the_first_version_lack_what_came_later(tmp_path: Path) -> None:
    """Stages, averages and what was taken over."""
    content = content_of(state_at(1))
    for name in ("stage", "average", "taken_over"):
        del content[name]
    save_plain(str(tmp_path / STATE_FILE), content, KIND, 1)
    found = load_state(str(tmp_path))
    assert found is not None
    assert (found.stage, found.average, found.taken_over) == (0, None, 0)


def test_an_empty_folder_has_none(tmp_path: Path) -> None:
    assert find_state(str(tmp_path)) == recover_state(str(tmp_path)) == (None, "")


@pytest.mark.parametrize("harm", ["cut", "empty", "flipped"])
def test_the_one_before_stands_in_for_a_damaged_one(harm: str, tmp_path: Path) -> None:
    for epoch in (1, 2):
        save_state(str(tmp_path), state_at(epoch))
    path = tmp_path / STATE_FILE
    whole = path.read_bytes()
    at = whole.index(torch.full((3, 2), 2.0).numpy().tobytes())  # a bit of a weight, which only a checksum knows
    broken = {"cut": whole[:-50], "empty": b"", "flipped": whole[:at] + b"\x01" + whole[at + 1 :]}[harm]
    path.write_bytes(broken)
    for look in (find_state, recover_state):
        state, problem = look(str(tmp_path))
        assert state is not None
        assert state.epoch == 1
        assert problem.startswith(f"{path}: the last saved state is damaged; going on from the one before it (epoch 2,")
    assert storage.list_files(str(tmp_path)) == [BEFORE_FILE, DAMAGED_FILE]
    assert (tmp_path / DAMAGED_FILE).read_bytes() == broken
    assert recover_state(str(tmp_path))[1] == ""
    save_state(str(tmp_path), state_at(5))
    assert [found.epoch for found in (load_state(str(tmp_path)),) if found is not None] == [5]


def test_a_state_of_another_version_is_no_damage(tmp_path: Path) -> None:
    """It is not passed over in favour of an older one."""
    save_state(str(tmp_path), state_at(1))
    (tmp_path / STATE_FILE).rename(tmp_path / BEFORE_FILE)
    save_plain(str(tmp_path / STATE_FILE), content_of(state_at(2)), KIND, 2)
    with pytest.raises(UserError, match="of format 2, this version reads 1"):
        recover_state(str(tmp_path))
    assert storage.list_files(str(tmp_path)) == [BEFORE_FILE, STATE_FILE]


def test_a_writer_that_was_killed_leaves_the_state_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between any two of its three steps: write aside, keep the one before, take the name."""
    for kills in range(3):
        folder = tmp_path / str(kills)
        folder.mkdir()
        save_state(str(folder), state_at(1))
        calls = 0

        def dying(*args: Any, kills: int = kills, real: Any = storage.move_file) -> None:
            nonlocal calls
            calls += 1
            if calls > kills:
                raise KeyboardInterrupt
            real(*args)

        with monkeypatch.context() as patch:
            patch.setattr(storage, "move_file", dying)
            if kills < 2:
                with pytest.raises(KeyboardInterrupt):
                    save_state(str(folder), state_at(2))
            else:
                save_state(str(folder), state_at(2))
        state, problem = find_state(str(folder))
        assert state is not None
        assert (state.epoch, problem) == (2 if kills == 2 else 1, "")


@pytest.mark.parametrize(
    ("name", "value"),
    [("modality", "flow"), ("digest", "other"), ("content", "other"), ("classes", ["a", "b", "c"])],
)
def test_other_shards_are_refused_by_what_differs(name: str, value: Any) -> None:
    shards = make_shards()
    setattr(shards, name, value)
    identity = recipe_with().identity()
    check_continues(state_at(1), identity, about(make_shards()), "/runs/r")
    with pytest.raises(UserError, match=rf"/runs/r: holds a training with .*: shards.{name}"):
        check_continues(state_at(1), identity, about(shards), "/runs/r")


def test_every_difference_is_named() -> None:
    other = recipe_with(seed=5, optim={"lr": 1e-3}, model={"head": "tgap"}).identity()
    with pytest.raises(UserError) as caught:
        check_continues(state_at(1), other, about(make_shards()), "/runs/r")
    told = str(caught.value)
    for words in ("recipe.seed: 0 != 5", "recipe.optim.lr: 0.003 != 0.001", "recipe.model.head: 'bert' != 'tgap'"):
        assert words in told
    assert told.endswith("Choose another output folder, or go back to its settings.")
