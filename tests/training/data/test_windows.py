"""What the device resizes and mirrors is what the loader would have, within a grey level, however clips are fed."""

import math

import numpy as np
import pytest
import torch

from kinebert.training.data.batches import Batch, collate
from kinebert.training.data.dataset import ClipDataset
from kinebert.training.data.loader import ClipLoader
from kinebert.training.data.transforms import Crop, apply_crop, cut, normalise, random_crop, to_device_batch
from kinebert.training.data.windows import TOLERANCE, Window, Windows
from kinebert.training.models import InputSpec
from kinebert.training.recipe.protocol import ProtocolRecipe
from kinebert.training.recipe.train import DataRecipe
from tests.helpers.fake_shards import make_shards

CPU = torch.device("cpu")
SCALES = (1.0, 0.875, 0.75, 0.66)


def clip(height: int, width: int, channels: int = 3, length: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (length, height, width, channels), np.uint8)


def on_device(pixels: np.ndarray, crops: list[Crop], size: int, is_flow: bool = False) -> np.ndarray:
    windows = Windows.of([Window(cut(pixels, crop), size, crop.flip) for crop in crops])
    return windows.resized(CPU, is_flow).numpy()


@pytest.mark.parametrize(("height", "width", "size"), [(256, 340, 224), (256, 340, 112), (128, 171, 112), (61, 47, 64)])
@pytest.mark.parametrize("channels", [3, 2])
def test_a_batch_of_crops_is_within_a_level_of_the_loader_s(height: int, width: int, size: int, channels: int) -> None:
    """Noise is the hardest picture: neighbours differ by 85 levels on average."""
    rng, pixels = np.random.default_rng(1), clip(height, width, channels)
    crops = [random_crop(height, width, size, SCALES, True, rng) for _ in range(12)]
    assert len({(crop.height, crop.width, crop.flip) for crop in crops}) > 5
    theirs = np.stack([apply_crop(pixels, crop, size, channels == 2) for crop in crops]).astype(np.float32)
    ours = on_device(pixels, crops, size, channels == 2)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= TOLERANCE
    assert np.abs(ours - theirs).mean() < 0.3  # rounding codes alone is a quarter of a level
    assert abs((ours - theirs).mean()) < 0.15  # OpenCV drops bits on the way, which makes its codes an eighth darker


def test_a_window_of_the_right_size_is_the_loader_s_to_the_bit() -> None:
    pixels = clip(128, 170)
    crops = [Crop(8, 29, 112, 112), Crop(0, 58, 112, 112, flip=True)]
    theirs = np.stack([apply_crop(pixels, crop, 112, False) for crop in crops])
    np.testing.assert_array_equal(on_device(pixels, crops, 112), theirs)
    flow = pixels[..., :2]
    mirrored = on_device(flow, crops[1:], 112, is_flow=True)[0]
    np.testing.assert_array_equal(mirrored, apply_crop(flow, crops[1], 112, True))


def test_what_a_network_is_fed_differs_by_as_little() -> None:
    spec = InputSpec(modality="flow", num_frames=2, crop_size=16, mean=(0.5, 0.5), std=(0.25, 0.5))
    pixels, crop = clip(24, 32, 2), Crop(1, 2, 21, 18, flip=True)
    windows = Windows.of([Window(cut(pixels, crop), 16, crop.flip)])
    x_NCTHW = to_device_batch(windows, spec, CPU)
    assert x_NCTHW.is_contiguous()
    theirs = to_device_batch(torch.from_numpy(apply_crop(pixels, crop, 16, True))[None], spec, CPU)
    assert (x_NCTHW - theirs).abs().max() <= TOLERANCE / 255 / 0.25
    np.testing.assert_array_equal(windows.pixels.numpy(), cut(pixels, crop).ravel())  # can be moved again


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("loader_workers", [0, 1])
def test_loaders_deliver_windows_of_the_same_crops(training: bool, loader_workers: int) -> None:
    shards = make_shards()
    keys = [[(0, 1), (0, 2), (1, 5)]] if training else [[(0, view) for view in range(10)], [(1, 0), (1, 7)]]
    found: dict[str, list[Batch]] = {}
    for place in ("loader", "device"):
        data = DataRecipe(shards="/fake/set", clip_length=4, crop_size=16, resize_on=place)  # type: ignore[arg-type]
        protocol = None if training else ProtocolRecipe(crops=10)
        items = ClipDataset(
            shards, shards.select("split1", "train"), data, seed=3, training=training, protocol=protocol
        )
        found[place] = list(ClipLoader(items, keys, loader_workers, CPU))
    for ours, theirs in zip(found["device"], found["loader"], strict=True):
        assert isinstance(ours.clips, Windows)
        assert isinstance(theirs.clips, torch.Tensor)
        assert len(ours.clips) == len(theirs.clips)
        assert ours.clips.pixels.numel() == sum(math.prod(shape) for shape in ours.clips.shapes)
        codes = ours.clips.resized(CPU, False)
        assert (codes - theirs.clips).abs().max() <= TOLERANCE
        assert torch.equal(ours.labels, theirs.labels)
        assert torch.equal(ours.videos, theirs.videos)


def test_clips_that_do_not_go_together_are_refused() -> None:
    some = Window(clip(20, 20), 16, False)
    for other in (Window(clip(20, 20, length=3), 16, False), Window(clip(20, 20), 8, False)):
        with pytest.raises(ValueError, match="same shape"):
            collate([(some, 0, 0), (other, 0, 1)])


def test_plain_clips_stay_as_they_are() -> None:
    codes = torch.from_numpy(clip(8, 8))[None]
    before = codes.clone()
    spec = InputSpec(modality="rgb", num_frames=2, crop_size=8, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert torch.equal(to_device_batch(codes, spec, CPU), normalise(before, spec))
    assert torch.equal(codes, before)
