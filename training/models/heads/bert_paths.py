"""BERT pooling of a network with two pathways (SlowFast): early and late fusion.

Source: "Late temporal modeling in 3D CNN architectures with BERT for action recognition", arXiv:2008.01232,
section 4.5; what it leaves out follows the authors' published implementation.

Axes: N batch, F features and T time steps of a pathway, H height, W width, A attention heads, S = T + 1.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.heads.bert import bert
from kinebert.training.models.interfaces import Head
from kinebert.training.models.pathways import fuse
from kinebert.training.models.registry import HeadBuilder, register_head


class BertEarly(Head):
    """One transformer for all pathways, which are first brought to the time steps of the slow one."""

    takes_paths = True

    def __init__(self, path_features: Sequence[int], path_steps: Sequence[int], options: dict[str, Any]) -> None:
        super().__init__()
        self.bert = bert(sum(path_features), path_steps[0], **options)
        self.num_features, self.num_steps = self.bert.num_features, tuple(path_steps)

    def forward(self, paths: Sequence[Tensor]) -> Tensor:
        """Pool one ``(N, F, T, H, W)`` per pathway to ``(N, num_features)``."""
        pooled_NF: Tensor = self.bert(fuse(_pooled(paths)))
        return pooled_NF

    def attention_weights(self, paths: Sequence[Tensor]) -> list[Tensor]:
        """Return who looks at whom: one ``(N, A, S, S)`` per layer, see :class:`.BertPool`."""
        return self.bert.attention_weights(fuse(_pooled(paths)))


class BertLate(Head):
    """A transformer for each pathway, over its own time steps; what they read out is put side by side."""

    takes_paths = True

    def __init__(self, path_features: Sequence[int], path_steps: Sequence[int], options: dict[str, Any]) -> None:
        super().__init__()
        if len(path_features) != 2:
            raise ConfigError(f"the head bert_late takes a slow and a fast pathway, got {len(path_features)}.")
        (slow, fast), (slow_steps, fast_steps) = path_features, path_steps
        self.slow = bert(slow, slow_steps, **options)
        self.fast = bert(fast, fast_steps, **options)
        self.num_features, self.num_steps = slow + fast, (slow_steps, fast_steps)

    def forward(self, paths: Sequence[Tensor]) -> Tensor:
        """Pool one ``(N, F, T, H, W)`` per pathway to ``(N, num_features)``, the slow one's first."""
        slow, fast = paths
        return torch.cat([self.slow(slow), self.fast(fast)], dim=1)

    @property
    def attention_names(self) -> list[str]:
        """What the entries of :meth:`attention_weights` are called."""
        paths = (("slow", self.slow), ("fast", self.fast))
        return [f"{name} pathway, layer {i}" for name, pool in paths for i in range(1, len(pool.blocks) + 1)]

    def attention_weights(self, paths: Sequence[Tensor]) -> list[Tensor]:
        """Return who looks at whom: one ``(N, A, S, S)`` per layer of the slow, then of the fast pathway."""
        slow, fast = paths
        return [*self.slow.attention_weights(slow), *self.fast.attention_weights(fast)]


def _pooled(paths: Sequence[Tensor]) -> list[Tensor]:
    # before the pathways meet: averages over T are then taken of vectors, not of maps
    return [path.mean(dim=(3, 4), keepdim=True) for path in paths]


def bert_options(build: HeadBuilder) -> HeadBuilder:
    """Give ``build(path_features, path_steps, **options)`` the keyword-only arguments of :func:`bert` by name."""
    own = [p for p in inspect.signature(build).parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = [p for p in inspect.signature(bert).parameters.values() if p.kind is p.KEYWORD_ONLY]
    build.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
    return build


@register_head
@bert_options
def bert_early(path_features: Sequence[int], path_steps: Sequence[int], **options: Any) -> BertEarly:
    """Early fusion by BERT. The options are those of :func:`kinebert.training.models.heads.bert.bert`."""
    return BertEarly(path_features, path_steps, options)


@bert_options
def bert_late(path_features: Sequence[int], path_steps: Sequence[int], **options: Any) -> BertLate:
    """Late fusion of two BERTs. The options are those of :func:`kinebert.training.models.heads.bert.bert`."""
    return BertLate(path_features, path_steps, options)


register_head(bert_late, backbone_options={"reduced_paths": "slow"})
