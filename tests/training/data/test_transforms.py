"""Crops stay inside the picture, mirrored flow is negated, and floating point appears only at the end."""

from typing import Any

import cv2
import numpy as np
import pytest
import torch

from kinebert.preprocessing.video.images import dequantize_flow, quantize_flow
from kinebert.training.data.transforms import (
    Crop,
    apply_crop,
    centre_crop,
    crop_positions,
    crop_sizes,
    eval_crops,
    normalise,
    random_crop,
    resized_crop,
    short_side_crop,
    to_device_batch,
)
from kinebert.training.models import InputSpec
from kinebert.training.models.inputs import CAFFE
from tests.helpers.operators import CountedOperators

SCALES = (1.0, 0.875, 0.75, 0.66)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(("height", "width", "size"), [(256, 340, 224), (128, 171, 112), (240, 320, 112), (90, 60, 64)])
def test_thirteen_positions_inside_the_picture_that_reach_its_borders(height: int, width: int, size: int) -> None:
    sizes = crop_sizes(height, width, size, SCALES)
    assert len(sizes) == 10  # 4 squares and 3 neighbouring pairs, either way round
    for crop_height, crop_width in sizes:
        positions = crop_positions(height, width, crop_height, crop_width)
        assert len(positions) == 13
        tops, lefts = np.array(positions).T
        assert tops.min() == lefts.min() == 0
        assert height - 4 < tops.max() + crop_height <= height
        assert width - 4 < lefts.max() + crop_width <= width


def test_sizes_are_tsn_s() -> None:
    """TSN on 340x256 for 224: 256, 224, 192, 168 (int of 168.96)."""
    assert sorted({side for pair in crop_sizes(256, 340, 224, SCALES) for side in pair}) == [168, 192, 224, 256]
    assert crop_sizes(256, 340, 170, (0.66,)) == [(170, 170)]  # 168 is within 2 px: no resizing


def test_all_positions_and_sizes_are_drawn() -> None:
    rng = np.random.default_rng(0)
    crops = {random_crop(128, 171, 112, SCALES, True, rng) for _ in range(8000)}
    assert {crop.flip for crop in crops} == {True, False}
    assert {(c.height, c.width) for c in crops} == set(crop_sizes(128, 171, 112, SCALES))
    assert len({(c.top, c.left) for c in crops if (c.height, c.width) == (112, 112)}) == 13
    assert not any(random_crop(128, 171, 112, SCALES, False, rng).flip for _ in range(50))


class Given:
    """Draws that a test has chosen, one after the other, whatever is asked for; it keeps what was."""

    def __init__(self, *values: float) -> None:
        self.values, self.asked = list(values), list[tuple[float, ...]]()

    def integers(self, *bounds: int) -> int:
        self.asked.append(bounds)
        return int(self.values.pop(0))

    def uniform(self, *bounds: float) -> float:
        self.asked.append(bounds)
        return self.values.pop(0)

    def random(self) -> float:
        return self.values.pop(0)


def test_a_crop_of_a_drawn_shorter_side_by_hand() -> None:
    """224 of a shorter side of 320 are 0.7 of it: 179 of 256 stored pixels, at any of 78 x 162 places."""
    draws: Any = Given(320, 77, 10, 0.4)
    assert short_side_crop(256, 340, 224, (256, 320), True, draws) == Crop(77, 10, 179, 179, True)
    assert draws.asked == [(256, 321), (78,), (162,)]
    rng = np.random.default_rng(0)
    crops = {short_side_crop(340, 256, 224, (256, 320), True, rng) for _ in range(4000)}
    assert {crop.height for crop in crops} == set(range(179, 225))
    assert {crop.flip for crop in crops} == {True, False}
    assert {min(crop.top for crop in crops), min(crop.left for crop in crops)} == {0}
    assert max(crop.top + crop.height for crop in crops) == 340
    assert max(crop.left + crop.width for crop in crops) == 256
    whole = short_side_crop(224, 300, 224, (224, 224), False, rng)
    assert (whole.top, whole.height, whole.width) == (0, 224, 224)  # the side itself: nothing is resized


