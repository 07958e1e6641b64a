"""How a recognizer is tested is data: what does not fit is refused, and every protocol has a name."""

from pathlib import Path

import pytest

from kinebert.preprocessing.config import load_config
from kinebert.preprocessing.errors import ConfigError
from kinebert.training.recipe.train import DataRecipe, ProtocolRecipe, TrainRecipe


def test_clips_are_a_word_or_a_number(tmp_path: Path) -> None:
    path = tmp_path / "rgb.toml"
    path.write_text('[data]\nshards = "/set"\n[test]\nclips = 10\n')
    chosen = load_config(TrainRecipe, path, ["test.crops=3", "test.scale=1"]).test
    assert chosen == ProtocolRecipe(clips=10, crops=3, scale=1.0)
    assert load_config(TrainRecipe, path, ["test.clips=eccv2020"]).test.clips == "eccv2020"
    with pytest.raises(ConfigError, match=r"clips: expected .*, got 'many'"):
        load_config(TrainRecipe, path, ["test.clips=many"])


@pytest.mark.parametrize(
    ("protocol", "name", "words"),
    [
        (ProtocolRecipe(), "single", "the centre clip x the centre crop, mean of the logits"),
        (
            ProtocolRecipe(clips="eccv2020", crops=10),
            "eccv2020-x10",
            "the clips of the BERT paper's program x 10 crops",
        ),
        (ProtocolRecipe(clips=10, crops=3, scale=1, average="softmax"), "10-x3-softmax-scale1", "10 clips x 3 crops"),
        (ProtocolRecipe(clips="multi", step=8, crop_size=256), "multi-step8-256px", "a clip every 8 images"),
    ],
)
def test_names(protocol: ProtocolRecipe, name: str, words: str) -> None:
    assert protocol.name == name
    assert words in protocol.describe()


def test_values_out_of_range() -> None:
    for values, words in (
        ({"clips": 0}, "test.clips must be at least 1, got 0"),
        ({"step": 4}, "test.step is for test.clips = multi, which is 'single'"),
        ({"clips": "multi", "step": -1}, "test.step must be at least 0, got -1"),
        ({"scale": 1.5}, "test.scale must be above 0"),
    ):
        with pytest.raises(ConfigError, match=words):
            ProtocolRecipe(**values)  # type: ignore[arg-type]
    sections = DataRecipe(shards="/set", sampling="sections")
    for protocol in (
        ProtocolRecipe(clips="eccv2020"),
        ProtocolRecipe(clips="first"),
        ProtocolRecipe(clips="multi", step=4),
    ):
        with pytest.raises(ConfigError, match="data.sampling is sections"):
            TrainRecipe(data=sections, test=protocol)
