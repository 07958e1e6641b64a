"""The shapes and places of a training's batches, against tables worked out by hand."""

from itertools import pairwise

import pytest

from kinebert.training.clips.calendar import Calendar, Grid, long_cycle_starts, multigrid_cycles

BASE = Grid(batch_size=8, micro_batch=4, clip_length=16, frame_interval=2, crop_size=224)
ROOT = 158  # 224 / sqrt(2), rounded


def table(**options: object) -> list[list[tuple[int, int, int]]]:
    """Times the batch, images and pixels."""
    given = {"short_cycle": True, "long_cycle": True, "scale_lr": "long", "micro_grows": False, **options}
    cycles = multigrid_cycles(BASE, **given)  # type: ignore[arg-type]
    return [[(grid.batch_size // 8, grid.clip_length, grid.crop_size) for grid in cycle] for cycle in cycles]


def test_the_eight_shapes_of_the_paper() -> None:
    assert table() == [
        [(16, 4, 112), (8, 4, ROOT), (8, 4, ROOT)],
        [(8, 8, 112), (4, 8, ROOT), (4, 8, ROOT)],
        [(8, 8, 112), (4, 8, ROOT), (2, 8, 224)],
        [(4, 16, 112), (2, 16, ROOT), (1, 16, 224)],
    ]
    assert len({shape[1:] for cycle in table() for shape in cycle}) == 8


def test_each_cycle_by_itself() -> None:
    assert table(short_cycle=False) == [[(8, 4, ROOT)], [(4, 8, ROOT)], [(2, 8, 224)], [(1, 16, 224)]]
    assert table(long_cycle=False) == [[(4, 16, 112), (2, 16, ROOT), (1, 16, 224)]]


def test_fewer_images_reach_as_far_and_every_batch_has_as_many_pixels() -> None:
    cycles = multigrid_cycles(BASE, short_cycle=True, long_cycle=True, scale_lr="none", micro_grows=True)
    assert [cycle[0].frame_interval for cycle in cycles] == [8, 4, 4, 2]
    for grid in (grid for cycle in cycles for grid in cycle):
        assert grid.micro_pixels == pytest.approx(BASE.micro_pixels, rel=0.01)  # 158 is not quite 224 / sqrt(2)
        assert grid.batch_size / grid.micro_batch == 2
    assert {grid.lr_scale for cycle in cycles for grid in cycle} == {1.0}


def test_the_rate_follows_the_long_cycle_or_every_batch() -> None:
    given = {"short_cycle": True, "long_cycle": True, "micro_grows": False}
    long, both = (multigrid_cycles(BASE, scale_lr=way, **given) for way in ("long", "both"))  # type: ignore[arg-type]
    assert [[grid.lr_scale for grid in cycle] for cycle in long] == [[8.0] * 3, [4.0] * 3, [2.0] * 3, [1.0] * 3]
    assert [[grid.lr_scale for grid in cycle] for cycle in both][2] == [8.0, 4.0, 2.0]
    assert {grid.micro_batch for cycle in both for grid in cycle} == {4}


def test_shapes_have_epochs_in_proportion_to_their_batches() -> None:
    """Means of 32/3, 16/3, 14/3 and 7/3 times the batch with both cycles; 8, 4, 2 and 1 with the long one."""
    both = multigrid_cycles(BASE, short_cycle=True, long_cycle=True, scale_lr="long", micro_grows=False)
    assert long_cycle_starts([0, 69], both) == [0, 32, 48, 62]
    long = multigrid_cycles(BASE, short_cycle=False, long_cycle=True, scale_lr="long", micro_grows=False)
    assert long_cycle_starts([0, 15, 45], long) == [0, 8, 12, 14, 15, 31, 39, 43]
    calendar = Calendar(
        15 * 64 * 8, list(zip(long_cycle_starts([0, 15], long), [(one,) for (one,) in long], strict=True)), 15
    )
    steps = [calendar.before(end) - calendar.before(begin) for begin, end in pairwise([0, 8, 12, 14, 15])]
    assert steps == [960] * 4, "and so as many updates"


def test_batches_follow_each_other_in_an_epoch() -> None:
    """Batches of 16, 8 and 4 clips out of 100: three rounds of 28 and one of 16; the next epoch goes on with 8."""
    base = Grid(batch_size=4, micro_batch=2, clip_length=16, frame_interval=1, crop_size=224)
    (cycle,) = multigrid_cycles(base, short_cycle=True, long_cycle=False, scale_lr="long", micro_grows=False)
    calendar = Calendar(100, [(0, cycle)], 3)
    assert calendar.steps == [10, 11, 10]  # 84 + 16, 84 + 8 + 4, then from 4 on: 84 + 4, and 16 are too many
    assert [calendar.position(0, step) for step in range(5)] == [0, 16, 24, 28, 44]
    assert [calendar.grid(1, step).batch_size for step in range(4)] == [8, 4, 16, 8]
    assert [calendar.position(1, step) for step in range(4)] == [0, 8, 12, 28]
    assert calendar.before(2) == 21
    for epoch in range(3):
        for step in range(calendar.num_steps(epoch)):
            grid, first = calendar.grid(epoch, step), calendar.position(epoch, step)
            assert {calendar.grid_at(epoch, first + i) for i in range(grid.batch_size)} == {grid}
        end = calendar.position(epoch, calendar.num_steps(epoch))
        assert end <= 100 < end + calendar.grid(epoch, calendar.num_steps(epoch)).batch_size


def test_a_set_smaller_than_its_batch_makes_one_step() -> None:
    base = Grid(batch_size=4, micro_batch=2, clip_length=16, frame_interval=1, crop_size=224)
    (cycle,) = multigrid_cycles(base, short_cycle=True, long_cycle=False, scale_lr="long", micro_grows=False)
    calendar = Calendar(10, [(0, cycle)], 3)
    assert calendar.steps == [1, 1, 1]  # 16 are more than there are; 8, and 4 do not fit after it; 4
    assert [calendar.grid(epoch, 0).batch_size for epoch in range(3)] == [16, 8, 4]


def test_one_shape_is_counted_as_ever() -> None:
    calendar = Calendar(33, [(0, (BASE,))], 5)
    assert calendar.is_uniform
    assert (calendar.steps, calendar.before(3), calendar.position(2, 3)) == ([4] * 5, 12, 24)
    assert list(calendar.described()) == [(1, 5, 20, (BASE,))]
