"""MTNet's branches: what they share, what they leave, what they refuse, and names of files with other ratios."""

import pytest
import torch

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models import BACKBONES, build_recognizer, load_published
from kinebert.training.models.backbones.recurrent.mtnet import BranchConv


def test_one_norm_serves_the_long_branch_and_what_the_short_adds() -> None:
    torch.manual_seed(2)
    conv = BranchConv(16, 16, (1, 1, 1), 1, 0.5).eval()
    short, long = torch.randn(1, 8, 4, 6, 6), torch.randn(1, 8, 2, 3, 3)
    alone, joined = conv((short, 0 * long))[1], conv((short, long))[1]
    torch.testing.assert_close(joined - alone, conv.norm_long(conv.conv_long(long)))
    conv.train()((short, long))
    assert int(conv.norm_long.get_buffer("num_batches_tracked")) == 2


def test_sides_of_one_pixel_stay() -> None:
    net = BACKBONES["mtnet_xs"].build(width=0.125).eval()
    with torch.inference_mode():
        assert net(torch.randn(1, 3, 32, 17, 40)).shape == (1, 64, 2, 1, 2)


@pytest.mark.parametrize("frames", [3, 5, 16, 20, 48, 64])
def test_steps_are_those_that_it_leaves(frames: int) -> None:
    net = BACKBONES["mtnet_xs"].build(width=0.125).eval()
    x_NCTHW = torch.randn(1, 3, frames, 32, 32)
    with torch.inference_mode():
        assert net(x_NCTHW).shape[2] == net.num_steps(frames)
        long, short = net.paths(x_NCTHW)
    assert (long.shape[2], short.shape[2]) == net.path_steps(frames)
    assert (long.shape[1], short.shape[1]) == net.path_features == (8, 56)


def test_heads_of_two_pathways_take_its_branches() -> None:
    net = build_recognizer(backbone="mtnet_xs", head="bert_late", num_classes=2, width=0.25, clip_length=32, size=32)
    assert net(torch.randn(2, 3, 32, 32, 32)).shape == (2, 2)


@pytest.mark.parametrize(
    ("options", "frames", "words"),
    [
        ({"ratio": 1.0}, 16, "mtnet_x3d_m takes a ratio of 1"),
        ({"ratio": 0.0}, 16, "between 0 and 1"),
        ({"groups": 64}, 16, "cannot be shared"),
        ({}, 2, "at least 3"),
    ],
)
def test_what_it_cannot_be_is_refused(options: dict[str, float], frames: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_recognizer(
            backbone="mtnet_xs", head="tgap", num_classes=2, clip_length=frames, backbone_options=options, width=0.25
        )


def test_a_file_says_its_ratio_and_groups() -> None:
    names = (("backbone.", ""), ("classifier.", "fc."), ("lateral.", "conv_short2long."), ("cells.", "op."))

    def state(ratio: float, groups: int) -> dict[str, torch.Tensor]:
        options = {"ratio": ratio, "groups": groups}
        net = build_recognizer(backbone="mtnet_xs", head="tgap", num_classes=2, backbone_options=options)
        found = {}
        for key, tensor in net.state_dict().items():
            for ours, theirs in (*names, ("recursion_", "sr_")):
                key = key.replace(ours, theirs)
            found[key] = tensor
        return found

    for ratio, groups in ((0.6, 1), (0.5, 4)):
        net = build_recognizer(backbone="mtnet_xs", head="tgap", num_classes=2)
        report = load_published(net, state(ratio, groups))
        assert report.layout == "mtnet"
        assert not [*report.missing, *report.unexpected, *report.ignored]
        options = net.config["backbone_options"]
        assert options["ratio"] == pytest.approx(ratio, abs=1e-3)
        assert options["groups"] == groups
