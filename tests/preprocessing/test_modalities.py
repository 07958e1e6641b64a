"""One table says what the pictures of a stream are; sets, digests and files are those that the first version wrote."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from kinebert.preprocessing import recipe as recipes
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.modalities import (
    MODALITIES,
    Modality,
    Pictures,
    modality_of,
    register_modality,
)
from kinebert.preprocessing.recipe import RECIPES, FlowRecipe, FrameRecipe, PoseRecipe, register_recipe
from kinebert.preprocessing.schema import segment_schema
from kinebert.preprocessing.tvl1 import PRESETS
from kinebert.preprocessing.video.images import decode_images, encode_jpeg
from tests.helpers.contributing import restored
from tests.helpers.paths import ROOT


def pictures(name: str = "grey", colour: bool = False) -> Pictures:
    return Pictures(name=name, about="for a test", file=f"{name}_{{:05d}}.jpg", colour=colour)


@pytest.fixture
def empty_tables() -> Iterator[None]:
    """What a test registers is gone afterwards."""
    with restored(MODALITIES, RECIPES):
        yield


@pytest.mark.parametrize(
    ("recipe", "digest"),
    [
        (FrameRecipe(), "62f6f99bd951"),
        (FrameRecipe(resize="short_side", jpeg_quality=90), "7614a794eec7"),
        (PoseRecipe(), "1b63d19c8b78"),
        (FlowRecipe(), "19a635cb2c70"),
        (FlowRecipe(tvl1=PRESETS["fast"], bound=15.0), "3276fb24bd38"),
        (FlowRecipe(tvl1=PRESETS["wide"]), "c35fb530d364"),
    ],
)
def test_digests_of_recipes_are_what_they_were(recipe: FrameRecipe, digest: str) -> None:
    """Another digest would refuse every set that users have."""
    assert recipe.digest() == digest


def test_columns_of_shards_are_what_they_were() -> None:
    start = ["video_id", "segment", "start", "num_images", "width", "height"]
    assert segment_schema("rgb").names == segment_schema("pose").names == [*start, "frames"]
    assert segment_schema("flow").names == [*start, "flow_x", "flow_y"]
    for name in MODALITIES:
        for column in modality_of(name).columns:
            field = segment_schema(name).field(column.name)
            assert (field.type, field.nullable) == (pa.list_(pa.binary()), False)
            assert field.metadata == {b"about": column.about.encode()}


def test_what_there_is() -> None:
    assert {name: modality.channels for name, modality in MODALITIES.items()} == {"rgb": 3, "pose": 3, "flow": 2}
    assert [name for name, modality in MODALITIES.items() if modality.motion] == ["flow"]
    assert [name for name, modality in MODALITIES.items() if not modality.from_video] == ["pose"]
    assert {kind.modality for kind in RECIPES.values()} == MODALITIES.keys() == RECIPES.keys()
    with pytest.raises(ConfigError, match=r"There is no modality 'sound'\. There are: flow, pose, rgb\."):
        modality_of("sound")


def test_the_table_alone_imports_neither_arrow_nor_opencv() -> None:
    """Networks ask it, and a network can be taken out of here with torch alone."""
    code = "import sys, kinebert.preprocessing.modalities; print({'pyarrow', 'cv2', 'numpy'} & sys.modules.keys())"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "set()\n"


@pytest.mark.parametrize("colours", [(True,), (False,), (False, False), (True, False), (False, True, False)])
def test_channels_lie_beside_each_other_in_the_order_of_columns(colours: tuple[bool, ...]) -> None:
    modality = Modality(
        name="made", columns=tuple(pictures(f"p{i}", colour) for i, colour in enumerate(colours)), words="pictures"
    )
    value = 20
    jpegs, expected = [], []
    for colour in colours:
        channels = 3 if colour else 1
        values = [value + 25 * i for i in range(channels)]
        picture = np.full((16, 24, channels), values[::-1], np.uint8)  # BGR goes in, RGB comes out
        jpegs.append(encode_jpeg(picture if colour else picture[..., 0], 100))
        expected += values
        value += 25 * channels
    images = decode_images([jpegs, jpegs], modality)
    assert images.shape == (2, 16, 24, modality.channels)
    assert images.dtype == np.uint8
    assert np.abs(images.astype(int) - expected).max() <= 3  # JPEG keeps plain colours to within its rounding


def test_a_modality_that_contradicts_itself_is_refused(empty_tables: None) -> None:
    with pytest.raises(ConfigError, match="'rgb' already"):
        register_modality(Modality(name="rgb", columns=(pictures(),), words="frames"))
    with pytest.raises(ConfigError, match="motion has 2 channels, x and y, not 1"):
        Modality(name="odd", columns=(pictures(),), words="fields", motion=True)
    with pytest.raises(ConfigError, match=r"mean is \(0.5, 0.5\), for 1 channels"):
        Modality(name="odd", columns=(pictures(),), words="pictures", mean=(0.5, 0.5), std=(0.2, 0.2))
    with pytest.raises(ConfigError, match="std is None"):
        Modality(name="odd", columns=(pictures(),), words="pictures", mean=(0.5,))


def test_a_recipe_needs_a_modality_of_its_own(empty_tables: None) -> None:
    class Again(FrameRecipe):
        modality = "pose"

    class Unheard(FrameRecipe):
        modality = "sound"

    with pytest.raises(ConfigError, match="Again: PoseRecipe makes pose already"):
        register_recipe(Again)
    with pytest.raises(ConfigError, match="There is no modality 'sound'"):
        register_recipe(Unheard)
    assert set(RECIPES) == {"rgb", "pose", "flow"}


def test_frames_are_stored_as_they_come(tmp_path: Path) -> None:
    frames = [np.full((4, 6, 3), value, np.uint8) for value in (1, 2)]
    stored = list(recipes.FrameRecipe().pictures(frames))
    assert len(stored) == 2
    assert all(one is frame for (one,), frame in zip(stored, frames, strict=True))
