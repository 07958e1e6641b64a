"""BERT over the time steps of several pathways at once: every step of every pathway is a token of one sequence.

Any pathways will do: the streams of a network of several modalities, or SlowFast's. A learnt embedding says which
pathway a token is of; its position says which step.

Axes: N batch, F features and T time steps of a pathway, H height, W width, A attention heads, S tokens of all pathways
with the classification token in front, E features of a token.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.heads.bert import bert
from kinebert.training.models.heads.bert_paths import bert_options
from kinebert.training.models.interfaces import Head
from kinebert.training.models.registry import register_head


class BertTokens(Head):
    """One transformer over the tokens of all pathways. Its options are those of :func:`bert_tokens`."""

    takes_paths = True
    num_steps: tuple[int, ...]

    def __init__(
        self, path_features: Sequence[int], path_steps: Sequence[int], token_width: int, options: dict[str, Any]
    ) -> None:
        super().__init__()
        if token_width < 0:
            raise ConfigError(f"token_width must be at least 0, got {token_width}.")
        width = token_width or min(path_features)
        self.reduce = nn.ModuleList(
            nn.Identity() if features == width else nn.Linear(features, width) for features in path_features
        )
        self.normalize_tokens = bool(options.get("normalize_tokens"))
        self.bert = bert(width, sum(path_steps), **{**options, "normalize_tokens": False})
        self.pathways = nn.Parameter(torch.empty(len(path_features), width))
        nn.init.normal_(self.pathways, std=0.02)
        self.num_features, self.num_steps = width, tuple(path_steps)
        self.path_names = tuple(f"pathway {i}" for i in range(1, len(path_features) + 1))

    def forward(self, paths: Sequence[Tensor]) -> Tensor:
        """Pool one ``(N, F, T, H, W)`` per pathway to ``(N, E)``."""
        return self.bert.read(self.bert.encode(self._tokens(paths)))

    @property
    def token_parts(self) -> dict[str, slice]:
        """Which tokens of :meth:`attention_weights` are of which pathway; the classification token is 0."""
        ends = [1 + sum(self.num_steps[:i]) for i in range(len(self.num_steps) + 1)]
        return {name: slice(*ends[i : i + 2]) for i, name in enumerate(self.path_names)}

    def attention_weights(self, paths: Sequence[Tensor]) -> list[Tensor]:
        """Return who looks at whom: one ``(N, A, S, S)`` per layer, see :class:`.BertPool`."""
        return self.bert.attention_weights(self._tokens(paths).transpose(1, 2)[..., None, None])

    def _tokens(self, paths: Sequence[Tensor]) -> Tensor:
        tokens = []
        for path_NFTHW, reduce, embedding in zip(paths, self.reduce, self.pathways, strict=True):
            steps_NTE = reduce(path_NFTHW.mean(dim=(3, 4)).transpose(1, 2))
            if self.normalize_tokens:
                steps_NTE = functional.normalize(steps_NTE, dim=-1)
            tokens.append(steps_NTE + embedding)
        return torch.cat(tokens, dim=1)


@register_head
@bert_options
def bert_tokens(
    path_features: Sequence[int], path_steps: Sequence[int], *, token_width: int = 0, **options: Any
) -> BertTokens:
    """One BERT over the tokens of all pathways, which says how they are combined step by step.

    The other options are those of :func:`kinebert.training.models.heads.bert.bert`.

    Args:
        path_features: F of each pathway.
        path_steps: T of each pathway.
        token_width: E. Pathways of other sizes are brought to it by a learnt linear layer each; 0: the smallest F.
        options: Of :func:`kinebert.training.models.heads.bert.bert`.
    """
    return BertTokens(path_features, path_steps, token_width, options)
