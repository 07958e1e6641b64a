"""Scoring shared by ranks, and scoring that goes on after a kill, against one process that nobody disturbs."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kinebert.training.data.dataset import Key
from kinebert.training.distributed.worker import WorkerContext
from kinebert.training.evaluation import scorer
from kinebert.training.evaluation.resume import forget, keeping
from kinebert.training.evaluation.scorer import ScoreBatches, across_ranks

BATCHES: list[list[Key]] = [[(0, 0), (0, 1)], [(1, 0)], [(2, 0), (2, 1), (3, 0)], [(4, 0), (5, 0)], [(6, 0)]]
Scores = NDArray[np.float32]
WHOLE = np.concatenate([np.array(batch, np.float32) * 1.1 for batch in BATCHES])


class Model:
    """Its two scores of a view are the view's key, times 1.1; it may be killed at a batch."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.seen: list[list[Key]] = []
        self._dies_at = dies_at

    def __call__(self, batches: Sequence[list[Key]]) -> Iterator[Scores]:
        for batch in batches:
            if len(self.seen) == self._dies_at:
                raise KeyboardInterrupt
            self.seen.append(batch)
            yield np.array(batch, np.float32) * 1.1


def run(score: ScoreBatches) -> Scores:
    return np.concatenate(list(score(BATCHES)))


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 8])
def test_ranks_share_the_batches_and_all_get_all_scores(num_ranks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[NDArray[np.float64]] = []

    def exchange(numbers: NDArray[np.float64], device: object) -> NDArray[np.float64]:
        shares.append(numbers)
        return np.sum(shares, axis=0)

    monkeypatch.setattr(scorer, "world_sum", exchange)
    models = [Model() for _ in range(num_ranks)]
    for rank, model in enumerate(models):
        last = run(across_ranks(model, 2, WorkerContext(rank=rank, world_size=num_ranks)))
    np.testing.assert_array_equal(last, WHOLE)
    assert sorted(batch for model in models for batch in model.seen) == sorted(BATCHES)
    assert max(len(model.seen) for model in models) == -(-len(BATCHES) // num_ranks)


def begin(folder: Path, model: Model, identity: str = "best.pt", **options: Callable[[int], None]) -> ScoreBatches:
    return keeping(model, str(folder), {"checkpoint": identity}, 0.0, **options)


@pytest.mark.parametrize("dies_at", range(len(BATCHES) + 1))
def test_whoever_was_killed_goes_on(dies_at: int, tmp_path: Path) -> None:
    first, second, told = Model(dies_at if dies_at < len(BATCHES) else None), Model(), list[int]()
    if dies_at < len(BATCHES):
        with pytest.raises(KeyboardInterrupt):
            run(begin(tmp_path, first))
    else:
        run(begin(tmp_path, first))  # killed before the tables were written
    np.testing.assert_array_equal(run(begin(tmp_path, second, went_on=told.append)), WHOLE)
    assert first.seen + second.seen == BATCHES
    assert told == ([sum(map(len, BATCHES[:dies_at]))] if dies_at else [])
    forget(str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_other_scores_are_not_taken_for_these(tmp_path: Path) -> None:
    run(begin(tmp_path, Model()))
    other = Model()
    run(begin(tmp_path, other, "last.pt"))
    assert other.seen == BATCHES
    batches = [batch[:1] for batch in BATCHES]
    list(begin(tmp_path, other)(batches))
    assert other.seen == BATCHES + batches


@pytest.mark.parametrize("harm", ["cut", "gone", "empty"])
def test_what_is_damaged_is_scored_again(harm: str, tmp_path: Path) -> None:
    run(begin(tmp_path, Model()))
    third = sorted(tmp_path.glob(".scored-*/*.npy"))[2]
    if harm == "gone":
        third.unlink()
    else:
        third.write_bytes(third.read_bytes()[:-4] if harm == "cut" else b"")
    again = Model()
    np.testing.assert_array_equal(run(begin(tmp_path, again)), WHOLE)
    assert again.seen == BATCHES[2:]


def test_nothing_is_written_before_its_time(tmp_path: Path) -> None:
    run(keeping(Model(), str(tmp_path), {}, 3600.0))
    assert not list(tmp_path.iterdir())
