"""Squeeze and recursion: features weighted, at every time step, by what a recurrent network makes of their averages.

Sources: "Learn to cycle: time-consistent feature discovery for action recognition", Pattern Recognition Letters 2021,
arXiv:2006.08247, section 3; "Multi-temporal convolutions for human action recognition in videos", IJCNN 2021,
arXiv:2011.03949, section III-B and table VI(b) (cells); "Recurrent nets that time and count", IJCNN 2000 (peepholes).

Axes: N batch, C channels, T time steps, H height, W width.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinebert.preprocessing.lookup import find
from kinebert.training.models.arguments import MOST_LAYERS, within
from kinebert.training.models.operations.cyclic_consistency import cyclic_consistent
from kinebert.training.models.operations.frames import frame_averages


class PeepholeLstm(nn.Module):
    """Layers of LSTM cells whose gates also see the cell's state. Without that (``peepholes`` 0) it is ``nn.LSTM``.

    Args:
        input_size: Length of an input.
        hidden_size: Length of a state, C.
        num_layers: Layers upon each other.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1) -> None:
        super().__init__()
        self.hidden_size, self.num_layers = hidden_size, num_layers
        bound = 1 / math.sqrt(hidden_size)
        for layer in range(num_layers):
            before = input_size if layer == 0 else hidden_size
            shapes: dict[str, tuple[int, ...]] = {
                "weight_ih": (4 * hidden_size, before),
                "weight_hh": (4 * hidden_size, hidden_size),
                "bias_ih": (4 * hidden_size,),
                "bias_hh": (4 * hidden_size,),
                "peepholes": (3, hidden_size),
            }
            for name, shape in shapes.items():
                values = torch.empty(shape).uniform_(-bound, bound)
                self.register_parameter(f"{name}_l{layer}", nn.Parameter(values))

    def forward(self, x_TNC: Tensor) -> tuple[Tensor, None]:
        """Map ``(T, N, input_size)`` to ``(T, N, C)``; in second place, where other cells give states, is None."""
        for layer in range(self.num_layers):
            x_TNC = self._layer(x_TNC, layer)
        return x_TNC, None

    def _layer(self, x_TNC: Tensor, layer: int) -> Tensor:
        def own(name: str) -> Tensor:
            return self.get_parameter(f"{name}_l{layer}")

        to_input, to_forget, to_output = own("peepholes")
        inputs_TNG = functional.linear(x_TNC, own("weight_ih"), own("bias_ih") + own("bias_hh"))
        hidden = cell = x_TNC.new_zeros(x_TNC.shape[1], self.hidden_size)
        steps = []
        for input_NG in inputs_TNG:
            gates = (input_NG + functional.linear(hidden, own("weight_hh"))).chunk(4, dim=1)
            taken = torch.sigmoid(gates[0] + to_input * cell)
            kept = torch.sigmoid(gates[1] + to_forget * cell)
            cell = kept * cell + taken * torch.tanh(gates[2])
            hidden = torch.sigmoid(gates[3] + to_output * cell) * torch.tanh(cell)
            steps.append(hidden)
        return torch.stack(steps)


CELLS: dict[str, type[nn.Module]] = {
    "rnn": nn.RNN,
    "lstm": nn.LSTM,
    "peephole_lstm": PeepholeLstm,
    "gru": nn.GRU,
}
"""Recurrent networks by name: each is built from the lengths of inputs and states, and the number of layers."""


class SqueezeAndRecursion(nn.Module):
    """Averages over the picture go through a recurrent network, whose outputs weight the features.

    Args:
        channels: C.
        cell: Key of :data:`CELLS`.
        layers: Recurrent layers upon each other.
        gated: Whether only clips are weighted whose averages and outputs are cyclic-consistent in both directions
            (the first paper's temporal gates); others pass as they are.
    """

    def __init__(self, channels: int, cell: str, layers: int, gated: bool = False) -> None:
        super().__init__()
        within(1, MOST_LAYERS, layers=layers)
        self.gated = gated
        build: Any = find(CELLS, cell, "recurrent cell")
        self.cells: nn.Module = build(channels, channels, num_layers=layers)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to the same shape."""
        return self.weight(x_NCTHW, x_NCTHW)

    def weight(self, x_NCTHW: Tensor, seen_NCTHW: Tensor) -> Tensor:
        """Weight ``x`` by what the recurrent network makes of ``seen``, which has as many channels and time steps."""
        squeezed_NTC = frame_averages(seen_NCTHW).transpose(1, 2)
        weights_NTC = self.cells(squeezed_NTC.transpose(0, 1))[0].transpose(0, 1)
        weighted_NCTHW: Tensor = x_NCTHW * weights_NTC.transpose(1, 2)[..., None, None]
        if not self.gated:
            return weighted_NCTHW
        open_N = cyclic_consistent(squeezed_NTC, weights_NTC) & cyclic_consistent(weights_NTC, squeezed_NTC)
        return torch.where(open_N[:, None, None, None, None], weighted_NCTHW, x_NCTHW)
