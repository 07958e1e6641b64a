"""BERT pooling against the published implementation."""

import pytest
import torch

from kinebert.training.models.heads.bert import BertPool, bert
from kinebert.training.models.weights.keys.bert import artest08
from tests.helpers import golden


def published_bert(name: str) -> tuple[BertPool, torch.Tensor]:
    """Return a head that holds the weights of ``name``, in eval mode, and its input."""
    tokens_NTF = golden.given(name)
    head = bert(tokens_NTF.shape[2], tokens_NTF.shape[1]).eval()
    ours = {artest08.LAYOUTS[0].rename(f"bert.{key}"): value for key, value in golden.state(name).items()}
    assert len(ours) == 18
    head.load_state_dict({str(key).removeprefix("head."): tensor for key, tensor in ours.items()})
    return head, tokens_NTF


@pytest.mark.parametrize("name", ["artest08_part_BERT5_512x4", "artest08_part_BERT2_1024x8"])
def test_bert_is_the_published_one(name: str) -> None:
    head, tokens_NTF = published_bert(name)
    error = golden.relative_error(head.encode(tokens_NTF), golden.answer(name))
    assert error < 1e-5  # measured 1.6e-6 and 2.3e-6; theirs is 2.5e-6 away from float64

    exact = golden.exact_answer(name)
    assert golden.relative_error(head.double().encode(tokens_NTF.double()), exact) < 1e-12  # measured 8e-15


def test_bert_reads_out_the_token_of_pooled_features() -> None:
    head, tokens_NTF = published_bert("artest08_part_BERT5_512x4")
    offsets_HW = torch.tensor([[1.0, -1.0], [3.0, -3.0]])  # mean 0: pooling over H and W gives the tokens back
    features_NFTHW = tokens_NTF.transpose(1, 2)[..., None, None] + offsets_HW
    pooled = golden.answer("artest08_part_BERT5_512x4")[:, 0]
    assert golden.relative_error(head(features_NFTHW), pooled) < 1e-5
