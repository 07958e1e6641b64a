"""Temporal modules by themselves, each against a plain reading of what its paper says."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.temporal.neighbours import NeighbourMaximum, NeighbourMean
from kinebert.training.models.temporal.non_local import FramesNonLocal
from kinebert.training.models.temporal.registry import Place, compose
from kinebert.training.models.temporal.steps import TemporalPool
from kinebert.training.models.temporal.tam import Tam, temporal_filter
from kinebert.training.models.temporal.tsm import Shift, tsm

N, C, H, W = 2, 16, 3, 5


def frames(steps: int, channels: int = C) -> Tensor:
    """Return N clips of so many frames, in a batch."""
    generator = torch.Generator().manual_seed(steps)
    return torch.randn(N * steps, channels, H, W, generator=generator)


def as_clip(x_BCHW: Tensor) -> Tensor:
    """Return ``(N, C, T, H, W)``."""
    return x_BCHW.view(N, -1, *x_BCHW.shape[1:]).transpose(1, 2)


def as_frames(x_NCTHW: Tensor) -> Tensor:
    return x_NCTHW.transpose(1, 2).flatten(0, 1)


@pytest.mark.parametrize("steps", [1, 2, 3, 8])
def test_tam_is_three_depthwise_convolutions_and_a_relu(steps: int) -> None:
    x_BCHW, module = frames(steps), Tam(C)
    with torch.no_grad():
        for weight in module.parameters():
            weight.normal_()
        parts = [functional.conv2d(x_BCHW, weight, groups=C) for weight in module.parameters()]
        before, here, behind = (part.view(N, steps, C, H, W) for part in parts)
        expected = here.clone()
        for t in range(steps):
            if t > 0:
                expected[:, t] += before[:, t - 1]
            if t < steps - 1:
                expected[:, t] += behind[:, t + 1]
        torch.testing.assert_close(module(x_BCHW, N), expected.flatten(0, 1).relu())
    torch.testing.assert_close(module(x_BCHW, N), expected.flatten(0, 1).relu(), msg="and where gradients are kept")


def test_gradients_of_the_filter_are_right() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 4, 3, 2, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1))
    given = [torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(temporal_filter, given)
    given[0] = given[0].detach()
    assert torch.autograd.gradcheck(temporal_filter, given), "weights alone"


@pytest.mark.parametrize("steps", [1, 2, 8])
@pytest.mark.parametrize("div", [2, 3, 8])
def test_a_shift_moves_two_shares_of_the_channels(steps: int, div: int) -> None:
    x_BCHW, share = frames(steps), C // div
    x_NTCHW = x_BCHW.view(N, steps, C, H, W)
    expected = torch.zeros_like(x_NTCHW)
    expected[:, :-1, :share] = x_NTCHW[:, 1:, :share]
    expected[:, 1:, share : 2 * share] = x_NTCHW[:, :-1, share : 2 * share]
    expected[:, :, 2 * share :] = x_NTCHW[:, :, 2 * share :]
    assert torch.equal(Shift(C, div, online=False)(x_BCHW, N), expected.flatten(0, 1))


def test_an_online_shift_knows_nothing_of_later_frames() -> None:
    x_BCHW = frames(6)
    x_NTCHW = x_BCHW.view(N, 6, C, H, W)
    expected = x_NTCHW.clone()
    expected[:, 1:, :2] = x_NTCHW[:, :-1, :2]
    expected[:, 0, :2] = 0
    assert torch.equal(Shift(C, 8, online=True)(x_BCHW, N), expected.flatten(0, 1))


def test_gradients_of_a_shift_are_right() -> None:
    x_BCHW = frames(4, 6).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: Shift(6, 3, online=False)(x, N), x_BCHW)


def test_deep_networks_are_shifted_at_every_second_block() -> None:
    def shifted(place: str, every: int, longest: int) -> list[bool]:
        module = tsm(shift_place=place, shift_every=every)
        maker = module.inside if place == "blockres" else module.before
        return [maker(C, Place(name=f"layer3.{i}", stage=3, index=i, longest=longest)) is not None for i in range(6)]

    assert all(shifted("blockres", 0, 6))
    assert shifted("blockres", 0, 23) == [True, False] * 3
    assert all(shifted("block", 0, 23))
    assert shifted("blockres", 3, 6) == [True, False, False] * 2


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 8])
def test_pooling_is_a_maximum_of_three_frames(steps: int) -> None:
    x_BCHW = frames(steps)
    expected = functional.max_pool3d(as_clip(x_BCHW), (3, 1, 1), (2, 1, 1), (1, 0, 0))
    assert torch.equal(TemporalPool()(x_BCHW, N), as_frames(expected))


@pytest.mark.parametrize("steps", [3, 4, 5])
def test_neighbours_are_averaged_or_the_largest_is_taken(steps: int) -> None:
    x_BCHW = frames(steps)
    clip_NCTHW = as_clip(x_BCHW)
    largest = functional.max_pool3d(clip_NCTHW, (3, 1, 1), 1, (1, 0, 0))
    mean = functional.avg_pool3d(clip_NCTHW, (3, 1, 1), 1, (1, 0, 0), count_include_pad=False)
    assert torch.equal(NeighbourMaximum()(x_BCHW, N), as_frames(largest))
    torch.testing.assert_close(NeighbourMean()(x_BCHW, N), as_frames(mean))
    assert torch.equal(NeighbourMean()(frames(1), N), frames(1)), "a frame alone"
    assert torch.equal(NeighbourMaximum()(frames(1), N), frames(1))


def test_a_non_local_block_looks_at_every_position_of_a_halved_clip() -> None:
    x_BCHW, module = frames(2), FramesNonLocal(C).eval()
    clip_NCTHW = as_clip(x_BCHW)
    torch.testing.assert_close(module(x_BCHW, N), x_BCHW, msg="a fresh one changes nothing")
    nn.init.ones_(module.block.norm.weight)
    pool = nn.MaxPool3d((1, 2, 2))
    with torch.no_grad():
        query_NDP = module.block.query(clip_NCTHW).flatten(2)
        key_NDP, value_NDP = (pool(layer(clip_NCTHW)).flatten(2) for layer in (module.block.key, module.block.value))
        weights = (query_NDP.transpose(1, 2) @ key_NDP).softmax(dim=-1)
        seen = (weights @ value_NDP.transpose(1, 2)).transpose(1, 2).reshape(N, C // 2, 2, H, W)
        expected = clip_NCTHW + module.block.norm(module.block.output(seen))
        torch.testing.assert_close(module(x_BCHW, N), as_frames(expected))
        torch.testing.assert_close(module(clip_NCTHW, N), expected)
    with pytest.raises(ConfigError, match="1x3"):
        module(x_BCHW[..., :1], N)


@pytest.mark.parametrize(
    ("temporal", "word"),
    [("shift", "Did you mean|There are"), ("tam+tam", "together"), ("conv3d+tsm", "together"), ("", "There are")],
)
def test_what_does_not_go_together_is_refused(temporal: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        compose(temporal, False, OPTIONS)


@pytest.mark.parametrize("options", [{"shift_div": 1}, {"shift_place": "blocks"}, {"shift_every": -1}])
def test_shifts_out_of_range_are_refused(options: dict[str, int | str]) -> None:
    with pytest.raises(ConfigError, match="shift"):
        compose("tsm", False, {**OPTIONS, **options})


OPTIONS = {"shift_div": 8, "shift_place": "blockres", "shift_every": 0, "shift_online": False, "nonlocal_blocks": ""}
