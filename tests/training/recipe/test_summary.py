"""What a list of recipes says of each: read from its file, by hand here."""

import tomllib

import pytest

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.recipe_names import named_file, recipe_names
from kinebert.training.recipe.summary import Summary, summary


def test_it_says_what_the_file_says() -> None:
    table = summary("eccv2020/table5_frab_bert_early")
    assert table.purpose == "arXiv:2008.01232, table 5, early fusion BERT, FRAB"
    assert (table.network, table.data) == ("slowfast_50 + frab + bert_early", "rgb, 64 images in a row, 224 px")
    own = summary("own/flow")
    assert own.purpose == "Flow on a few hundred videos of your own, from scratch"
    assert own.network == "resnet18 of width 0.5 + bert"
    assert own.data == "flow, 8 images from all over a video, 112 px"
    assert summary("progressive").data == "rgb, 8, 16, 32, 64 images in a row, 112 px"
    assert summary("own/rgb_weights").data == "rgb, 16 images, every 2, 112 px"
    assert summary("demo/frames") == Summary(
        name="demo/frames", purpose="Frames of the generated videos, small enough to train on two cores"
    )


@pytest.mark.parametrize("name", recipe_names())
def test_every_one_has_a_purpose_and_what_trains_has_a_cost(name: str) -> None:
    found = summary(name)
    assert 20 < len(found.purpose) < 100, found.purpose
    trains = "data" in tomllib.loads(named_file(name).read_text())
    assert all(bool(part) is trains for part in (found.network, found.data, found.cost))


def test_an_unknown_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="There is no recipe 'rbg'. Did you mean rgb"):
        summary("rbg")
