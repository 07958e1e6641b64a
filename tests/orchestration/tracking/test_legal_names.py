"""Names that MLflow takes: those of its own rules stay, others become such, and two never become one unnoticed."""

import pytest
from mlflow.utils import validation

from kinebert.orchestration.tracking.legal_names import check_apart, legal_name
from kinebert.preprocessing.errors import UserError

LEGAL = ["split1-test-multi/top1", "epoch/val_top1", "größe 3", "a.b: c", "fold/2"]
WRONG = ["fold #1 (80-20)", "", "/", "..", "../up", "...x", "a//b", "/a", "a/", "./a", "a/../b", "a+b", "a\n", "a\tb"]
WRONG += ["x" * 300, "x" * 300 + "/top1", "x/" * 200, "top1/" + "y" * 300, "😀", "%2e", "a\\b"]


@pytest.mark.parametrize("name", LEGAL)
def test_a_name_that_is_taken_stays(name: str) -> None:
    assert legal_name(name) == name


@pytest.mark.parametrize("name", [*LEGAL, *WRONG])
def test_every_name_is_taken(name: str) -> None:
    plain = legal_name(name)
    validation._validate_metric(plain, 1.0, 0, 0)
    validation._validate_param(plain, "value")
    validation._validate_tag(plain, "value")
    assert not validation.path_not_unique(plain)
    assert not plain.endswith("\n")
    assert legal_name(plain) == plain


def test_a_long_name_keeps_its_group_and_what_is_measured() -> None:
    names = {legal_name(f"{'x' * 300}{end}/top1") for end in "ab"}
    assert len(names) == 2
    assert all(name.endswith("/top1") for name in names)
    assert len({legal_name(f"{'x' * 300}/{what}").rpartition("/")[0] for what in ("top1", "top5")}) == 1


def test_names_that_would_become_one_are_refused() -> None:
    check_apart(["fold #1", "fold #2", "fold/1", "split1"], "splits")
    for two in (["fold #1", "fold (1"], ["fold/2", "fold_2"], ["a+", "a_"]):
        with pytest.raises(UserError, match="the splits .* and .* would both be .* in MLflow"):
            check_apart(two, "splits")