def test_a_random_resized_crop_by_hand() -> None:
    """A quarter of 200x100 pixels with an aspect of 4/3 is 61 high and 82 wide; what does not fit is drawn again."""
    wide = np.log(4 / 3)
    draws: Any = Given(1.0, wide, 0.25, wide, 39, 118, 0.7)
    assert resized_crop(100, 200, (0.08, 1.0), (3 / 4, 4 / 3), True, draws) == Crop(39, 118, 61, 82, False)
    assert draws.asked[0] == (0.08, 1.0)
    assert draws.asked[1] == pytest.approx((-wide, wide))
    assert draws.asked[-2:] == [(40,), (119,)]
    nothing_fits: Any = Given(*[1.0, 0.0] * 10)
    assert resized_crop(100, 200, (1.0, 1.0), (3 / 4, 4 / 3), False, nothing_fits) == Crop(0, 33, 100, 133)
    for seed in range(200):
        crop = resized_crop(128, 171, (0.08, 1.0), (3 / 4, 4 / 3), True, np.random.default_rng(seed))
        assert 0 <= crop.top <= 128 - crop.height
        assert 0 <= crop.left <= 171 - crop.width
        assert 0.079 < crop.height * crop.width / (128 * 171) <= 1
        assert 0.74 < crop.width / crop.height < 1.35


def corners(crops: list[Crop]) -> list[tuple[int, int, bool]]:
    return [(crop.top, crop.left, crop.flip) for crop in crops]


@pytest.mark.parametrize(
    ("size", "right", "bottom", "centre"),
    [((256, 340, 224), 116, 32, (16, 58)), ((128, 170, 112), 58, 16, (8, 29))],
)
def test_ten_crops_of_the_bert_paper(
    size: tuple[int, int, int], right: int, bottom: int, centre: tuple[int, int]
) -> None:
    upright = [centre, (0, 0), (0, right), (bottom, 0), (bottom, right)]
    crops = eval_crops(*size, 0.875, 10)
    assert corners(crops) == [(*at, False) for at in upright] + [(*at, True) for at in upright]
    assert {(crop.height, crop.width) for crop in crops} == {(size[2], size[2])}


def test_ten_crops_of_whole_frames_are_those_of_halved_ones() -> None:
    """Frames stay at 340x256 here, where the BERT paper's program halves them first for networks of 112 px."""
    clip = noise(2, 256, 340, 3)
    halved = np.stack([cv2.resize(frame, (170, 128), interpolation=cv2.INTER_LINEAR) for frame in clip])
    for whole, half in zip(eval_crops(256, 340, 112, 0.875, 10), eval_crops(128, 170, 112, 0.875, 10), strict=True):
        np.testing.assert_array_equal(apply_crop(clip, whole, 112, False), apply_crop(halved, half, 112, False))


def test_three_crops_hold_the_whole_picture() -> None:
    """Chen et al.: the shorter side is 256, three squares of it along the longer one."""
    assert corners(eval_crops(256, 340, 256, 1.0, 3)) == [(0, 42, False), (0, 0, False), (0, 84, False)]
    assert corners(eval_crops(340, 256, 256, 1.0, 3)) == [(42, 0, False), (0, 0, False), (84, 0, False)]
    assert corners(eval_crops(256, 340, 224, 0.875, 3)) == [(16, 58, False), (16, 0, False), (16, 116, False)]
    assert eval_crops(256, 340, 224, 0.875, 1) == [centre_crop(256, 340, 224, 0.875)]
    with pytest.raises(ValueError, match="1, 3 or 10 crops, not 5"):
        eval_crops(256, 340, 224, 0.875, 5)


def test_the_centre_crop_of_the_papers_needs_no_resizing() -> None:
    assert centre_crop(256, 340, 224, 0.875) == Crop(16, 58, 224, 224)
    assert centre_crop(128, 170, 112, 0.875) == Crop(8, 29, 112, 112)
    clip = noise(3, 128, 170, 3)
    np.testing.assert_array_equal(
        apply_crop(clip, centre_crop(128, 170, 112, 0.875), 112, is_flow=False), clip[:, 8:120, 29:141]
    )


@pytest.mark.parametrize("channels", [2, 3])
def test_one_crop_for_the_whole_clip(channels: int) -> None:
    clip = np.repeat(noise(1, 40, 50, channels), 5, axis=0)
    out = apply_crop(clip, Crop(3, 5, 30, 20, flip=True), 16, is_flow=channels == 2)
    assert out.shape == (5, 16, 16, channels)
    assert out.dtype == np.uint8
    assert (out == out[0]).all()


def test_a_crop_is_cut_where_it_says() -> None:
    clip = np.zeros((2, 40, 60, 3), np.uint8)
    clip[:, 10:26, 20:36] = 255
    np.testing.assert_array_equal(apply_crop(clip, Crop(10, 20, 16, 16), 8, is_flow=False), 255)
    assert apply_crop(clip, Crop(10, 22, 16, 16), 16, is_flow=False)[:, :, -2:].max() == 0


