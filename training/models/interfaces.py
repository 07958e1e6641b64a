"""What every backbone and every head promises; ``tests/contract`` tries each of them.

Axes: N batch, C channels, T frames (after a backbone: time steps), H height, W width, F features.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.recompute import run_checkpointed


class Backbone(nn.Module):
    """A network that maps ``(N, C, T, H, W)`` to ``(N, F, T', H', W')``.

    Networks with several pathways (SlowFast) also give each pathway by itself, the slow one first; ``forward`` then
    returns them as one map, so that every head works on every backbone.
    """

    num_features: int
    """F, a multiple of 8, so that eight attention heads can share them."""
    temporal_stride: int
    """Frames of the clip per time step that is left."""
    checkpointing = False
    """Whether :meth:`run` forgets what a stage computed in training, and computes it again for the gradients."""
    reduced: tuple[str, ...] = ()
    """Names of the submodules that a feature reduction made: published backbones have no weights for them."""
    lr_scales: ClassVar[Mapping[str, float]] = {}
    """Factors of the learning rate with which submodules are published to learn, by their names. Where a recipe names
    a parameter in ``optim.layers``, that counts instead."""
    idle_pools: tuple[str, ...] = ()
    """Names of the submodules whose input the published network pools by 1 first, which the papers count as work."""

    def num_steps(self, clip_length: int) -> int:
        """Return the T' that is left of ``clip_length`` frames."""
        return -(-clip_length // self.temporal_stride)

    def check_input(self, channels: int, frames: int, height: int, width: int) -> None:
        """Raise a ConfigError that says what the network admits, if it does not admit such a clip."""

    def reduce_append(self, width: int) -> None:
        """Append a block (``mapper``) that leaves ``width`` features: FRAB. Changes the network in place.

        Raises:
            ConfigError: If the network has no such block.
        """
        raise ConfigError(f"the backbone {type(self).__name__} has no feature reduction.")

    def reduce_replace(self, width: int) -> None:
        """Replace the last block by one that leaves ``width`` features: FRMB. Changes the network in place.

        Raises:
            ConfigError: If the network has no such block.
        """
        raise ConfigError(f"the backbone {type(self).__name__} has no feature reduction.")

    @property
    def path_features(self) -> tuple[int, ...]:
        """F of each pathway, slow first."""
        return (self.num_features,)

    def path_steps(self, clip_length: int) -> tuple[int, ...]:
        """Return the T' of each pathway, slow first."""
        return (self.num_steps(clip_length),)

    def paths(self, x_NCTHW: Tensor) -> tuple[Tensor, ...]:
        """Map ``(N, C, T, H, W)`` to one ``(N, F, T', H', W')`` per pathway, slow first."""
        return (self(x_NCTHW),)

    def run(self, stage: nn.Module, *inputs: Any) -> Any:
        """Return ``stage(*inputs)``; with :attr:`checkpointing`, what lies between is not kept for the gradients."""
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return run_checkpointed(stage, *inputs)
        return stage(*inputs)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, F, T', H', W')``."""
        raise NotImplementedError


class Head(nn.Module):
    """Temporal pooling: maps ``(N, F, T, H, W)`` to ``(N, num_features)``."""

    num_features: int
    """Length of what it returns, the classifier's input."""
    num_steps: int | tuple[int, ...] | None
    """The only T that it takes (of each pathway where it takes several); None where it takes every T."""
    takes_paths = False
    """Called with a tuple of the backbone's pathways instead, and built as ``name(path_features, path_steps, ...)``."""
    path_names: tuple[str, ...] = ()
    """Of the pathways, where a network has named them."""
    per_step = False
    """Returns ``(N, T, num_features)``: every step is classified by itself, and the scores are averaged."""

    def forward(self, features: Any) -> Tensor:
        """Pool ``(N, F, T, H, W)`` to ``(N, num_features)``."""
        raise NotImplementedError
