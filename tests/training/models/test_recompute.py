"""What a stage computes twice, and what happens once all the same."""

import copy

import pytest
import torch
from torch import Tensor, nn

from kinebert.training.models import build_recognizer
from kinebert.training.models.recompute import run_checkpointed


class Counted(nn.Module):
    """A convolution, a batch norm and dropout, which count how often they are asked."""

    def __init__(self, momentum: float | None = 0.1) -> None:
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv3d(2, 4, 1), nn.BatchNorm3d(4, momentum=momentum), nn.Dropout(0.5)
        self.calls, self.broken_from = 0, 10

    def forward(self, x_NCTHW: Tensor, other_NCTHW: Tensor) -> Tensor:
        self.calls += 1
        if self.calls >= self.broken_from:
            raise ValueError("it broke")
        found: Tensor = self.drop(self.norm(self.conv(x_NCTHW + other_NCTHW)))
        return found


def stage(momentum: float | None = 0.1) -> Counted:
    torch.manual_seed(1)
    return Counted(momentum)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_results_gradients_and_statistics_are_those_of_the_plain_call(momentum: float | None) -> None:
    plain, again = stage(momentum), stage(momentum)
    inputs = [torch.randn(3, 2, 2, 4, 4) for _ in range(2)]
    outputs = []
    for net, call in ((plain, plain), (again, lambda *given: run_checkpointed(again, *given))):
        torch.manual_seed(2)  # for dropout, whose draws are repeated in the second computation
        outputs.append(call(*inputs))
        outputs[-1].square().sum().backward()
        assert net.norm.momentum == momentum
    assert torch.equal(*outputs)
    assert (plain.calls, again.calls) == (1, 2)
    for name, parameter in plain.named_parameters():
        assert torch.equal(again.get_parameter(name).grad, parameter.grad), name  # type: ignore[arg-type]
    for name, buffer in plain.named_buffers():
        assert torch.equal(again.get_buffer(name), buffer), name
    assert again.norm.num_batches_tracked == 1


def test_statistics_go_on_after_a_second_computation_that_failed() -> None:
    net = stage()
    output = run_checkpointed(net, *[torch.randn(3, 2, 2, 4, 4) for _ in range(2)])
    net.broken_from = 2
    with pytest.raises(ValueError, match="it broke"):
        output.sum().backward()
    assert net.norm.momentum == 0.1
    assert net.norm.num_batches_tracked == 1


def test_synchronised_norms_are_computed_twice_as_well() -> None:
    """torch's own class; with nobody to share with it does not ask for a GPU."""
    torch.manual_seed(1)
    plain = build_recognizer(
        backbone="resnet18", head="tgap", width=0.125, dropout=0.0, num_classes=3, clip_length=4, size=32
    ).train()
    again: nn.Module = copy.deepcopy(plain)
    again.backbone.checkpointing = True  # type: ignore[union-attr]
    again = nn.SyncBatchNorm.convert_sync_batchnorm(again)
    assert any(isinstance(module, nn.SyncBatchNorm) for module in again.modules())
    x_NCTHW = torch.randn(2, 3, 4, 32, 32)
    for net in (plain, again):
        net(x_NCTHW).square().sum().backward()
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(again.get_parameter(name).grad, parameter.grad)
    for name, buffer in plain.named_buffers():
        torch.testing.assert_close(again.get_buffer(name), buffer)
