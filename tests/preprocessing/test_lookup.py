"""Things by name, and what is said of a name that is none."""

import pytest

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.lookup import find, suggest


def test_what_is_there_is_found() -> None:
    assert find({"bert": 1, "tgap": 2}, "tgap", "head") == 2


@pytest.mark.parametrize(
    ("known", "told"),
    [
        (["bert", "tgap"], "There is no head 'brt'. Did you mean bert?"),
        (["tgap", "none"], "There is no head 'brt'. There are: none, tgap."),
        ([], "There is no head 'brt'. There are none."),
    ],
)
def test_a_name_that_is_none_is_told_with_those_that_are(known: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        find(dict.fromkeys(known), "brt", "head")
    assert str(error.value) == told


def test_the_nearest_names_come_first_and_three_at_most() -> None:
    known = {f"resnet{depth}": depth for depth in (18, 34, 50, 101, 152)}
    hint = suggest("resnet15", known)
    assert hint.startswith("Did you mean resnet1")
    assert hint.count("resnet") == 3
