"""What a backbone does by itself, whatever its author left out."""

import pytest
import torch
from torch import Tensor, nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.interfaces import Backbone, Head


class Plain(Backbone):
    """One convolution that takes every fourth frame."""

    num_features, temporal_stride = 8, 4

    def __init__(self) -> None:
        super().__init__()
        self.stage = nn.Sequential(nn.Conv3d(3, 8, 1, stride=(4, 1, 1)), nn.ReLU())

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        found: Tensor = self.run(self.stage, x_NCTHW)
        return found


def test_steps_are_rounded_up_and_a_single_pathway_is_the_whole() -> None:
    net = Plain()
    assert [net.num_steps(frames) for frames in (1, 4, 5, 8, 9)] == [1, 1, 2, 2, 3]
    assert (net.path_features, net.path_steps(9)) == ((8,), (3,))
    x_NCTHW = torch.randn(1, 3, 9, 2, 2)
    (path,) = net.paths(x_NCTHW)
    assert torch.equal(path, net(x_NCTHW))
    assert path.shape == (1, 8, 3, 2, 2)


@pytest.mark.parametrize("reduce", ["reduce_append", "reduce_replace"])
def test_a_backbone_without_reduction_says_so(reduce: str) -> None:
    with pytest.raises(ConfigError, match="the backbone Plain has no feature reduction"):
        getattr(Plain(), reduce)(8)


@pytest.mark.parametrize(
    ("checkpointing", "training", "calls"), [(True, True, 2), (True, False, 1), (False, True, 1), (False, False, 1)]
)
def test_stages_are_computed_twice_in_training_and_only_if_asked(
    checkpointing: bool, training: bool, calls: int
) -> None:
    net, seen = Plain().train(training), []
    net.checkpointing = checkpointing
    net.stage[0].register_forward_hook(lambda *_: seen.append(1))
    net(torch.randn(1, 3, 4, 2, 2)).sum().backward()
    assert len(seen) == calls
    seen.clear()
    with torch.no_grad():
        net(torch.randn(1, 3, 4, 2, 2))
    assert len(seen) == 1


def test_what_has_no_forward_pass_is_not_run() -> None:
    for part in (Backbone(), Head()):
        with pytest.raises(NotImplementedError):
            part(torch.zeros(1))
