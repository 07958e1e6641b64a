"""Which images of a video make a clip. Indices count from 0; every function stays inside ``0 .. num_images - 1``.

*Dense* clips are consecutive images, or every ``frame_interval``-th one. *Sections* (TSN's segments, arXiv:1608.00859)
divide the whole video into as many equal parts as the clip has images and take one image of each.

A video shorter than its clip is continued from its beginning (indices modulo ``num_images``), as in the published
code of "Late temporal modeling in 3D CNN architectures with BERT", arXiv:2008.01232. Two departures from that code,
which never uses the last frame of a video: starts here reach to the last image, and ``multi`` makes
``num_images // span`` clips of a video, where that code makes one fewer of a video that is filled almost exactly;
``eccv2020`` makes the clips of that code.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Sampling = Literal["dense", "sections"]
Clips = Literal["single", "first", "multi", "eccv2020"] | int
"""Which clips of a video are tested: the centre one; the first; all that fit; those of the BERT paper's program; or so
many."""


def train_clip(
    sampling: Sampling, num_images: int, clip_length: int, frame_interval: int, rng: np.random.Generator
) -> Indices:
    """Return the images of a random clip, shape ``(clip_length,)``."""
    if sampling == "sections":
        return random_sections(num_images, clip_length, rng)
    return random_clip(num_images, clip_length, frame_interval, rng)


def eval_clips(
    sampling: Sampling, clips: Clips, num_images: int, clip_length: int, frame_interval: int, step: int = 0
) -> Indices:
    """Return the images of every clip that a video is tested on, shape ``(num_clips, clip_length)``.

    Args:
        sampling: As in training.
        clips: Which ones.
        num_images: Of the video.
        clip_length: Images in a clip.
        frame_interval: Images from one of a dense clip to the next.
        step: Images from one dense clip of ``multi`` to the next; 0: no overlap.
    """
    if sampling == "sections":
        if isinstance(clips, int):
            return offset_sections(num_images, clip_length, clips)
        return multi_sections(num_images, clip_length, 1 if clips == "single" else num_images // clip_length)
    if clips in ("single", 1):
        return centre_clip(num_images, clip_length, frame_interval)[None]
    if clips == "first":
        return spread_clips(num_images, clip_length, frame_interval, 1)
    if isinstance(clips, int):
        return spread_clips(num_images, clip_length, frame_interval, clips)
    if clips == "eccv2020":
        return eccv2020_clips(num_images, clip_length, frame_interval)
    return multi_clips(num_images, clip_length, frame_interval, step)


def span(clip_length: int, frame_interval: int) -> int:
    """Return how many consecutive images a dense clip reaches over."""
    return (clip_length - 1) * frame_interval + 1


def random_clip(num_images: int, clip_length: int, frame_interval: int, rng: np.random.Generator) -> Indices:
    """Return a dense clip with a random start: every start that fits, or any image of a video that is too short."""
    _check(num_images, clip_length, frame_interval)
    fits = num_images - span(clip_length, frame_interval) + 1
    start = rng.integers(fits if fits > 0 else num_images)
    return _wrapped(int(start), num_images, clip_length, frame_interval)


def centre_clip(num_images: int, clip_length: int, frame_interval: int) -> Indices:
    """Return the dense clip in the middle of a video, or the one from its first image if the video is too short."""
    _check(num_images, clip_length, frame_interval)
    start = max(0, num_images - span(clip_length, frame_interval)) // 2
    return _wrapped(start, num_images, clip_length, frame_interval)


def multi_clips(num_images: int, clip_length: int, frame_interval: int, step: int = 0) -> Indices:
    """Return dense clips that start every ``step`` images, moved together to the middle of the video.

    Args:
        num_images: Of the video.
        clip_length: Images in a clip.
        frame_interval: Images from one of a clip to the next.
        step: 0 for neighbours that do not overlap.

    Returns:
        Indices of shape ``(num_clips, clip_length)``; one wrapped clip if the video is shorter than a clip.
    """
    _check(num_images, clip_length, frame_interval)
    length = span(clip_length, frame_interval)
    step = step or length
    last = max(0, num_images - length) // step * step
    first = max(0, num_images - length - last) // 2
    return _clips_at(np.arange(first, first + last + 1, step), num_images, clip_length, frame_interval)


def eccv2020_clips(num_images: int, clip_length: int, frame_interval: int) -> Indices:
    """Return the clips that the program of arXiv:2008.01232 tests (VideoSpatialPrediction3D.py).

    They are those of :func:`multi_clips`, but one fewer where at most 2 images would be left over, and the first images
    where none is left. Published with ``frame_interval`` 1.
    """
    _check(num_images, clip_length, frame_interval)
    length = span(clip_length, frame_interval)
    count = -(-(num_images - 2) // length) - 1
    first = max(0, num_images - count * length) // 2 if count > 0 else 0
    return _clips_at(first + np.arange(max(1, count)) * length, num_images, clip_length, frame_interval)


def spread_clips(num_images: int, clip_length: int, frame_interval: int, num_clips: int) -> Indices:
    """Return ``num_clips`` dense clips with evenly spaced starts, the first at the first image; they may overlap.

    As in the program of Chen et al., "Deep analysis of CNN-based spatio-temporal representations", arXiv:2010.11757,
    whose last clip leaves ``frame_interval - 1`` images behind it.
    """
    _check(num_images, clip_length, frame_interval)
    room = max(0, num_images - clip_length * frame_interval)
    starts = np.arange(num_clips, dtype=np.int64) * room // max(1, num_clips - 1)
    return _clips_at(starts, num_images, clip_length, frame_interval)


def random_sections(num_images: int, clip_length: int, rng: np.random.Generator) -> Indices:
    """Return one random image of each of ``clip_length`` equal sections, in order.

    A video with fewer images than sections repeats images instead of wrapping, so that the order of time is kept.
    """
    _check(num_images, clip_length, 1)
    edges = np.arange(clip_length + 1, dtype=np.int64) * num_images // clip_length
    lengths = np.maximum(np.diff(edges), 1)
    return edges[:-1] + rng.integers(lengths)


def multi_sections(num_images: int, clip_length: int, num_clips: int) -> Indices:
    """Return ``num_clips`` interleaved clips, each with one image of every section (the middle one for one clip).

    Returns:
        Indices of shape ``(num_clips, clip_length)``; ``num_clips`` below 1 counts as 1.
    """
    _check(num_images, clip_length, 1)
    num_clips = max(1, num_clips)
    parts = clip_length * num_clips
    middles = (2 * np.arange(parts, dtype=np.int64) + 1) * num_images // (2 * parts)
    return middles.reshape(clip_length, num_clips).T.copy()


def offset_sections(num_images: int, clip_length: int, num_clips: int) -> Indices:
    """Return ``num_clips`` clips of one image of every section: its middle, and those before and after it.

    The images of clip ``i`` lie ``i - (num_clips - 1) // 2`` images from the middles, but never outside their sections:
    the uniform sampling with offsets of Chen et al., arXiv:2010.11757. (Their program draws at random from a video with
    fewer images than sections; here images repeat.)

    Returns:
        Indices of shape ``(num_clips, clip_length)``.
    """
    _check(num_images, clip_length, 1)
    section = np.arange(clip_length, dtype=np.int64)
    middles = (2 * section + 1) * num_images // (2 * clip_length)
    first, last = section * num_images // clip_length, -(-(section + 1) * num_images // clip_length) - 1
    offsets = np.arange(num_clips, dtype=np.int64)[:, None] - (num_clips - 1) // 2
    return np.asarray(np.clip(middles + offsets, first, last), np.int64)


def _clips_at(starts: Indices, num_images: int, clip_length: int, frame_interval: int) -> Indices:
    return np.stack([_wrapped(int(start), num_images, clip_length, frame_interval) for start in starts])


def _wrapped(start: int, num_images: int, clip_length: int, frame_interval: int) -> Indices:
    return (start + np.arange(clip_length, dtype=np.int64) * frame_interval) % num_images


def _check(num_images: int, clip_length: int, frame_interval: int) -> None:
    if min(num_images, clip_length, frame_interval) < 1:
        raise ValueError(
            "expected at least 1 image, clip length and frame interval, "
            f"got {num_images}, {clip_length} and {frame_interval}"
        )
