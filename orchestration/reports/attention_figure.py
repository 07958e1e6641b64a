"""A picture of attention: the images of clips, and under them what the classification token looks at.

Axes: T images, H height, W width, C channels, A attention heads, S steps with the token itself in front.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from kinebert.orchestration.reports.drawing import COLOURS, FAINT, INK, style
from kinebert.preprocessing.modalities import JOINED, streams_of
from kinebert.preprocessing.plain_text import visible
from kinebert.preprocessing.sets.contact_sheet import flow_to_colour
from kinebert.preprocessing.video.images import dequantize_flow, in_colour
from kinebert.training.evaluation.attention import ClipAttention, Layer, step_edges

UInt8 = NDArray[np.uint8]
MOST_CLIPS = 24
"""Clips on one picture."""
_MOST_IMAGES = 16
_STRIP, _WIDEST = 9.6, 1.3  # inches: the row of images, and one of them at most
_LEFT, _TOKEN, _GAP, _RIGHT = 0.85, 0.42, 0.08, 0.15
_TITLE, _BARS, _HEAD, _SPACE = 0.42, 0.62, 0.11, 0.12


def draw_attention(clips: Sequence[ClipAttention], bound: float | None = None) -> Figure:
    """Draw what a temporal head attends to in clips, one below the other.

    Each has a row of its images, and for every layer bars (the mean over the heads: what share of what it hands on the
    token takes from each time step) and a row of cells for every head. The column at the left is the share of the token
    itself. The grey line is what every step would have if all were alike.

    Args:
        clips: At least one, at most :data:`MOST_CLIPS`.
        bound: Of flow: pixels that the codes 0 and 255 stand for. None for frames.
    """
    strips = [_images(clip, bound) for clip in clips]
    widths = [len(strip) * min(_WIDEST, _STRIP / len(strip)) for strip in strips]
    heights = [_height(clip, strip) for clip, strip in zip(clips, strips, strict=True)]
    total = sum(heights)
    with style():
        figure = Figure(figsize=(_LEFT + _TOKEN + _GAP + max(widths) + _RIGHT, total), dpi=110, facecolor="white")
        FigureCanvasAgg(figure)
        top = total
        for clip, strip, width, height in zip(clips, strips, widths, heights, strict=True):
            _draw_clip(figure, clip, strip, width, top)
            top -= height
    return figure


def _images(clip: ClipAttention, bound: float | None) -> UInt8:
    """Some images of the clip, evenly spaced: ``(images, H, W, 3)``, those of several streams below each other."""
    count = min(len(clip.clip), _MOST_IMAGES)
    chosen = clip.clip[[(2 * i + 1) * len(clip.clip) // (2 * count) for i in range(count)]]
    if JOINED not in clip.modality:
        return _drawn(chosen, bound)
    streams = streams_of(clip.modality).items()
    return np.concatenate([_drawn(chosen[..., own], bound if one.motion else None) for one, own in streams], axis=1)


def _drawn(chosen: UInt8, bound: float | None) -> UInt8:
    if bound is None:
        return in_colour(chosen)
    fields = dequantize_flow(np.ascontiguousarray(chosen[..., :2]), bound)  # of a stack its first field
    largest = max(1.0, float(np.percentile(np.hypot(fields[..., 0], fields[..., 1]), 99)))
    return np.stack([flow_to_colour(field, largest) for field in fields])


def _height(clip: ClipAttention, strip: UInt8) -> float:
    """Inches that a clip takes."""
    layers = sum(_BARS + _HEAD * len(layer.weights) + 2 * _SPACE for layer in clip.layers)
    return _TITLE + _image_height(strip) + layers + _SPACE


def _image_height(strip: UInt8) -> float:
    height, width = strip.shape[1:3]
    return min(_WIDEST, _STRIP / len(strip)) * float(height / width)


def _draw_clip(figure: Figure, clip: ClipAttention, strip: UInt8, width: float, top: float) -> None:
    """Draw one clip whose upper edge is ``top`` inches above the lower edge of the figure."""
    images = len(clip.indices)
    left = _LEFT + _TOKEN + _GAP
    title = f"{clip.video_id}, images {clip.indices[0] + 1} to {clip.indices[-1] + 1}: "
    title += f"taken for {clip.predicted} ({clip.probability:.0%})"
    if clip.label is not None:
        title += ", and it is" if clip.label == clip.predicted else f", but it is {clip.label}"
    figure.text(_LEFT / figure.get_figwidth(), (top - 0.24) / figure.get_figheight(), visible(title), fontsize=10)
    top -= _TITLE + _image_height(strip)
    axes = _axes(figure, left, top, width, _image_height(strip))
    axes.set_axis_off()
    for i, image in enumerate(strip):
        axes.imshow(image, extent=(i + 0.02, i + 0.98, 0, 1), aspect="auto", interpolation="bilinear")
        axes.add_patch(Rectangle((i + 0.02, 0), 0.96, 1, fill=False, edgecolor=FAINT, linewidth=0.5))
    axes.set_xlim(0, len(strip))
    axes.set_ylim(0, 1)
    for layer in clip.layers:
        edges = step_edges(images, layer.weights.shape[1] - 1)
        top -= _BARS + _SPACE
        columns = ((_LEFT, _TOKEN, [0, 1], slice(0, 1)), (left, width, edges, slice(1, None)))
        for position, size, steps, part in columns:
            bars = _axes(figure, position, top, size, _BARS)
            _draw_bars(bars, layer, steps, part)
            heads = _axes(figure, position, top - _HEAD * len(layer.weights), size, _HEAD * len(layer.weights))
            _draw_heads(heads, layer, steps, part)
        top -= _HEAD * len(layer.weights) + _SPACE


def _draw_bars(axes: Axes, layer: Layer, edges: Sequence[int], part: slice) -> None:
    """Draw the mean over the heads, for the token itself (part 0) or for the steps."""
    mean_S, is_token = layer.mean[part], part.start == 0
    colour = "#999999" if is_token else COLOURS["rgb"]
    widths = np.diff(edges)
    middles = np.asarray(edges[:-1]) + widths / 2
    axes.bar(middles, mean_S, 0.94 * widths, color=colour)
    axes.axhline(1 / layer.weights.shape[1], color="#777777", linewidth=0.7, zorder=0)
    highest = float(layer.mean.max())
    if len(mean_S) <= 2 * _MOST_IMAGES:
        for middle, value in zip(middles.tolist(), mean_S.tolist(), strict=True):
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}  # the line does not run through the number
            axes.text(middle, value + 0.05 * highest, f"{value:.0%}", ha="center", va="bottom", fontsize=7, bbox=box)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, 1.32 * highest)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    if is_token:
        axes.set_ylabel(layer.name.replace(", ", "\n"), rotation=0, ha="right", va="center", fontsize=9)
        axes.set_title("itself", fontsize=7, pad=1, color="#777777")


def _draw_heads(axes: Axes, layer: Layer, edges: Sequence[int], part: slice) -> None:
    """Draw one row of cells per head: white is nothing, dark the largest share that any head gives."""
    num = len(layer.weights)
    largest = float(layer.weights.max())
    axes.pcolormesh(edges, range(num + 1), layer.weights[:, part], cmap="Blues", vmin=0, vmax=largest)
    axes.hlines(range(1, num), edges[0], edges[-1], color="white", linewidth=0.6)
    axes.vlines(edges, 0, num, color=FAINT, linewidth=0.4)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(num, 0)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if part.start == 0:
        text = f"{num} head{'s' * (num > 1)}\ndark = {largest:.0%}"
        axes.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=7, color=INK)


def _axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place in inches, so that all columns of a clip are in line."""
    across, up = figure.get_figwidth(), figure.get_figheight()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))
