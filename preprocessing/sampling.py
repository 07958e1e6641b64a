"""Which images of a video make a clip. Indices count from 0; every function stays inside ``0 .. num_images - 1``.

*Dense* clips are consecutive images, or every ``frame_interval``-th one. *Sections* (TSN's segments, arXiv:1608.00859)
divide the whole video into as many equal parts as the clip has images and take one image of each.

A video shorter than its clip is continued from its beginning (indices modulo ``num_images``), as in the published
code of "Late temporal modeling in 3D CNN architectures with BERT", arXiv:2008.01232. Two departures from that code,
which never uses the last frame of a video: starts here reach to the last image, and ``num_images // span`` clips are
made of a video in multi-clip testing, where it makes one fewer of a video that is filled almost exactly.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Sampling = Literal["dense", "sections"]
Views = Literal["single", "multi"]


def train_clip(
    sampling: Sampling, num_images: int, clip_length: int, frame_interval: int, rng: np.random.Generator
) -> Indices:
    """Return the images of a random clip, shape ``(clip_length,)``."""
    if sampling == "sections":
        return random_sections(num_images, clip_length, rng)
    return random_clip(num_images, clip_length, frame_interval, rng)


def eval_clips(sampling: Sampling, views: Views, num_images: int, clip_length: int, frame_interval: int) -> Indices:
    """Return the images of every clip that a video is tested on, shape ``(num_clips, clip_length)``."""
    if sampling == "sections":
        return multi_sections(num_images, clip_length, 1 if views == "single" else num_images // clip_length)
    if views == "single":
        return centre_clip(num_images, clip_length, frame_interval)[None]
    return multi_clips(num_images, clip_length, frame_interval)


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


def multi_clips(num_images: int, clip_length: int, frame_interval: int) -> Indices:
    """Return neighbouring dense clips that do not overlap, moved together to the middle of the video.

    Returns:
        Indices of shape ``(num_clips, clip_length)``; one wrapped clip if the video is shorter than a clip.
    """
    _check(num_images, clip_length, frame_interval)
    length = span(clip_length, frame_interval)
    count = max(1, num_images // length)
    first = max(0, num_images - count * length) // 2
    return np.stack([_wrapped(first + i * length, num_images, clip_length, frame_interval) for i in range(count)])


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


def _wrapped(start: int, num_images: int, clip_length: int, frame_interval: int) -> Indices:
    return (start + np.arange(clip_length, dtype=np.int64) * frame_interval) % num_images


def _check(num_images: int, clip_length: int, frame_interval: int) -> None:
    if min(num_images, clip_length, frame_interval) < 1:
        raise ValueError(
            "expected at least 1 image, clip length and frame interval, "
            f"got {num_images}, {clip_length} and {frame_interval}"
        )
