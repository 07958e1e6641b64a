"""Maps of several pathways become one."""

import torch

from kinebert.training.models.pathways import at_steps, fuse


def ramp(steps: int, features: int = 1) -> torch.Tensor:
    """Return a map whose value is the number of its step."""
    return torch.arange(float(steps))[None, None, :, None, None].expand(2, features, steps, 3, 3)


def test_steps_are_averaged_in_equal_groups() -> None:
    assert at_steps(ramp(8), 4)[0, 0, :, 0, 0].tolist() == [0.5, 2.5, 4.5, 6.5]
    assert torch.equal(at_steps(ramp(4), 4), ramp(4))
    assert at_steps(ramp(6), 1)[1, 0, :, 2, 2].tolist() == [2.5]


def test_steps_that_do_not_divide_overlap() -> None:
    """As adaptive pooling does: step i of 2 sees from floor(5 i / 2) to ceil(5 (i + 1) / 2)."""
    assert at_steps(ramp(5), 2)[0, 0, :, 0, 0].tolist() == [1.0, 3.0]


def test_pathways_lie_side_by_side_at_the_steps_of_the_first() -> None:
    fused = fuse([ramp(2, features=3), 10 + ramp(8, features=2)])
    assert fused.shape == (2, 5, 2, 3, 3)
    assert fused[0, :, 0, 0, 0].tolist() == [0, 0, 0, 11.5, 11.5]
    assert fused[0, :, 1, 0, 0].tolist() == [1, 1, 1, 15.5, 15.5]
    assert torch.equal(fuse([ramp(3)]), ramp(3))
