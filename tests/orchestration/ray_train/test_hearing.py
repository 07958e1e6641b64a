"""Who gives no sign of life is ended, and nobody else."""

from typing import Any

import pytest

from kinebert.orchestration.ray_train import hearing
from kinebert.orchestration.ray_train.hearing import Ear
from kinebert.preprocessing.errors import UserError


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The actors that were killed, in their order."""
    found: list[Any] = []
    monkeypatch.setattr("ray.kill", found.append)
    return found


def ask(ear: Ear, seconds: float) -> None:
    """Let a driver ask for so long."""
    for _ in range(int(seconds / hearing._POLL_S)):
        ear.take()


def test_who_is_silent_is_ended(killed: list[Any]) -> None:
    ear = Ear(silence_s=10.0)
    ear.lives(0, "a")
    ear.lives(1, "b")
    ask(ear, 8)
    ear.lives(1, "b")
    ask(ear, 2)
    assert killed == []
    ask(ear, 1)
    assert (killed, ear.silent()) == (["a"], [0])
    ask(ear, 60)
    assert killed == ["a"]  # Ray Train ends the others


@pytest.mark.parametrize("silence_s", [0.0, 10.0])
def test_who_has_left_and_who_is_waited_for_for_ever_are_not(killed: list[Any], silence_s: float) -> None:
    ear = Ear(silence_s)
    ear.lives(0, "a")
    if silence_s:
        ear.leaves(0)
    ask(ear, 1000)
    assert (killed, ear.silent()) == ([], [])


def test_a_stop_kills_rank_0_and_says_why(killed: list[Any]) -> None:
    ear = Ear()
    ear.stop(UserError("before anybody was there"))
    assert killed == []
    ear.lives(1, "b")
    ear.lives(0, "a")
    ear.stop(UserError("enough"))
    assert killed == ["a"]
    assert str(ear.refusal()) == "before anybody was there"
