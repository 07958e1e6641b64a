"""BERT pooling: late temporal modelling of a backbone's features by attention, read out at a classification token.

Source: "Late temporal modeling in 3D CNN architectures with BERT for action recognition", arXiv:2008.01232,
section 3. The paper shows neither residuals nor norms; what it leaves out follows the authors' published
implementation: pre-norm blocks, a layer norm of its own kind, the tanh form of GELU, no norm at the end.

Axes: N batch, F features, T time steps left by the backbone, S = T + 1 with the classification token in front,
A attention heads, D features of a head, H height, W width.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.arguments import MOST_LAYERS, within
from kinebert.training.models.interfaces import Head
from kinebert.training.models.registry import register_head

Initialization = Literal["bert5", "bert2"]
Readout = Literal["token", "mean"]


class LayerNorm(nn.Module):
    """``scale * (x - mean) / (std + eps) + shift``: unlike torch's, std is unbiased and eps is added to it."""

    def __init__(self, num_features: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(num_features))
        self.shift = nn.Parameter(torch.zeros(num_features))
        self.eps = eps

    def forward(self, x_NSF: Tensor) -> Tensor:
        """Normalise the last axis, F."""
        std_NS1, mean_NS1 = torch.std_mean(x_NSF, dim=-1, keepdim=True)
        return self.scale * (x_NSF - mean_NS1) / (std_NS1 + self.eps) + self.shift


