"""What training crops go through: one draw for a clip, in known ranges, and nothing where it makes no sense."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.modalities import FLOW, POSE, RGB
from kinebert.training.data.augmentation import IMAGENET_MEAN, augmented, erased, jittered
from kinebert.training.data.colours import UInt8
from kinebert.training.data.dataset import ClipDataset
from kinebert.training.data.parts import check_videos
from kinebert.training.data.rand_augment import NAMES, OPERATIONS, rand_augment
from kinebert.training.recipe.train import AugmentRecipe, DataRecipe
from tests.helpers.fake_shards import make_shards

IMAGE = np.random.default_rng(1).integers(0, 256, (32, 40, 3), np.uint8)
SAME = np.stack([IMAGE] * 4)
ALL = AugmentRecipe(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, randaugment=2, erase=1.0)


def one_image(clip_THWC: UInt8) -> UInt8:
    """The image of a clip whose images are all the same."""
    assert (clip_THWC == clip_THWC[:1]).all()
    return clip_THWC[0]


def test_all_images_of_a_clip_have_the_same_draw() -> None:
    found = []
    for seed in range(40):
        clip = augmented(SAME, ALL, RGB, np.random.default_rng(seed))
        assert clip.dtype == np.uint8
        assert clip.shape == SAME.shape
        assert clip.flags["C_CONTIGUOUS"]
        found.append(one_image(clip))
        again = augmented(SAME, ALL, RGB, np.random.default_rng(seed))
        np.testing.assert_array_equal(clip, again)
    assert len({image.tobytes() for image in found}) == 40
    np.testing.assert_array_equal(SAME, np.stack([IMAGE] * 4))  # it stays as it is


def test_jitter_by_hand() -> None:
    class Draws:
        """Brightness last but one, at the low end of what it may be; the others are off."""

        asked: tuple[float, float] = (0, 0)

        def permutation(self, number: int) -> Any:
            return np.arange(number)[::-1]

        def uniform(self, low: float, high: float) -> float:
            self.asked = (low, high)
            return low

    draws: Any = Draws()
    clip = jittered(SAME, AugmentRecipe(brightness=0.25), draws)
    assert draws.asked == (0.75, 1.25)
    np.testing.assert_array_equal(clip, np.trunc(SAME * np.float32(0.75)))
    jittered(SAME, AugmentRecipe(contrast=1.5), draws)
    assert draws.asked == (0, 2.5)
    jittered(SAME, AugmentRecipe(hue=0.1), draws)
    assert draws.asked == (-0.1, 0.1)


def test_a_rectangle_is_erased_from_all_images() -> None:
    recipe, areas = AugmentRecipe(erase=1.0), []
    for seed in range(200):
        clip = erased(SAME, recipe, RGB, np.random.default_rng(seed))
        rows, columns = np.nonzero((one_image(clip) != IMAGE).any(axis=2))
        if not len(rows):
            continue
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        areas.append(height * width / IMAGE[..., 0].size)
        if min(height, width) > 4:  # of whole pixels
            assert 0.25 < height / width < 4
    assert len(areas) > 190
    assert 0.01 < min(areas) < 0.05
    assert 0.35 < max(areas) < 0.42


@pytest.mark.parametrize(("modality", "codes"), [(RGB, IMAGENET_MEAN), (FLOW, (128, 128) * 3)])
def test_a_mean_is_put_there(modality: Any, codes: tuple[int, ...]) -> None:
    clip = np.zeros((2, 32, 40, len(codes)), np.uint8)
    found = erased(clip, AugmentRecipe(erase=1.0, erase_with="mean"), modality, np.random.default_rng(0))
    assert {tuple(map(int, pixel)) for pixel in found.reshape(-1, len(codes))} == {(0,) * len(codes), codes}


def test_so_many_clips_are_erased_as_the_recipe_says() -> None:
    recipe = AugmentRecipe(erase=0.25)
    changed = [bool((augmented(SAME, recipe, RGB, np.random.default_rng(seed)) != SAME).any()) for seed in range(400)]
    assert 70 < sum(changed) < 130  # 100, give or take three times 8.7


def test_moves_are_those_of_pil() -> None:
    """Nearest pixels: where a point lies between two, the programs may choose either."""
    picture = Image.fromarray(IMAGE)
    expected = {
        "rotate": picture.rotate(15),
        "translate_x": picture.transform((40, 32), Image.Transform.AFFINE, (1, 0, -9, 0, 1, 0)),  # 150/331 * 40 / 2
        "translate_y": picture.transform((40, 32), Image.Transform.AFFINE, (1, 0, 0, 0, 1, -7)),
        "shear_x": picture.transform((40, 32), Image.Transform.AFFINE, (1, -0.15, 0, 0, 1, 0)),
        "shear_y": picture.transform((40, 32), Image.Transform.AFFINE, (1, 0, 0, -0.15, 1, 0)),
    }
    for name, other in expected.items():
        ours = one_image(OPERATIONS[name](SAME, 0.5))
        same = (ours == np.asarray(other)).all(axis=2).mean()
        assert same == 1 if name.startswith("translate") else same > 0.85, (name, same)


def test_the_strength_of_operations_by_hand() -> None:
    assert len(NAMES) == 14
    grey = np.full((1, 8, 8, 3), 100, np.uint8)
    assert int(OPERATIONS["brightness"](grey, 0.5).max()) == 145  # 1 + 0.9 / 2
    assert int(OPERATIONS["brightness"](grey, -1.0).max()) in (9, 10)  # a tenth, which is no float
    assert int(OPERATIONS["solarize"](grey, 1.0).max()) == 155  # all are inverted
    assert int(OPERATIONS["solarize"](grey, 0.5).max()) == 100  # those from 127.5 on
    assert int(OPERATIONS["posterize"](grey, -1.0).max()) == 96  # the upper four bits
    np.testing.assert_array_equal(OPERATIONS["identity"](SAME, 1.0), SAME)
    for name in NAMES:
        if name not in ("solarize", "autocontrast", "equalize"):
            np.testing.assert_array_equal(OPERATIONS[name](SAME, 0.0), SAME, err_msg=name)
    np.testing.assert_array_equal(
        rand_augment(SAME, 3, 9, np.random.default_rng(0)), rand_augment(SAME, 3, 9, np.random.default_rng(0))
    )


@pytest.mark.parametrize("modality", [FLOW, POSE])
@pytest.mark.parametrize(
    "recipe", [AugmentRecipe(brightness=0.4), AugmentRecipe(hue=0.1), AugmentRecipe(randaugment=2)]
)
def test_colours_of_measurements_and_drawings_stay(modality: Any, recipe: AugmentRecipe) -> None:
    with pytest.raises(ConfigError, match=rf"of {modality.name} are measurements or drawings.*erase works on all"):
        recipe.check_modality(modality)
    with pytest.raises(ConfigError, match="measurements or drawings"):
        DataRecipe(shards="-", modality=modality.name, augment=recipe)
    AugmentRecipe(erase=0.5).check_modality(modality)


def test_a_set_of_flow_is_found_out_though_the_recipe_names_no_modality() -> None:
    data = DataRecipe(shards="-", clip_length=4, crop_size=16, augment=ALL)
    with pytest.raises(ConfigError, match="of flow are measurements"):
        check_videos(make_shards(modality="flow"), data, "train")  # type: ignore[arg-type]


def test_training_clips_are_augmented_and_test_clips_are_not() -> None:
    shards: Any = make_shards()
    videos = shards.select("split1", "train")
    plain = DataRecipe(shards="-", clip_length=4, crop_size=16)
    changed = DataRecipe(shards="-", clip_length=4, crop_size=16, augment=ALL)
    for training, same in ((True, False), (False, True)):
        clips = [ClipDataset(shards, videos, data, training=training)[(0, 0)][0] for data in (plain, changed)]
        assert np.array_equal(*clips) == same  # type: ignore[arg-type]
    first, second = (ClipDataset(shards, videos, changed, training=True) for _ in range(2))
    second[(3, 1)]
    np.testing.assert_array_equal(np.asarray(first[(2, 5)][0]), np.asarray(second[(2, 5)][0]))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"hue": 0.6}, "data.augment.hue must be at most 0.5, got 0.6"),
        ({"magnitude": 31}, "data.augment.magnitude must be at most 30"),
        ({"erase": -0.1}, "data.augment.erase must be at least 0"),
        ({"erase_area": (0.4, 0.2)}, r"data.augment.erase_area must be a least and a largest value .*\[0.4, 0.2\]"),
    ],
)
def test_values_out_of_range(values: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        AugmentRecipe(**values)


def test_the_device_does_not_augment() -> None:
    with pytest.raises(ConfigError, match='data.resize_on is "device". Take "loader"'):
        DataRecipe(shards="-", resize_on="device", augment=ALL)
