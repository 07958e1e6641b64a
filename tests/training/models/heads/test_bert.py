"""BERT pooling: masking, initialisation, and the parts that differ from torch's."""

import pytest
import torch

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.heads.bert import BertPool, Block, LayerNorm, bert


@pytest.fixture
def head() -> BertPool:
    """Return a head whose weights are large enough for attention to be picky."""
    torch.manual_seed(3)
    head = bert(32, 6, num_layers=2)
    for parameter in head.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return head.eval()


@pytest.fixture(name="tokens_NTF")
def _tokens() -> torch.Tensor:
    return torch.randn(3, 6, 32, generator=torch.Generator().manual_seed(4))


def test_layer_norm_is_the_published_one() -> None:
    norm = LayerNorm(4)
    torch.nn.init.constant_(norm.scale, 2.0)
    torch.nn.init.constant_(norm.shift, 0.5)
    x = torch.tensor([1.0, 2.0, 3.0, 6.0])  # mean 3, unbiased variance 14 / 3
    expected = [2 * (value - 3) / ((14 / 3) ** 0.5 + 1e-6) + 0.5 for value in (1, 2, 3, 6)]
    assert norm(x).tolist() == pytest.approx(expected, rel=1e-6)


def test_layer_norm_of_a_constant_has_a_gradient() -> None:
    x = torch.full((1, 4), 3.0, requires_grad=True)
    LayerNorm(4)(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_a_hidden_step_is_not_looked_at(head: BertPool, tokens_NTF: torch.Tensor) -> None:
    visible_NT = torch.ones(3, 6, dtype=torch.bool)
    visible_NT[1, 2] = False
    changed_NTF = tokens_NTF.clone()
    changed_NTF[:, 2] = changed_NTF[:, 2].flip(1)
    before, after = head.encode(tokens_NTF, visible_NT), head.encode(changed_NTF, visible_NT)

    others = [0, 1, 2, 4, 5, 6]  # every row but that of the step itself, which is row 3; row 0 is the token
    assert torch.equal(before[1, others], after[1, others])
    assert not torch.allclose(before[1, 3], after[1, 3]), "its own residual path stays"
    for clip in (0, 2):  # where it is visible it matters to all
        assert ((before[clip] - after[clip]).abs().amax(dim=1) > 1e-4).all()


def test_hiding_renormalises_the_rest(head: BertPool, tokens_NTF: torch.Tensor) -> None:
    """A hidden step is as good as none: a head without it, with the other positions, gives the same token."""
    visible_NT = torch.tensor([True, True, False, True, True, True]).expand(3, 6)
    shorter = bert(32, 5, num_layers=2).eval()
    state = head.state_dict()
    kept = [0, 1, 2, 4, 5, 6]
    shorter.load_state_dict({**state, "positions": state["positions"][:, kept]})
    expected = shorter.encode(tokens_NTF[:, [0, 1, 3, 4, 5]])
    assert (head.encode(tokens_NTF, visible_NT)[:, kept] - expected).abs().max() < 1e-5  # measured 2e-6


def test_all_visible_equals_no_mask(head: BertPool, tokens_NTF: torch.Tensor) -> None:
    everything = head.encode(tokens_NTF, torch.ones(3, 6, dtype=torch.bool))
    assert (everything - head.encode(tokens_NTF)).abs().max() < 1e-5


def test_with_all_steps_hidden_the_token_sees_itself(head: BertPool, tokens_NTF: torch.Tensor) -> None:
    out = head.encode(tokens_NTF, torch.zeros(3, 6, dtype=torch.bool))
    assert out.isfinite().all()
    assert torch.allclose(out[0, 0], out[1, 0])


def drawn_masks(head: BertPool, count: int) -> torch.Tensor:
    """Return the masks ``(layers x count, S)`` that ``count`` clips get."""
    seen: list[torch.Tensor | None] = []
    for block in head.blocks:
        block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    head.encode(torch.randn(count, 6, 32))
    assert all(mask is not None for mask in seen)
    return torch.stack([mask for mask in seen if mask is not None])


def test_mask_is_drawn_per_clip_and_shared_by_the_layers(head: BertPool) -> None:
    first, second = drawn_masks(head.train(), 4000)
    assert torch.equal(first, second)
    assert first[:, 0].all(), "the token is always visible"
    shares_S = first[:, 1:].double().mean(dim=0)
    assert (shares_S - 0.8).abs().max() < 0.03  # the standard deviation of each share is 0.006
    assert len(first.unique(dim=0)) > 32, "clips get masks of their own"


def test_mask_is_never_drawn_in_eval_nor_with_keep_prob_1(head: BertPool) -> None:
    seen: list[torch.Tensor | None] = []
    head.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    head.eval().encode(torch.randn(50, 6, 32))
    head.keep_prob = 1.0
    head.train().encode(torch.randn(50, 6, 32))
    assert seen == [None, None]


def test_order_of_the_steps_matters(head: BertPool, tokens_NTF: torch.Tensor) -> None:
    pooled_NF, reversed_NF = head.encode(tokens_NTF)[:, 0], head.encode(tokens_NTF.flip(1))[:, 0]
    assert (pooled_NF - reversed_NF).abs().max() > 0.01
    torch.nn.init.zeros_(head.positions)  # positions alone carry the order
    pooled_NF, reversed_NF = head.encode(tokens_NTF)[:, 0], head.encode(tokens_NTF.flip(1))[:, 0]
    assert (pooled_NF - reversed_NF).abs().max() < 1e-5


def test_the_mean_readout_averages_the_steps(tokens_NTF: torch.Tensor) -> None:
    head = bert(32, 6, readout="mean").eval()
    features_NFTHW = tokens_NTF.transpose(1, 2)[..., None, None].expand(-1, -1, -1, 2, 3)
    assert torch.allclose(head(features_NFTHW), head.encode(tokens_NTF)[:, 1:].mean(dim=1), atol=1e-5)
    head.readout = "token"
    assert torch.allclose(head(features_NFTHW), head.encode(tokens_NTF)[:, 0], atol=1e-5)
    with pytest.raises(ConfigError, match="readout must be token or mean, got 'cls'"):
        bert(32, 6, readout="cls")  # type: ignore[arg-type]


def test_attention_weights_are_those_that_the_forward_pass_uses(head: BertPool, tokens_NTF: torch.Tensor) -> None:
    inputs: list[tuple[torch.Tensor, torch.Tensor]] = []  # of every attention layer: what goes in, what comes out
    blocks = [block for block in head.blocks if isinstance(block, Block)]
    for block in blocks:
        block.attention.register_forward_hook(lambda _, args, out: inputs.append((args[0], out)))
    head.encode(tokens_NTF)
    seen = list(inputs)
    layers = head.attention_weights(tokens_NTF.transpose(1, 2)[..., None, None])
    assert [tuple(weights_NASS.shape) for weights_NASS in layers] == [(3, 8, 7, 7)] * 2
    for weights_NASS, block, (x_NSF, out_NSF) in zip(layers, blocks, seen, strict=True):
        assert torch.allclose(weights_NASS.sum(dim=-1), torch.ones(3, 8, 7), atol=1e-5)
        value_NASD = block.attention.value(x_NSF).reshape(3, 7, 8, 4).transpose(1, 2)
        mixed_NSF = (weights_NASS @ value_NASD).transpose(1, 2).reshape(3, 7, 32)
        assert torch.allclose(block.attention.output(mixed_NSF), out_NSF, atol=1e-4)
    assert layers[0].max() > 0.5, "a head that is picky, so that this says something"


def test_normalised_tokens_have_no_length(tokens_NTF: torch.Tensor) -> None:
    head = bert(32, 6, normalize_tokens=True).eval()
    assert torch.allclose(head.encode(tokens_NTF), head.encode(9 * tokens_NTF), atol=1e-5)
    raw = bert(32, 6).eval()
    assert not torch.allclose(raw.encode(tokens_NTF), raw.encode(9 * tokens_NTF), atol=1e-2)


def test_initialisations_are_the_published_ones() -> None:
    torch.manual_seed(0)
    five, two = bert(256, 15), bert(256, 15, init="bert2")
    for parameter in (five.token, five.positions):
        assert parameter.std().item() == pytest.approx(0.02, rel=0.15)
    for parameter in (two.token, two.positions):
        assert parameter.std().item() == pytest.approx(256**-0.5, rel=0.15)
    for name, parameter in two.named_parameters():
        if name.endswith("weight"):
            assert parameter.std().item() == pytest.approx(0.02, rel=0.02), name
        elif name.endswith("bias"):
            assert not parameter.any(), name
    key = five.get_parameter("blocks.0.attention.key.weight")
    assert 0.99 * 256**-0.5 < key.abs().max() <= 256**-0.5  # torch's own: uniform within 1 / sqrt(F)
    assert five.get_parameter("blocks.0.attention.key.bias").any()


def test_another_number_of_steps_is_an_error(head: BertPool) -> None:
    with pytest.raises(ConfigError, match=r"got 5 time steps, this bert head was built for 6\."):
        head.encode(torch.zeros(1, 5, 32))