class Attention(nn.Module):
    """Multi-head self-attention in which hidden steps are not looked at."""

    def __init__(self, num_features: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.query = nn.Linear(num_features, num_features)
        self.key = nn.Linear(num_features, num_features)
        self.value = nn.Linear(num_features, num_features)
        self.output = nn.Linear(num_features, num_features)

    def forward(self, x_NSF: Tensor, visible_NS: Tensor | None) -> Tensor:
        """Map ``(N, S, F)`` to ``(N, S, F)``; only keys and values of the steps in ``visible_NS`` take part."""
        mixed_NASD = functional.scaled_dot_product_attention(
            self._by_head(self.query, x_NSF),
            self._by_head(self.key, x_NSF),
            self._by_head(self.value, x_NSF),
            attn_mask=None if visible_NS is None else visible_NS[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
        )
        out_NSF: Tensor = self.output(mixed_NASD.transpose(1, 2).flatten(2))
        return out_NSF

    def weights(self, x_NSF: Tensor) -> Tensor:
        """Return what :meth:`forward` weighs the values with if all is visible: ``(N, A, S, S)``, each row sums to 1.

        The fused attention of :meth:`forward` never has them in memory.
        """
        query_NASD, key_NASD = self._by_head(self.query, x_NSF), self._by_head(self.key, x_NSF)
        scores_NASS = query_NASD @ key_NASD.transpose(2, 3) * query_NASD.shape[-1] ** -0.5
        weights_NASS: Tensor = scores_NASS.softmax(dim=-1)
        return weights_NASS

    def _by_head(self, layer: nn.Linear, x_NSF: Tensor) -> Tensor:
        split_NASD: Tensor = layer(x_NSF).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        return split_NASD


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, num_features: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = LayerNorm(num_features)
        self.attention = Attention(num_features, num_heads, dropout)
        self.norm2 = LayerNorm(num_features)
        self.expand = nn.Linear(num_features, 4 * num_features)
        self.contract = nn.Linear(4 * num_features, num_features)
        self.drop = nn.Dropout(dropout)

    def forward(self, x_NSF: Tensor, visible_NS: Tensor | None) -> Tensor:
        """Map ``(N, S, F)`` to ``(N, S, F)``."""
        x_NSF = x_NSF + self.drop(self.attention(self.norm1(x_NSF), visible_NS))
        hidden_NSF = self.drop(functional.gelu(self.expand(self.norm2(x_NSF)), approximate="tanh"))
        x_NSF = x_NSF + self.drop(self.contract(hidden_NSF))
        out_NSF: Tensor = self.drop(x_NSF)  # a second time, as published
        return out_NSF


class BertPool(Head):
    """Replace temporal average pooling by attention. Its options are those of :func:`bert`."""

    num_steps: int

    def __init__(
        self,
        num_features: int,
        num_steps: int,
        *,
        num_layers: int,
        num_heads: int,
        keep_prob: float,
        bert_dropout: float,
        init: Initialization,
        normalize_tokens: bool,
        readout: Readout,
    ) -> None:
        super().__init__()
        if num_heads < 1 or num_features % num_heads:
            raise ConfigError(f"num_features ({num_features}) must be a multiple of num_heads ({num_heads}).")
        within(1, MOST_LAYERS, num_layers=num_layers)
        if not 0 < keep_prob <= 1:
            raise ConfigError(f"keep_prob must be above 0 and at most 1, got {keep_prob}.")
        if not 0 <= bert_dropout < 1:
            raise ConfigError(f"bert_dropout must be at least 0 and below 1, got {bert_dropout}.")
        if init not in ("bert5", "bert2"):
            raise ConfigError(f"init must be bert5 or bert2, got {init!r}.")
        if readout not in ("token", "mean"):
            raise ConfigError(f"readout must be token or mean, got {readout!r}.")
        self.num_features, self.num_steps = num_features, num_steps
        self.keep_prob, self.normalize_tokens, self.readout = keep_prob, normalize_tokens, readout
        self.token = nn.Parameter(torch.empty(1, 1, num_features))
        self.positions = nn.Parameter(torch.empty(1, num_steps + 1, num_features))
        self.drop = nn.Dropout(bert_dropout)
        self.blocks = nn.ModuleList(Block(num_features, num_heads, bert_dropout) for _ in range(num_layers))
        self._initialize(init)

    def _initialize(self, init: Initialization) -> None:
        std = 0.02 if init == "bert5" else self.num_features**-0.5
        nn.init.normal_(self.token, std=std)
        nn.init.normal_(self.positions, std=std)
        if init == "bert2":
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=0.02)
                    nn.init.zeros_(module.bias)

    def forward(self, features_NFTHW: Tensor) -> Tensor:
        """Pool ``(N, F, T, H, W)`` to ``(N, F)``: the classification token's row, or the mean of the steps' rows."""
        return self.read(self.encode(features_NFTHW.mean(dim=(3, 4)).transpose(1, 2)))

    def read(self, x_NSF: Tensor) -> Tensor:
        """Return the ``(N, F)`` that is classified of what :meth:`encode` returns."""
        return x_NSF[:, 0] if self.readout == "token" else x_NSF[:, 1:].mean(dim=1)

    def draw_visible(self, tokens_NTF: Tensor) -> Tensor | None:
        """Draw which time steps of each clip may be looked at, ``(N, T)``; None for all, as outside of training."""
        if not self.training or self.keep_prob == 1:
            return None
        return torch.rand(tokens_NTF.shape[:2], device=tokens_NTF.device) < self.keep_prob

    def encode(self, tokens_NTF: Tensor, visible_NT: Tensor | None = None) -> Tensor:
        """Run the transformer.

        Args:
            tokens_NTF: One feature vector per time step.
            visible_NT: Which steps may be looked at. Drawn at random in training, all of them otherwise.

        Returns:
            ``(N, T + 1, F)``, the classification token's row first.

        Raises:
            ConfigError: If T is not the number of steps that this head was built for.
        """
        x_NSF = self._embed(tokens_NTF)
        visible_NT = self.draw_visible(tokens_NTF) if visible_NT is None else visible_NT
        visible_NS = None if visible_NT is None else functional.pad(visible_NT, (1, 0), value=True)
        for block in self.blocks:
            x_NSF = block(x_NSF, visible_NS)
        return x_NSF

    def attention_weights(self, features_NFTHW: Tensor) -> list[Tensor]:
        """Return who looks at whom, for looking at: one ``(N, A, S, S)`` per layer.

        Entry ``[n, a, i, j]`` is the share of step j in what head a hands to step i; 0 is the classification token.
        In eval mode these are the weights that the forward pass uses; nothing is hidden here in training either.

        Raises:
            ConfigError: If T is not the number of steps that this head was built for.
        """
        x_NSF = self._embed(features_NFTHW.mean(dim=(3, 4)).transpose(1, 2))
        weights = []
        for block in self.blocks:
            assert isinstance(block, Block)
            weights.append(block.attention.weights(block.norm1(x_NSF)))
            x_NSF = block(x_NSF, None)
        return weights

    def _embed(self, tokens_NTF: Tensor) -> Tensor:
        """Put the classification token in front, and positions on all."""
        n, t, _ = tokens_NTF.shape
        if t != self.num_steps:
            raise ConfigError(f"got {t} time steps, this bert head was built for {self.num_steps}.")
        if self.normalize_tokens:
            tokens_NTF = functional.normalize(tokens_NTF, dim=-1)
        x_NSF: Tensor = self.drop(torch.cat([self.token.expand(n, -1, -1), tokens_NTF], dim=1) + self.positions)
        return x_NSF


@register_head
def bert(
    num_features: int,
    num_steps: int,
    *,
    num_layers: int = 1,
    num_heads: int = 8,
    keep_prob: float = 0.8,
    bert_dropout: float = 0.1,
    init: Initialization = "bert5",
    normalize_tokens: bool = False,
    readout: Readout = "token",
) -> BertPool:
    """Pool by attention, as published.

    Args:
        num_features: F of the backbone; a multiple of ``num_heads``.
        num_steps: T that the backbone leaves of a clip; sets the size of the position table.
        num_layers: Transformer blocks.
        num_heads: Attention heads.
        keep_prob: In training, the probability that a time step may be looked at. 1 switches masking off.
        bert_dropout: Probability to drop a value, at every place inside.
        init: ``bert5`` (published for ResNeXt, R(2+1)D and SlowFast): token and positions N(0, 0.02), torch's own
            linear layers. ``bert2`` (published for I3D): token and positions N(0, F^-0.5), linear layers N(0, 0.02)
            without bias.
        normalize_tokens: Scale every token to length 1 first (published for I3D alone).
        readout: ``token``: the output at the classification token; ``mean``: the mean of the outputs at the time steps.
    """
    return BertPool(
        num_features,
        num_steps,
        num_layers=num_layers,
        num_heads=num_heads,
        keep_prob=keep_prob,
        bert_dropout=bert_dropout,
        init=init,
        normalize_tokens=normalize_tokens,
        readout=readout,
    )
