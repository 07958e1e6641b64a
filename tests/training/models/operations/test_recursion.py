"""Squeeze and recursion: the weights by hand, every cell, peepholes, and gates that open and close."""

import pytest
import torch
from torch import nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.operations.cyclic_consistency import cyclic_consistent, soft_nearest
from kinebert.training.models.operations.recursion import CELLS, PeepholeLstm, SqueezeAndRecursion


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(5)


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("layers", [1, 2])
def test_features_are_weighted_by_what_cells_make_of_their_averages(cell: str, layers: int) -> None:
    part = SqueezeAndRecursion(6, cell, layers).double()
    x = torch.randn(2, 6, 5, 3, 4, dtype=torch.float64)
    outputs_TNC = part.cells(x.mean(dim=(3, 4)).permute(2, 0, 1))[0]
    torch.testing.assert_close(part(x), x * outputs_TNC.permute(1, 2, 0)[..., None, None])
    other = torch.randn(2, 6, 5, 1, 2, dtype=torch.float64)
    assert part.weight(x, other).shape == x.shape
    assert torch.autograd.gradcheck(part, (x[:1, :, :3, :1, :2].clone().requires_grad_(),))
    parameters = sum(p.numel() for p in part.parameters())
    gates = {"rnn": 1, "gru": 3}.get(cell, 4)
    assert parameters == layers * (gates * (2 * 6 * 6 + 2 * 6) + (3 * 6 if cell == "peephole_lstm" else 0))


def test_an_lstm_with_closed_peepholes_is_torchs() -> None:
    ours, theirs = PeepholeLstm(4, 6, 2), nn.LSTM(4, 6, 2)
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert missing == ["peepholes_l0", "peepholes_l1"]
    assert not unexpected
    x_TNC = torch.randn(7, 3, 4)
    open_TNC = ours(x_TNC)[0]
    with torch.no_grad():
        for layer in range(2):
            ours.get_parameter(f"peepholes_l{layer}").zero_()
    torch.testing.assert_close(ours(x_TNC)[0], theirs(x_TNC)[0])
    assert (open_TNC[1:] - theirs(x_TNC)[0][1:]).abs().min() > 0, "open ones see the state"


def test_peepholes_by_hand() -> None:
    cells = PeepholeLstm(1, 1)
    with torch.no_grad():
        for parameter in cells.parameters():
            parameter.zero_()
        cells.get_parameter("weight_ih_l0")[2] = 1.0  # only the candidate sees the input
        cells.get_parameter("peepholes_l0").copy_(torch.tensor([[2.0], [3.0], [4.0]]))
    x = torch.tensor([0.5, -1.0])
    first = 0.5 * torch.tanh(x[0])
    second = torch.sigmoid(3 * first) * first + torch.sigmoid(2 * first) * torch.tanh(x[1])
    wanted = torch.stack([torch.sigmoid(4 * state) * torch.tanh(state) for state in (first, second)])
    torch.testing.assert_close(cells(x[:, None, None])[0].flatten(), wanted)


def test_soft_neighbours_by_hand() -> None:
    a, b = torch.tensor([[[0.0]]]), torch.tensor([[[1.0], [2.0]]])
    near, far = torch.tensor(-1.0).exp(), torch.tensor(-4.0).exp()
    torch.testing.assert_close(soft_nearest(a, b), ((near + 2 * far) / (near + far)).reshape(1, 1, 1))


def test_sequences_lead_back_to_themselves_or_do_not() -> None:
    steps = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    same = steps + 0.1
    crossed = torch.stack([steps[0], steps[0], steps[2]])  # the second step's only way back is to the first
    a, b = torch.stack([steps, steps]), torch.stack([same, crossed])
    assert cyclic_consistent(a, b).tolist() == [True, False]
    assert cyclic_consistent(a, a.flip(1)).tolist() == [True, True], "order in the other sequence does not matter"


def test_gates_weight_consistent_clips_and_pass_the_others() -> None:
    part, gated = SqueezeAndRecursion(4, "lstm", 2), SqueezeAndRecursion(4, "lstm", 2, gated=True)
    gated.load_state_dict(part.state_dict())
    one, many = torch.randn(2, 4, 1, 2, 2), torch.randn(2, 4, 6, 2, 2)
    assert torch.equal(gated(one), part(one)), "one step leads back to itself: open"
    assert torch.equal(gated(many), many), "outputs of fresh cells are too alike to tell steps apart: closed"


@pytest.mark.parametrize(("cell", "layers", "word"), [("gruu", 1, "gru"), ("gru", 0, "layers")])
def test_what_there_is_not_is_refused(cell: str, layers: int, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        SqueezeAndRecursion(4, cell, layers)
