"""Convolutional GRU: a recurrent unit whose state is a feature map.

Source: "Delving deeper into convolutional networks for learning video representations" (GRU-RCN), Ballas et al.,
ICLR 2016, arXiv:1511.06432, equations 5 to 8: 3x3 convolutions of the input and the state, no biases.

Axes: N batch, F features, T time steps left by the backbone, H height, W width; G features of the state.
"""

import torch
from torch import Tensor, nn

from kinebert.training.models.arguments import positive
from kinebert.training.models.interfaces import Head
from kinebert.training.models.registry import register_head


class ConvGruPool(Head):
    """One layer of GRU-RCN over the feature maps; its last state is averaged over H and W."""

    num_steps = None

    def __init__(self, num_features: int, head_width: int) -> None:
        super().__init__()
        positive(head_width=head_width)
        self.num_features = head_width
        # the paper's W_z, W_r and W, and its U_z and U_r: side by side, since they read the same map
        self.input = nn.Conv2d(num_features, 3 * head_width, 3, padding=1, bias=False)
        self.gates = nn.Conv2d(head_width, 2 * head_width, 3, padding=1, bias=False)
        self.candidate = nn.Conv2d(head_width, head_width, 3, padding=1, bias=False)

    def forward(self, features_NFTHW: Tensor) -> Tensor:
        """Pool ``(N, F, T, H, W)`` to ``(N, head_width)``."""
        n, _, t, h, w = features_NFTHW.shape
        inputs_BGHW = self.input(features_NFTHW.transpose(1, 2).flatten(0, 1))  # B = N x T, all steps at once
        # the state keeps the type of the weights: in bf16 the small steps of a long clip would be rounded away
        state_NGHW: Tensor = inputs_BGHW.new_zeros((n, self.num_features, h, w), dtype=self.input.weight.dtype)
        for input_NGHW in inputs_BGHW.unflatten(0, (n, t)).unbind(1):
            update_in, reset_in, candidate_in = input_NGHW.chunk(3, dim=1)
            update_state, reset_state = self.gates(state_NGHW).chunk(2, dim=1)
            update_NGHW = torch.sigmoid(update_in + update_state)
            reset_NGHW = torch.sigmoid(reset_in + reset_state)
            candidate_NGHW = torch.tanh(candidate_in + self.candidate(reset_NGHW * state_NGHW))
            state_NGHW = state_NGHW + update_NGHW * (candidate_NGHW - state_NGHW)
        return state_NGHW.mean(dim=(2, 3))


@register_head
def conv_gru(num_features: int, num_steps: int, *, head_width: int = 196) -> ConvGruPool:
    """Pool by a convolutional GRU. It takes clips of every length, so ``num_steps`` is of no consequence.

    Args:
        num_features: F of the backbone.
        num_steps: Not used.
        head_width: Features of the state; 196 in the METU thesis.
    """
    del num_steps
    return ConvGruPool(num_features, head_width)
