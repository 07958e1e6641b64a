"""What a training keeps: written beside it, two generations of its state, its best epochs."""

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.training.checkpoints import recognizer
from kinebert.training.checkpoints import state as training_state
from kinebert.training.checkpoints import writer as training_files
from kinebert.training.checkpoints.recognizer import load_recognizer, snapshot
from kinebert.training.checkpoints.state import TrainState, find_state, load_state, save_state
from kinebert.training.checkpoints.writer import TrainFiles
from kinebert.training.loop.initial import initial_recognizer
from kinebert.training.run_folder import BEFORE_FILE, DAMAGED_FILE, STATE_FILE, EpochRow
from tests.helpers.fake_shards import make_shards
from tests.helpers.small_training import Killed, kinds, numbers, recipe_with, run, weights_of


def state_at(step: int) -> TrainState:
    return TrainState(
        recipe={},
        shards={},
        weights={"w": torch.full((3,), float(step))},
        optimizer={},
        schedule={},
        scaler=None,
        epoch=0,
        step=step,
        sums=[0.0],
        best=None,
        history=[],
    )


def steps_of(output: str) -> int | None:
    found = load_state(output)
    return None if found is None else found.step


@pytest.fixture(params=["local", "mock"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    uri = str(tmp_path / "run") if request.param == "local" else f"mock:///{tmp_path.name}"
    storage.make_folder(uri)
    return uri


def test_two_generations_are_kept_on_any_storage(output: str) -> None:
    assert load_state(output) is None
    for step in (1, 2, 3):
        save_state(output, state_at(step))
    assert storage.list_files(output) == [BEFORE_FILE, STATE_FILE]
    assert steps_of(output) == 3
    storage.delete_file(storage.join(output, STATE_FILE))  # as a writer that is killed between two names leaves it
    assert find_state(output)[1] == ""
    assert steps_of(output) == 2


def damage(uri: str, how: str) -> None:
    data = bytearray(storage.read_bytes(uri))
    if how == "bit":
        data[data.index(torch.full((3,), 2.0).numpy().tobytes()) + 1] ^= 1  # torch alone would read another weight
    storage.write_bytes(uri, bytes(data[: len(data) // 2] if how == "cut" else b"" if how == "empty" else data))


@pytest.mark.parametrize("how", ["cut", "bit", "empty"])
def test_a_damaged_last_state_is_noticed_and_the_one_before_taken(output: str, how: str) -> None:
    save_state(output, state_at(1))
    save_state(output, state_at(2))
    damage(storage.join(output, STATE_FILE), how)
    found, problem = training_state.recover_state(output)
    assert found is not None
    assert found.step == 1
    assert problem == (
        f"{storage.join(output, STATE_FILE)}: the last saved state is damaged; going on from the one before it (epoch "
        "1, after 1 steps)."
    )
    save_state(output, state_at(3))  # the good one is not overwritten by the damaged one
    assert storage.list_files(output) == [BEFORE_FILE, DAMAGED_FILE, STATE_FILE]
    storage.delete_file(storage.join(output, STATE_FILE))
    assert steps_of(output) == 1


def test_nothing_to_go_on_from_is_an_error_with_a_way_out(output: str) -> None:
    save_state(output, state_at(2))
    damage(storage.join(output, STATE_FILE), "cut")
    with pytest.raises(UserError, match="the saved state is damaged, and there is none before it .*Delete it to train"):
        load_state(output)
    storage.write_bytes(storage.join(output, BEFORE_FILE), b"PK")
    with pytest.raises(UserError, match="damaged, and so is .*Delete both to train from the first epoch"):
        load_state(output)


def test_whoever_trains_does_not_wait_for_the_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what changes in place afterwards is not what is written; states that nobody needs any more are left out."""
    may_write = threading.Event()
    saved: list[Any] = []
    save = training_state.save_content

    def slow(folder: str, content: dict[str, Any]) -> None:
        assert threading.current_thread().name == "files"
        may_write.wait(20)
        saved.append(content["step"])
        save(folder, content)

    monkeypatch.setattr(training_files, "save_content", slow)
    with TrainFiles(str(tmp_path), writes=True) as files:
        states = [state_at(step) for step in range(1, 6)]
        began = time.monotonic()
        for state in states:
            files.state(state)
            state.weights["w"].zero_()
        assert time.monotonic() - began < 5
        may_write.set()
        files.wait()
        assert steps_of(str(tmp_path)) == 5
    assert saved[-1] == 5
    assert len(saved) <= 2
    assert weights_of(tmp_path)["w"].tolist() == [5.0] * 3


def test_what_goes_wrong_while_writing_ends_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise UserError("no space is left on the device")

    monkeypatch.setattr(training_files, "save_content", full)
    with pytest.raises(UserError, match="no space is left"), TrainFiles(str(tmp_path), writes=True) as files:
        files.state(state_at(1))
    with pytest.raises(UserError, match="no space is left"):
        run(recipe_with(epochs=2), tmp_path / "run")


def test_copies_do_not_pile_up_and_the_best_is_what_the_state_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten epochs, each the best so far, while the storage is still busy with the first."""
    may_write, save = threading.Event(), recognizer.save_plain

    def slow(*args: Any) -> None:
        may_write.wait(20)
        save(*args)

    monkeypatch.setattr(training_files, "save_plain", slow)
    model, shards = initial_recognizer(recipe_with(), make_shards())[0], make_shards()
    with TrainFiles(str(tmp_path), writes=True) as files:
        for epoch in range(1, 11):
            row: EpochRow = {"epoch": epoch, "val_top1": epoch / 10, "val_loss": 1.0}
            files.recognizer(["best.pt"], model, shards, row, {})
            files.state(replace(state_at(epoch), best=row))
        assert sum(job.do is not None for job in files._waiting) <= 3  # of ten recognizers and ten states
        may_write.set()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", STATE_FILE]
    state = load_state(str(tmp_path))
    assert state is not None
    assert state.best is not None
    assert load_recognizer(str(tmp_path / "best.pt"))[1].epoch == state.best["epoch"] == 10


def test_a_kill_between_state_and_the_best_one_s_name(tmp_path: Path) -> None:
    summary, _ = run(recipe_with(epochs=2), tmp_path)
    whole = (tmp_path / "best.pt").read_bytes()
    (tmp_path / "best.pt").rename(tmp_path / "best-next.pt")
    run(recipe_with(epochs=2), tmp_path)
    assert (tmp_path / "best.pt").read_bytes() == whole
    assert not (tmp_path / "best-next.pt").exists()
    (tmp_path / "best-next.pt").write_bytes(whole)  # as if it were that of an epoch which no state knows of
    with TrainFiles(str(tmp_path), writes=True) as files:
        files.settle("best.pt", 3 - summary.best["epoch"])
    assert (tmp_path / "best.pt").read_bytes() == whole
    assert not (tmp_path / "best-next.pt").exists()


def test_others_than_the_first_rank_write_nothing(tmp_path: Path) -> None:
    with TrainFiles(str(tmp_path), writes=False) as files:
        files.state(state_at(1))
        files.wait()
    assert list(tmp_path.iterdir()) == []


def test_the_best_epochs_are_kept(tmp_path: Path) -> None:
    summary, _ = run(recipe_with(epochs=5, keep_best=2), tmp_path)
    best = sorted(summary.history, key=lambda row: (-row["val_top1"], row["val_loss"]))[:2]
    assert sorted(path.name for path in tmp_path.glob("epoch-*")) == sorted(
        f"epoch-{row['epoch']:04d}.pt" for row in best
    )
    for row in best:
        _, info = load_recognizer(str(tmp_path / f"epoch-{row['epoch']:04d}.pt"))
        assert info.epoch == row["epoch"]
        assert info.metrics["val_top1"] == row["val_top1"]
    assert load_recognizer(str(tmp_path / "best.pt"))[1].epoch == best[0]["epoch"]
    assert recipe_with(keep_best=2).digest() == recipe_with().digest()


def test_a_run_whose_last_state_is_damaged_ends_with_the_same_numbers(tmp_path: Path) -> None:
    recipe = recipe_with(epochs=2)
    whole, _ = run(recipe, tmp_path / "whole")
    with pytest.raises(Killed):
        run(recipe, tmp_path / "cut", die_at=3)
    damage(str(tmp_path / "cut" / STATE_FILE), "cut")
    cut, events = run(recipe, tmp_path / "cut")
    assert kinds(events)[:2] == ["Note", "Started"]
    assert "the last saved state is damaged" in events[0].text
    assert numbers(cut.history) == numbers(whole.history)
    for name, value in weights_of(tmp_path / "whole").items():
        assert torch.equal(value, weights_of(tmp_path / "cut")[name]), name


def test_a_snapshot_shares_no_memory() -> None:
    weights: dict[str, Any] = {"a": torch.ones(2), "b": [torch.ones(3)]}
    copied = snapshot(weights)
    weights["a"].zero_()
    weights["b"][0].zero_()
    assert copied["a"].tolist() == [1, 1]
    assert copied["b"][0].tolist() == [1, 1, 1]
