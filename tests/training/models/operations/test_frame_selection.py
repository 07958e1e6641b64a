"""Frames chosen by their likeness to neighbours: by hand, gradients, batches, and clips that are too short."""

import pytest
import torch

from kinebert.training.models.operations.frame_selection import chosen_frames, select_frames, triplet_similarity


def clip(*angles: float) -> torch.Tensor:
    """Return frames whose channels are vectors at these angles, in degrees, over pictures of 2x3."""
    radians = torch.tensor(angles, dtype=torch.float64).deg2rad()
    vectors_CT = torch.stack([radians.cos(), radians.sin()])
    return vectors_CT[None, :, :, None, None] * torch.tensor([[0.5, 1.0, 1.5], [1.0, 2.0, 0.0]], dtype=torch.float64)


def test_similarities_by_hand() -> None:
    x = clip(0, 60, 60, 150)
    torch.testing.assert_close(triplet_similarity(x), torch.tensor([[0.5 + 1, 1 + 0.0]], dtype=torch.float64))
    torch.testing.assert_close(
        triplet_similarity(x, squared=True), torch.tensor([[0.25 + 1, 1 + 0.0]], dtype=torch.float64)
    )


def test_the_frames_least_like_their_neighbours_are_kept_in_order() -> None:
    x = clip(0, 0, 0, 90, 0, 45, 45, 45)  # likeness of the second to the seventh: 2, 1, 0, .7, 1.7, 2
    assert chosen_frames(x).tolist() == [[2, 3, 4, 5]]
    assert chosen_frames(x, alike=True).tolist() == [[1, 2, 5, 6]]
    torch.testing.assert_close(select_frames(x), x[:, :, [2, 3, 4, 5]])


def test_opposite_frames_count_as_alike_where_cosines_are_squared() -> None:
    x = clip(0, 180, 0, 60, 120, 180)
    assert chosen_frames(x, alike=True, squared=True).tolist() == [[1, 2, 3]]
    assert chosen_frames(x, alike=True).tolist() == [[2, 3, 4]]


def test_of_equal_frames_the_earlier_are_kept() -> None:
    assert chosen_frames(torch.ones(2, 3, 9, 2, 2)).tolist() == [[1, 2, 3, 4]] * 2
    assert chosen_frames(torch.zeros(1, 3, 9, 2, 2), alike=True).tolist() == [[1, 2, 3, 4]], "of nothing, too"


@pytest.mark.parametrize("frames", range(1, 12))
def test_half_of_the_frames_are_kept(frames: int) -> None:
    x = torch.randn(2, 3, frames, 4, 5, generator=torch.Generator().manual_seed(frames))
    kept = select_frames(x)
    assert kept.shape == (2, 3, max(1, frames // 2), 4, 5)
    assert all(any(torch.equal(kept[0, :, i], x[0, :, j]) for j in range(frames)) for i in range(kept.shape[2]))


def test_gradients_are_right_and_reach_only_what_is_kept() -> None:
    x = torch.randn(2, 3, 6, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(select_frames, (x,))
    select_frames(x).sum().backward()
    assert x.grad is not None
    kept_NT = torch.zeros(2, 6, dtype=torch.float64).scatter(1, chosen_frames(x), 1)
    torch.testing.assert_close(x.grad, kept_NT[:, None, :, None, None].expand_as(x))


def test_every_clip_is_chosen_from_by_itself() -> None:
    x = torch.randn(4, 8, 10, 3, 3, generator=torch.Generator().manual_seed(2))
    together = select_frames(x)
    assert torch.equal(together, torch.cat([select_frames(one[None]) for one in x]))
    assert len({tuple(row) for row in chosen_frames(x).tolist()}) > 1
