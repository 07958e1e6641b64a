"""Parts of JPEGs with restart markers: the pixels of the whole, with less of it decoded."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kinebert.preprocessing.modalities import FLOW, RGB
from kinebert.preprocessing.video.images import HALF_TOLERANCE, decode_images, encode_jpeg, halved
from kinebert.preprocessing.video.jpeg_parts import cut_out, restart_interval
from kinebert.preprocessing.video.parts import Part
from tests.helpers.videos import moving_texture

SIZES = [(256, 340), (128, 171), (47, 65), (16, 16), (9, 200)]


def picture(height: int, width: int) -> NDArray[np.uint8]:
    """A texture with noise and hard edges, in colour."""
    made = moving_texture(1, width, height, seed=1)[0].astype(int)
    made[height // 3 :, : width // 2, 1] += 90
    made += np.random.default_rng(0).integers(-12, 12, made.shape)
    return np.clip(made, 0, 255).astype(np.uint8)


def parts(height: int, width: int, count: int) -> list[Part]:
    rng = np.random.default_rng(2)
    found = [Part(0, 0, height, width), Part(height - 1, width - 1, 1, 1), Part(0, 0, 1, 1)]
    for _ in range(count):
        part_height, part_width = int(rng.integers(1, height + 1)), int(rng.integers(1, width + 1))
        top, left = int(rng.integers(height - part_height + 1)), int(rng.integers(width - part_width + 1))
        found.append(Part(top, left, part_height, part_width))
    return found


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("quality", [95, 40])
def test_every_part_has_the_pixels_of_the_whole(height: int, width: int, colour: bool, quality: int) -> None:
    image = picture(height, width)[..., slice(None) if colour else 0]
    plain, marked = (encode_jpeg(image, quality, i) for i in (0, restart_interval(width, colour)))
    modality, columns = (RGB, 1) if colour else (FLOW, 2)
    whole = decode_images([[plain] * columns], modality)
    np.testing.assert_array_equal(decode_images([[marked] * columns], modality), whole)
    smaller = 0
    for part in parts(height, width, 25):
        expected = whole[:, part.top : part.top + part.height, part.left : part.left + part.width]
        for jpeg in (plain, marked):
            np.testing.assert_array_equal(decode_images([[jpeg] * columns], modality, part), expected)
        smaller += len(cut_out(marked, part)[0]) < len(marked)
    assert smaller or max(height, width) == 16
    assert len(marked) < 1.06 * len(plain) + 600


def test_a_small_part_takes_a_small_part_of_the_bytes() -> None:
    """A fifth of a picture, and whatever blocks its border runs through."""
    jpeg = encode_jpeg(picture(256, 340), 95, restart_interval(340, True))
    made, top, left = cut_out(jpeg, Part(100, 120, 112, 112))
    assert len(made) < 0.25 * len(jpeg)
    assert (top, left) == (100 - 96, 120 - 96)
    assert cut_out(jpeg, Part(0, 0, 256, 340))[0].tobytes() == jpeg
    plain = encode_jpeg(picture(256, 340), 95)
    assert cut_out(plain, Part(100, 120, 112, 112))[0].tobytes() == plain


@pytest.mark.parametrize("subsampling", ["420", "422", "444"])
def test_colours_may_be_stored_at_any_resolution(subsampling: str) -> None:
    image = picture(96, 160)
    factor = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{subsampling}")
    options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor, cv2.IMWRITE_JPEG_RST_INTERVAL, 1]
    jpeg = cv2.imencode(".jpg", image, options)[1].tobytes()
    whole = decode_images([[jpeg]], RGB)[0]
    for part in parts(96, 160, 10):
        found = decode_images([[jpeg]], RGB, part)[0]
        np.testing.assert_array_equal(
            found, whole[part.top : part.top + part.height, part.left : part.left + part.width]
        )


def test_other_jpegs_are_decoded_whole() -> None:
    """Progressive ones, and those whose markers do not fall on the ends of rows."""
    image, part = picture(96, 160), Part(20, 30, 40, 50)
    for options in ([cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 7]):
        jpeg = cv2.imencode(".jpg", image, options)[1].tobytes()
        assert cut_out(jpeg, part)[0].tobytes() == jpeg
        whole = decode_images([[jpeg]], RGB)[0]
        np.testing.assert_array_equal(decode_images([[jpeg]], RGB, part)[0], whole[20:60, 30:80])


@pytest.mark.parametrize("damage", ["empty", "no JPEG", "header only", "a marker lost"])
def test_damaged_ones_are_left_to_the_decoder(damage: str) -> None:
    jpeg = encode_jpeg(picture(96, 160), 95, 2)
    broken = {
        "empty": b"",
        "no JPEG": bytes(range(200)),
        "header only": jpeg[:300],
        "a marker lost": jpeg.replace(b"\xff\xd3", b"\xff\x00", 1),
    }[damage]
    part = Part(40, 40, 20, 20)
    if damage == "a marker lost":
        assert cut_out(broken, part)[0].tobytes() == broken
        return
    with pytest.raises(ValueError, match="not a JPEG picture"):
        decode_images([[broken]], RGB, part)


def test_a_part_that_is_not_there_is_refused() -> None:
    for interval in (0, 2):
        jpeg = encode_jpeg(picture(48, 64), 95, interval)
        with pytest.raises(ValueError, match="has not got Part"):
            decode_images([[jpeg]], RGB, Part(0, 20, 48, 60))


@pytest.mark.parametrize(("height", "width"), [(256, 340), (128, 171), (47, 65)])
def test_half_the_size_is_within_the_tolerance_of_means(height: int, width: int) -> None:
    image = moving_texture(1, width, height, seed=1)[0][..., :1].repeat(3, axis=-1)  # as smooth as filmed pictures are
    jpegs = [encode_jpeg(image, 95, i) for i in (0, restart_interval(width, True))]
    whole = halved(decode_images([[jpegs[0]]], RGB))
    found = decode_images([[jpegs[0]]], RGB, half=True)
    assert found.shape == whole.shape == (1, (height + 1) // 2, (width + 1) // 2, 3)
    assert np.abs(found.astype(int) - whole).mean() < HALF_TOLERANCE
    for part in parts(*whole.shape[1:3], 10):
        expected = found[:, part.top : part.top + part.height, part.left : part.left + part.width]
        for jpeg in jpegs:
            np.testing.assert_array_equal(decode_images([[jpeg]], RGB, part, half=True), expected)
