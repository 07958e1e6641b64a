"""LSTM pooling: the time steps are read one after the other, the last output is kept.

Source: "Late temporal modeling in 3D CNN architectures with BERT for action recognition", arXiv:2008.01232, table 1
(two layers of 450, as large as BERT pooling).

Axes: N batch, F features, T time steps left by the backbone, H height, W width.
"""

from torch import Tensor, nn

from kinebert.training.models.arguments import MOST_LAYERS, positive, within
from kinebert.training.models.interfaces import Head
from kinebert.training.models.registry import register_head


class LstmPool(Head):
    """Mean over H and W, then a stack of LSTM layers, whose output at the last step is kept."""

    num_steps = None

    def __init__(self, num_features: int, num_layers: int, head_width: int) -> None:
        super().__init__()
        positive(num_layers=num_layers, head_width=head_width)
        within(1, MOST_LAYERS, num_layers=num_layers)
        self.num_features = head_width
        self.lstm = nn.LSTM(num_features, head_width, num_layers, batch_first=True)

    def forward(self, features_NFTHW: Tensor) -> Tensor:
        """Pool ``(N, F, T, H, W)`` to ``(N, head_width)``."""
        states_NTF: Tensor = self.lstm(features_NFTHW.mean(dim=(3, 4)).transpose(1, 2))[0]
        return states_NTF[:, -1]


@register_head
def lstm(num_features: int, num_steps: int, *, num_layers: int = 2, head_width: int = 450) -> LstmPool:
    """Pool by an LSTM. It takes clips of every length, so ``num_steps`` is of no consequence.

    Args:
        num_features: F of the backbone.
        num_steps: Not used.
        num_layers: LSTM layers.
        head_width: Features of each layer; the paper's is 450, the METU thesis' 512 (table 3.3).
    """
    del num_steps
    return LstmPool(num_features, num_layers, head_width)