def test_mirrored_flow_is_the_flow_of_the_mirrored_video() -> None:
    """Against a quantiser that sees the mirrored, negated field; only motion of exactly zero is half a code off."""
    field = np.random.default_rng(1).uniform(-25, 25, (4, 12, 12, 2)).astype(np.float32)
    mirrored = apply_crop(quantize_flow(field, 20), Crop(0, 0, 12, 12, flip=True), 12, is_flow=True)
    truth = field[:, :, ::-1] * np.array([-1, 1], np.float32)
    np.testing.assert_array_equal(mirrored, quantize_flow(truth, 20))
    zero = quantize_flow(np.zeros((1, 4, 4, 2), np.float32), 20)
    back = apply_crop(zero, Crop(0, 0, 4, 4, flip=True), 4, is_flow=True)
    assert set(back[..., 0].ravel()) == {127}
    assert set(back[..., 1].ravel()) == {128}
    np.testing.assert_allclose(np.abs(dequantize_flow(back, 20)), 20 / 255, atol=1e-5)


def test_rgb_is_mirrored_without_change_and_the_source_stays() -> None:
    clip = noise(2, 8, 8, 3)
    before = clip.copy()
    np.testing.assert_array_equal(apply_crop(clip, Crop(0, 0, 8, 8, flip=True), 8, is_flow=False), before[:, :, ::-1])
    apply_crop(clip[..., :2], Crop(0, 0, 8, 8, flip=True), 8, is_flow=True)
    np.testing.assert_array_equal(clip, before)


@pytest.mark.parametrize(("value_range", "expected"), [((0.0, 1.0), 2.0), ((-1.0, 1.0), 2.0), ((0.0, 255.0), 1018.0)])
def test_normalisation_by_hand(value_range: tuple[float, float], expected: float) -> None:
    spec = InputSpec(
        modality="flow", num_frames=1, crop_size=2, mean=(0.5, 0.0), std=(0.25, 0.5), value_range=value_range
    )
    clips = torch.full((1, 1, 2, 2, 2), 255, dtype=torch.uint8)
    clips[..., 1] = 0
    x = normalise(clips, spec)
    assert x.shape == (1, 2, 1, 2, 2)
    assert x.is_contiguous()
    torch.testing.assert_close(x[0, 0], torch.full((1, 2, 2), expected))
    torch.testing.assert_close(x[0, 1], torch.full((1, 2, 2), value_range[0] / 0.5))


def test_blue_comes_first_where_a_network_takes_it_so() -> None:
    """Caffe's networks: red 200, green 100 and blue 0 become -104, -17 and 72."""
    spec = InputSpec(
        modality="rgb",
        num_frames=1,
        crop_size=2,
        mean=CAFFE.mean,
        std=CAFFE.std,
        value_range=CAFFE.value_range,
        channel_order=CAFFE.channel_order,
    )
    clips = torch.tensor([200, 100, 0], dtype=torch.uint8).expand(1, 1, 2, 2, 3)
    assert normalise(clips, spec)[0, :, 0, 0, 0].tolist() == [-104, -17, 72]


def test_mirroring_flow_negates_what_the_network_reads() -> None:
    spec = InputSpec(modality="flow", num_frames=3, crop_size=6, mean=(0.5, 0.5), std=(0.226, 0.226))
    clip = noise(3, 6, 6, 2)
    flipped = apply_crop(clip, Crop(0, 0, 6, 6, flip=True), 6, is_flow=True)
    x, y = (to_device_batch(torch.from_numpy(c)[None], spec, torch.device("cpu")) for c in (clip, flipped))
    torch.testing.assert_close(y[:, 0], -x[:, 0].flip(-1))
    torch.testing.assert_close(y[:, 1], x[:, 1].flip(-1))


def test_the_constants_of_normalisation_are_moved_to_a_device_once() -> None:
    """A second copy would make a GPU's process wait. First in inference mode, as where somebody evaluates first."""
    spec = InputSpec(modality="rgb", num_frames=1, crop_size=2, mean=(0.1, 0.2, 0.3), std=(0.25, 0.5, 0.125))
    clips = torch.zeros(1, 1, 2, 2, 3, dtype=torch.uint8, device="meta")
    with torch.inference_mode():
        normalise(clips, spec)
    with CountedOperators() as counted:
        normalise(clips, spec)
    assert counted.calls == {"_to_copy": 1, "mul_": 1, "sub_": 1}  # of the clips alone
    weight = torch.ones(3, 1, 1, 1, requires_grad=True)
    for _ in range(2):
        with torch.inference_mode():
            normalise(torch.zeros(1, 1, 2, 2, 3, dtype=torch.uint8), spec)
        (normalise(torch.zeros(1, 1, 2, 2, 3, dtype=torch.uint8), spec) * weight).sum().backward()
    assert weight.grad is not None
