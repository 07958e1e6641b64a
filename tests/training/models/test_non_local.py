"""The non-local block in all its published forms, against its equations."""

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.non_local import POOLS, SCALES, WEIGHINGS, NonLocal


def plain(block: NonLocal, x_NFTHW: Tensor, weighing: str, scale: str, pool: str) -> Tensor:
    """The block with every score written down."""

    def thinned(x: Tensor) -> Tensor:
        return functional.max_pool3d(x, (1, 2, 2))

    seen = thinned(x_NFTHW) if pool == "before" else x_NFTHW
    query, key, value = block.query(x_NFTHW), block.key(seen), block.value(seen)
    if pool == "after":
        key, value = thinned(key), thinned(value)
    scores_NPQ = torch.einsum("ndp,ndq->npq", query.flatten(2), key.flatten(2))
    if weighing == "dot_product":
        weights_NPQ = scores_NPQ / scores_NPQ.shape[2]
    else:
        divisor = {"features": query.shape[1] ** 0.5, "positions": scores_NPQ.shape[1] ** 0.5, "none": 1.0}[scale]
        weights_NPQ = (scores_NPQ / divisor).softmax(dim=2)
    mixed = torch.einsum("npq,ndq->ndp", weights_NPQ, value.flatten(2)).unflatten(2, x_NFTHW.shape[2:])
    return x_NFTHW + block.norm(block.output(mixed))


@pytest.mark.parametrize(("weighing", "scale", "pool"), list(itertools.product(WEIGHINGS, SCALES, POOLS)))
def test_every_form_follows_its_equations(weighing: str, scale: str, pool: str) -> None:
    torch.manual_seed(0)
    block = NonLocal(8, 6, weighing=weighing, scale=scale, pool=pool).double().eval()
    x_NFTHW = torch.randn(2, 8, 3, 5, 4, dtype=torch.float64)
    assert torch.equal(block(x_NFTHW), x_NFTHW), "a fresh block changes nothing"
    nn.init.normal_(block.norm.weight)
    assert torch.allclose(block(x_NFTHW), plain(block, x_NFTHW, weighing, scale, pool), atol=1e-12)


def test_what_has_parameters() -> None:
    def names(**options: str | bool) -> set[str]:
        return {name for name, _ in NonLocal(8, 4, **options).named_parameters()}  # type: ignore[arg-type]

    assert names() - names(output_bias=False) == {"output.bias"}
    assert names() - names(weighing="gaussian") == {
        f"{part}.{of}" for part in ("query", "key") for of in ("weight", "bias")
    }
    assert names(pool="after", scale="none", weighing="dot_product") == names()


def test_unknown_forms_are_refused() -> None:
    with pytest.raises(ConfigError, match="no weighing of a non-local block 'soft_max'. Did you mean softmax"):
        NonLocal(8, 4, weighing="soft_max")
    with pytest.raises(ConfigError, match="no pool of a non-local block 'behind'"):
        NonLocal(8, 4, pool="behind")
