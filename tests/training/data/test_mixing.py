"""Mixup and cutmix: what is mixed with what, in which shares, and how often."""

import numpy as np
import pytest
import torch

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.clips.ordering import mix_rng
from kinebert.training.data.mixing import mix_batch
from kinebert.training.data.transforms import without_waiting
from kinebert.training.optim.losses import cross_entropy_sum
from kinebert.training.recipe.optim import MixRecipe
from tests.helpers.small_training import recipe_with


@pytest.mark.parametrize("recipe", [MixRecipe(mixup=0.4), MixRecipe(cutmix=1.0)])
def test_mixed_loss_is_the_two_targets_one(recipe: MixRecipe) -> None:
    generator = torch.Generator().manual_seed(0)
    x_NCTHW, labels_N = torch.randn(6, 3, 2, 8, 8, generator=generator), torch.tensor([0, 1, 2, 0, 1, 2])
    mixed_NCTHW, targets_NK = mix_batch(x_NCTHW, labels_N, 3, recipe, mix_rng(0, 0, 0, 1))
    rng = mix_rng(0, 0, 0, 1)
    rng.random()
    lam, partner_N = rng.beta(recipe.mixup or recipe.cutmix, recipe.mixup or recipe.cutmix), rng.permutation(6)
    other_NCTHW = x_NCTHW[partner_N]
    if recipe.mixup:
        torch.testing.assert_close(mixed_NCTHW, lam * x_NCTHW + (1 - lam) * other_NCTHW)
    else:  # every pixel is of one of the two, in the same place in all frames, and the shares are those of the area
        own = (mixed_NCTHW == x_NCTHW).all(dim=1)
        assert torch.equal(own | (mixed_NCTHW == other_NCTHW).all(dim=1), torch.ones_like(own))
        i = int(np.flatnonzero(partner_N != np.arange(6))[0])
        assert torch.equal(own[i, 0], own[i, 1])
        lam = float(own[i].float().mean())
        assert 0 < lam < 1
    logits_NK = torch.randn(6, 3, generator=generator)
    for smoothing in (0.0, 0.1):
        both = [cross_entropy_sum(logits_NK, labels, smoothing) for labels in (labels_N, labels_N[partner_N])]
        torch.testing.assert_close(
            cross_entropy_sum(logits_NK, targets_NK, smoothing), lam * both[0] + (1 - lam) * both[1]
        )


def test_how_often_clips_are_mixed() -> None:
    x_NCTHW, labels_N = torch.randn(4, 3, 1, 4, 4), torch.arange(4)
    rngs = [mix_rng(0, 0, step, 0) for step in range(200)]
    rare = MixRecipe(mixup=1.0, cutmix=1.0, share=0.25)
    made = [mix_batch(x_NCTHW, labels_N, 4, rare, rng) for rng in rngs]
    assert 25 < sum(targets.is_floating_point() for _, targets in made) < 75
    assert all(clips is x_NCTHW for clips, targets in made if not targets.is_floating_point())
    with pytest.raises(ConfigError, match="mixing needs two clips in a micro-batch"):
        recipe_with(micro_batch=1, mixing={"mixup": 0.2})


@pytest.mark.parametrize("recipe", [MixRecipe(mixup=0.4), MixRecipe(cutmix=1.0), MixRecipe(mixup=0.2, cutmix=1.0)])
def test_shares_are_whole_and_only_of_the_two_clips(recipe: MixRecipe) -> None:
    """Clip i shows i everywhere, so that what is mixed says with whom and how much of him."""
    num = 6
    x_NCTHW = torch.arange(num).float()[:, None, None, None, None].expand(num, 1, 2, 12, 10)
    for step in range(40):
        mixed_NCTHW, shares_NK = mix_batch(x_NCTHW, torch.arange(num), num, recipe, mix_rng(3, 0, step, 0))
        torch.testing.assert_close(shares_NK.sum(dim=1), torch.ones(num))
        assert shares_NK.min() >= 0
        assert (shares_NK > 0).sum(dim=1).max() <= 2
        torch.testing.assert_close(mixed_NCTHW.mean(dim=(1, 2, 3, 4)), shares_NK @ torch.arange(num).float())


def test_a_rectangle_is_the_same_in_all_frames_and_channels() -> None:
    x_NCTHW = torch.arange(4).float()[:, None, None, None, None].expand(4, 3, 5, 16, 16)
    cut = 0
    for step in range(30):
        mixed_NCTHW, _ = mix_batch(x_NCTHW, torch.arange(4), 4, MixRecipe(cutmix=1.0), mix_rng(0, 0, step, 0))
        assert torch.equal(mixed_NCTHW, mixed_NCTHW[:, :1, :1].expand_as(mixed_NCTHW))
        inside_NHW = (mixed_NCTHW != x_NCTHW)[:, 0, 0]
        for inside_HW in inside_NHW:
            rows, columns = inside_HW.any(dim=1), inside_HW.any(dim=0)
            assert torch.equal(inside_HW, rows[:, None] & columns[None])
            cut += int(inside_HW.any())
    assert cut > 20


@pytest.mark.parametrize("recipe", [MixRecipe(mixup=0.4), MixRecipe(cutmix=1.0)])
def test_what_is_drawn_follows_from_the_generator_and_leaves_the_clips_as_they_are(recipe: MixRecipe) -> None:
    x_NCTHW, labels_N = torch.randn(4, 3, 2, 8, 8), torch.arange(4)
    before = x_NCTHW.clone()
    first, again = (mix_batch(x_NCTHW, labels_N, 4, recipe, mix_rng(0, 1, 2, 3)) for _ in range(2))
    other = mix_batch(x_NCTHW, labels_N, 4, recipe, mix_rng(0, 1, 2, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[1], other[1])
    assert torch.equal(x_NCTHW, before)


def test_both_come_at_even_odds() -> None:
    """A pixel of mixup is of neither clip; one of cutmix is of one of them."""
    x_NCTHW = torch.arange(2).float()[:, None, None, None, None].expand(2, 1, 1, 16, 16)
    both = MixRecipe(mixup=1.0, cutmix=1.0)
    made = [mix_batch(x_NCTHW, torch.arange(2), 2, both, np.random.default_rng(seed))[0] for seed in range(200)]
    mixed = sum(bool(((clips > 0) & (clips < 1)).any()) for clips in made)
    assert 30 < mixed < 70  # half of the half in which the partner is the other clip


def test_what_is_drawn_goes_to_a_gpu_without_waiting() -> None:
    """From pinned memory, which is what a copy that does not wait needs."""
    moved: list[tuple[bool, bool]] = []

    class Drawn:
        pinned = False

        def pin_memory(self) -> "Drawn":
            found = Drawn()
            found.pinned = True
            return found

        def to(self, device: torch.device, non_blocking: bool) -> None:
            moved.append((self.pinned, non_blocking))

    for device in ("cuda", "cpu"):
        without_waiting(Drawn(), torch.device(device))  # type: ignore[arg-type]
    assert moved == [(True, True), (False, True)]
