"""Temporal heads: shapes of every one, and each against a plain reading of its equations."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models import HEADS, build_recognizer
from kinebert.training.models.heads.average import none, tgap
from kinebert.training.models.heads.concatenation import concat, concat_fc
from kinebert.training.models.heads.conv_gru import conv_gru
from kinebert.training.models.heads.lstm import lstm
from kinebert.training.models.heads.non_local import nonlocal_concat, nonlocal_concat_fc, nonlocal_tgap
from kinebert.training.models.interfaces import Head
from kinebert.training.models.non_local import NonLocal
from kinebert.training.models.registry import takes_paths
from kinebert.training.models.sizes.unallocated import unallocated

ONE_PATH = [name for name in sorted(HEADS) if not takes_paths(name)]
SHAPES_FTHW = [(8, 1, 1, 1), (24, 3, 2, 5), (16, 8, 7, 7)]


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        yield


def awake(head: Head) -> Head:
    """Let the block of a non-local head, which starts as one that changes nothing, have a say."""
    for name, parameter in head.named_parameters():
        if name == "block.norm.weight":
            nn.init.ones_(parameter)
    return head


@pytest.mark.parametrize("shape_FTHW", SHAPES_FTHW, ids=str)
@pytest.mark.parametrize("name", ONE_PATH)
def test_every_head_pools_every_map(name: str, shape_FTHW: tuple[int, ...]) -> None:
    head = awake(HEADS[name](*shape_FTHW[:2])).train()
    features_NFTHW = torch.randn(3, *shape_FTHW, requires_grad=True)
    pooled = head(features_NFTHW)
    steps = (shape_FTHW[1],) if head.per_step else ()
    assert pooled.shape == (3, *steps, head.num_features)
    (pooled * torch.randn_like(pooled)).sum().backward()
    gradients = {key: parameter.grad for key, parameter in head.named_parameters()}
    for key, gradient in {**gradients, "features": features_NFTHW.grad}.items():
        assert gradient is not None, key
        assert gradient.isfinite().all(), key
        if shape_FTHW[1] > 1:  # of a single step nothing is remembered, and nobody looks elsewhere
            assert gradient.abs().max() > 0, key


@pytest.mark.parametrize("name", ONE_PATH)
def test_clips_of_a_batch_do_not_meet_in_eval(name: str) -> None:
    head = awake(HEADS[name](24, 3)).eval()
    features_NFTHW = torch.randn(3, 24, 3, 2, 5)
    alone = torch.cat([head(clip[None]) for clip in features_NFTHW])
    assert (head(features_NFTHW) - alone).abs().max() < 1e-5


@pytest.mark.filterwarnings("ignore:The tensor attributes self.lstm")  # torch's own, of every nn.LSTM
@pytest.mark.parametrize("name", ONE_PATH)
def test_every_head_is_exported_for_any_number_of_clips(name: str) -> None:
    head = awake(HEADS[name](24, 3)).eval()
    features_NFTHW = torch.randn(3, 24, 3, 2, 5)
    free = ({0: torch.export.Dim.DYNAMIC},)
    exported = torch.export.export(head, (features_NFTHW,), dynamic_shapes=free).module()
    for count in (2, 3):
        assert torch.allclose(exported(features_NFTHW[:count]), head(features_NFTHW[:count]), atol=1e-6)


@pytest.mark.parametrize("name", ONE_PATH)
def test_every_head_runs_in_bf16(name: str) -> None:
    head = awake(HEADS[name](24, 6)).eval()
    features_NFTHW = torch.randn(4, 24, 6, 3, 3)
    exact = head(features_NFTHW)
    with torch.autocast("cpu", torch.bfloat16):
        rough = head(features_NFTHW.bfloat16())
    assert (rough - exact).abs().max() < 0.06 * exact.std()  # measured 0.005 to 0.022


def test_tgap_and_none_are_means() -> None:
    features_NFTHW = torch.arange(2 * 3 * 4 * 2 * 2, dtype=torch.float64).reshape(2, 3, 4, 2, 2)
    assert tgap(3, 4)(features_NFTHW).tolist() == [[7.5, 23.5, 39.5], [55.5, 71.5, 87.5]]
    steps_NTF = none(3, 4)(features_NFTHW)
    assert steps_NTF[0, :, 0].tolist() == [1.5, 5.5, 9.5, 13.5]
    assert torch.equal(steps_NTF.mean(dim=1), tgap(3, 4)(features_NFTHW))


def test_without_a_head_frames_are_learnt_alone_and_their_scores_averaged() -> None:
    net = build_recognizer(backbone="resnet18", head="none", num_classes=3, clip_length=1, size=32, width=0.125)
    assert net.train()(torch.randn(2, 3, 1, 32, 32)).shape == (2, 3)
    clips_NCTHW = torch.randn(2, 3, 5, 32, 32)
    alone = torch.stack([net.eval()(clips_NCTHW[:, :, [t]]) for t in range(5)])
    assert torch.allclose(net(clips_NCTHW), alone.mean(dim=0), atol=1e-5)


def test_concatenation_goes_by_features_first() -> None:
    features_NFTHW = torch.arange(6.0).reshape(1, 2, 3, 1, 1) + torch.tensor([[-1.0, 1.0]])
    assert concat(2, 3)(features_NFTHW).tolist() == [[0, 1, 2, 3, 4, 5]]
    for head in (concat(2, 3), concat_fc(2, 3), nonlocal_concat(2, 3), nonlocal_concat_fc(2, 3)):
        with pytest.raises(ConfigError, match=r"got 4 time steps, this head was built for 3\."):
            head(torch.zeros(1, 2, 4, 1, 1))


def test_the_layer_after_concatenation_has_no_activation() -> None:
    head = concat_fc(8, 3, head_width=5).eval()
    a, b = torch.randn(2, 4, 8, 3, 2, 2)
    zero = head(torch.zeros_like(a))
    assert torch.allclose(head(a) + head(b) - zero, head(a + b), atol=1e-5)
    assert torch.equal(head.train()(a), head(a)), "by default the recognizer's dropout is the only one"
    dropping = concat_fc(8, 3, fc_dropout=0.5).train()
    assert not torch.equal(dropping(a), dropping(a))


def test_lstm_keeps_the_last_step_of_its_last_layer() -> None:
    head = lstm(8, 4, num_layers=2, head_width=6).eval()
    features_NFTHW = torch.randn(3, 8, 4, 2, 2)
    cells = [nn.LSTMCell(8, 6), nn.LSTMCell(6, 6)]
    for i, cell in enumerate(cells):
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        cell.load_state_dict({name: head.lstm.state_dict()[f"{name}_l{i}"] for name in names})
    states = [(torch.zeros(3, 6), torch.zeros(3, 6)) for _ in cells]
    for x_NF in features_NFTHW.mean(dim=(3, 4)).unbind(2):
        for i, cell in enumerate(cells):
            states[i] = cell(x_NF, states[i])
            x_NF = states[i][0]
    assert torch.allclose(head(features_NFTHW), x_NF, atol=1e-6)


def test_conv_gru_follows_its_equations() -> None:
    head = conv_gru(8, 4, head_width=6).double()
    features_NFTHW = torch.randn(2, 8, 4, 5, 3, dtype=torch.float64)
    w_z, w_r, w = head.input.weight.chunk(3)
    u_z, u_r = head.gates.weight.chunk(2)
    u = head.candidate.weight

    def conv(x: Tensor, kernel: Tensor) -> Tensor:
        return nn.functional.conv2d(x, kernel, padding=1)

    h = torch.zeros(2, 6, 5, 3, dtype=torch.float64)
    for x in features_NFTHW.unbind(2):
        z = torch.sigmoid(conv(x, w_z) + conv(h, u_z))  # equations 5 to 8 of arXiv:1511.06432
        r = torch.sigmoid(conv(x, w_r) + conv(h, u_r))
        new = torch.tanh(conv(x, w) + conv(r * h, u))
        h = (1 - z) * h + z * new
    assert torch.allclose(head(features_NFTHW), h.mean(dim=(2, 3)), atol=1e-12)
    assert len(list(head.parameters())) == 3, "no biases"


def test_non_local_block_follows_its_equations() -> None:
    block = NonLocal(8, 6, scale="positions").double().eval()
    x_NFTHW = torch.randn(2, 8, 3, 2, 4, dtype=torch.float64)
    assert torch.equal(block(x_NFTHW), x_NFTHW), "a fresh block changes nothing"

    nn.init.normal_(block.norm.weight)
    assert block.norm.running_mean is not None
    nn.init.normal_(block.norm.running_mean)
    query, key, value = (layer(x_NFTHW).flatten(2) for layer in (block.query, block.key, block.value))
    scores_NPP = torch.einsum("ndi,ndj->nij", query, key) / 24**0.5  # 3 x 2 x 4 positions, not 6 features
    mixed_NDP = torch.einsum("nij,ndj->ndi", scores_NPP.softmax(dim=-1), value)
    expected = x_NFTHW + block.norm(block.output(mixed_NDP.reshape(2, 6, 3, 2, 4)))
    assert torch.allclose(block(x_NFTHW), expected, atol=1e-12)


@pytest.mark.parametrize("name", ["nonlocal_tgap", "nonlocal_concat", "nonlocal_concat_fc"])
def test_a_fresh_non_local_head_is_the_head_without_the_block(name: str) -> None:
    head = HEADS[name](8, 3).eval()
    plain = HEADS[name.removeprefix("nonlocal_")](8, 3, **({"head_width": 1000} if name.endswith("fc") else {})).eval()
    plain.load_state_dict({key: value for key, value in head.state_dict().items() if not key.startswith("block.")})
    features_NFTHW = torch.randn(2, 8, 3, 2, 2)
    assert torch.equal(head(features_NFTHW), plain(features_NFTHW))


def test_which_heads_see_the_order_of_time() -> None:
    """Reversal is seen by all but the averages; a non-local block alone does not see it, whatever it has learnt."""
    features_NFTHW = torch.randn(2, 24, 4, 2, 2)
    seen = set()
    for name in ONE_PATH:
        head = awake(HEADS[name](24, 4)).eval()
        pooled, reverse = head(features_NFTHW), head(features_NFTHW.flip(2))
        if head.per_step:
            pooled, reverse = pooled.mean(dim=1), reverse.mean(dim=1)
        if (pooled - reverse).abs().max() > 1e-4:
            seen.add(name)
    assert set(ONE_PATH) - seen == {"tgap", "none", "nonlocal_tgap"}


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (concat_fc, {"head_width": 0}, "head_width must be positive, got 0"),
        (concat_fc, {"fc_dropout": 1.0}, r"fc_dropout must be at least 0 and below 1, got 1\.0"),
        (lstm, {"num_layers": 0}, "num_layers must be positive, got 0"),
        (lstm, {"head_width": -1}, "head_width must be positive, got -1"),
        (conv_gru, {"head_width": 0}, "head_width must be positive, got 0"),
        (nonlocal_tgap, {"inner_width": 0}, "inner_width must be positive, got 0"),
    ],
)
def test_a_wrong_size_is_named(build: object, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(8, 4, **options)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("head", "options", "num_parameters", "printed"),
    [
        ("none", {}, 11_202_675, "11.2"),
        ("tgap", {}, 11_202_675, "11.2"),
        ("nonlocal_tgap", {}, 12_254_323, "12.25"),
        ("concat", {}, 11_594_355, "11.59"),
        ("nonlocal_concat", {}, 12_646_003, "12.64"),  # the thesis cuts, where others round
        ("lstm", {"head_width": 512}, 15_405_171, "15.4"),
        ("bert", {}, 14_364_275, "14.36"),
    ],
)
def test_heads_are_as_large_as_in_the_thesis(
    head: str, options: dict[str, Any], num_parameters: int, printed: str
) -> None:
    """METU thesis 2020, table 3.3: ResNet18, 16 frames, 51 classes, in millions."""
    with unallocated():
        net = build_recognizer(backbone="resnet18", head=head, num_classes=51, clip_length=16, size=224, **options)
    count = sum(parameter.numel() for parameter in net.parameters())
    assert count == num_parameters
    places = len(printed.partition(".")[2])
    assert int(count / 1e6 * 10**places) / 10**places == float(printed)


@pytest.mark.parametrize(
    ("head", "num_parameters"),
    [("concat", 104_499), ("concat_fc", 3_255_051), ("lstm", 3_381_801), ("nonlocal_concat_fc", 3_151_699)],
)
def test_heads_are_as_large_as_in_the_paper(head: str, num_parameters: int) -> None:
    """arXiv:2008.01232, table 1, head and classifier on 512 features, 4 steps, 51 classes.

    The whole networks (44.30, 47.45, 47.58 and 47.35 M) have the same 44,196,288 parameters of a backbone.
    """
    with unallocated():
        pool = HEADS[head](512, 4)
        count = sum(
            parameter.numel() for parameter in [*pool.parameters(), *nn.Linear(pool.num_features, 51).parameters()]
        )
    assert count == num_parameters
