"""What a search says of its trials: shares in percent, losses as they are."""

import pytest

from kinebert.orchestration.printing import Table
from kinebert.orchestration.search.records import Record, TrialEpoch
from kinebert.orchestration.search.report import outcome, table
from kinebert.training.recipe.tune import Metric, TuneRecipe


def trial() -> Record:
    rows = [
        TrialEpoch(epoch=1, val_top1=0.5, val_loss=1.25, order=0, generation=0),
        TrialEpoch(epoch=2, val_top1=0.9375, val_loss=1.5, order=1, generation=0),
    ]
    return Record(number=7, values={"optim.lr": 0.001}, seed=1, state="finished", rows=rows)


@pytest.mark.parametrize(("metric", "came_to", "epoch"), [("val_top1", "93.8%", 2), ("val_loss", "1.25", 1)])
def test_a_trial_is_told_in_percent_unless_by_its_loss(metric: Metric, came_to: str, epoch: int) -> None:
    tune = TuneRecipe(space={"optim.lr": {"choice": [0.001]}}, metric=metric)
    assert outcome(trial(), tune) == (
        f"trial 7 finished at epoch 2, {metric} {came_to} after epoch {epoch}; optim.lr = 0.001"
    )
    (drawn,) = table([trial()], tune, most=3)
    assert isinstance(drawn, Table)
    assert drawn.rows == [["7", "finished", "2", came_to, "0.001"]]
