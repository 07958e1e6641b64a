"""The picture of attention: what is on it, for frames and flow, short clips and long."""

import io

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.image import imread
from matplotlib.patches import Rectangle

from kinebert.orchestration.reports.attention_figure import draw_attention
from kinebert.orchestration.reports.drawing import to_png
from kinebert.training.evaluation.attention import ClipAttention, Layer


def a_clip(images: int, steps: int, layers: int = 1, heads: int = 8, channels: int = 3) -> ClipAttention:
    rng = np.random.default_rng([images, steps])
    weights = [rng.dirichlet(np.ones(steps + 1), heads).astype(np.float32) for _ in range(layers)]
    return ClipAttention(
        video_id="a$b/ü",
        label="hug",
        predicted="kick",
        probability=0.4,
        indices=tuple(range(10, 10 + images)),
        clip=rng.integers(0, 256, (images, 20, 30, channels)).astype(np.uint8),
        layers=tuple(Layer(name=f"layer {i + 1}", weights=weight) for i, weight in enumerate(weights)),
    )


@pytest.mark.parametrize(("images", "steps", "layers"), [(1, 1, 1), (16, 2, 1), (6, 6, 3), (64, 32, 2), (9, 2, 1)])
def test_a_layer_has_a_bar_and_a_cell_for_every_step(images: int, steps: int, layers: int) -> None:
    clip = a_clip(images, steps, layers)
    figure = draw_attention([clip])
    pictures, *rows = figure.axes
    assert len(pictures.images) == min(images, 16)
    assert len(rows) == 4 * layers  # bars and cells of the token itself, bars and cells of the steps
    for i, layer in enumerate(clip.layers):
        itself, _, bars, cells = rows[4 * i : 4 * i + 4]
        assert itself.get_ylabel() == layer.name
        drawn = [patch for patch in (*itself.patches, *bars.patches) if isinstance(patch, Rectangle)]
        assert len(drawn) == len(itself.patches) + len(bars.patches)
        heights = [patch.get_height() for patch in drawn]
        assert heights == pytest.approx(layer.mean.tolist())
        assert sum(patch.get_width() for patch in drawn[len(itself.patches) :]) == pytest.approx(0.94 * images)
        mesh = next(child for child in cells.collections if isinstance(child, QuadMesh))
        assert np.asarray(mesh.get_array()).reshape(8, steps) == pytest.approx(layer.weights[:, 1:])
    assert figure.texts[0].get_text() == f"a$b/ü, images 11 to {10 + images}: taken for kick (40%), but it is hug"


def test_clips_lie_below_each_other_and_the_same_ones_give_the_same_bytes() -> None:
    clips = [a_clip(8, 4), a_clip(4, 4, channels=3)]
    data = to_png(draw_attention(clips))
    assert data == to_png(draw_attention(clips))
    both, one = imread(io.BytesIO(data)), imread(io.BytesIO(to_png(draw_attention(clips[:1]))))
    assert both.shape[0] > 1.7 * one.shape[0]


def test_flow_is_drawn_in_colours() -> None:
    still = a_clip(4, 2, channels=2)
    still.clip[:] = 128
    image = draw_attention([still], bound=20.0).axes[0].images[0].get_array()
    assert image is not None
    assert image.shape == (20, 30, 3)
    assert image.min() > 220, "code 128 is 0.08 px, nearly white"
