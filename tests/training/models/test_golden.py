"""Networks against the published implementations, with weights made from the published key names.

The golden files and the script that reads them (golden.py) are not part of this repository.
"""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from preprocessing.errors import UserError
from training.models import build_recognizer
from training.models.bert import BertPool, bert
from training.models.keys import artest08, ig65m

GOLDEN = Path(__file__).parents[4] / "shared" / "golden"


@pytest.fixture(scope="module")
def golden() -> ModuleType:
    if not (GOLDEN / "golden.py").is_file():
        pytest.skip(f"{GOLDEN} is not here: the published networks' answers cannot be compared")
    spec = importlib.util.spec_from_file_location("golden", GOLDEN / "golden.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def published_bert(golden: ModuleType, name: str) -> tuple[BertPool, torch.Tensor]:
    """Return a head that holds the weights of ``name``, in eval mode, and its input."""
    tokens_NTF = golden.reference_input(name)
    head = bert(tokens_NTF.shape[2], tokens_NTF.shape[1]).eval()
    state = {f"bert.{key}": tensor for key, tensor in golden.reference_state(name).items()}
    ours = artest08.R2PLUS1D.rename(state)
    assert len(ours) == len(state) == 18
    head.load_state_dict({key.removeprefix("head."): tensor for key, tensor in ours.items()})
    return head, tokens_NTF


@pytest.mark.parametrize("name", ["artest08_part_BERT5_512x4", "artest08_part_BERT2_1024x8"])
def test_bert_is_the_published_one(golden: ModuleType, name: str) -> None:
    head, tokens_NTF = published_bert(golden, name)
    error = golden.relative_error(head.encode(tokens_NTF), golden.logits(name))
    assert error < 1e-5  # measured 1.6e-6 and 2.3e-6; theirs is 2.5e-6 away from float64

    exact = golden._load(name)["logits64"]
    assert golden.relative_error(head.double().encode(tokens_NTF.double()), exact) < 1e-12  # measured 8e-15


def test_bert_reads_out_the_token_of_pooled_features(golden: ModuleType) -> None:
    head, tokens_NTF = published_bert(golden, "artest08_part_BERT5_512x4")
    offsets_HW = torch.tensor([[1.0, -1.0], [3.0, -3.0]])  # mean 0: pooling over H and W gives the tokens back
    features_NFTHW = tokens_NTF.transpose(1, 2)[..., None, None] + offsets_HW
    pooled = golden.logits("artest08_part_BERT5_512x4")[:, 0]
    assert golden.relative_error(head(features_NFTHW), pooled) < 1e-5


def test_r2plus1d_34_is_the_published_one(golden: ModuleType) -> None:
    name = "ig65m_r2plus1d_34"
    net = build_recognizer(backbone="r2plus1d_34", head="tgap", num_classes=51, clip_length=8).eval()
    state = golden.reference_state(name)
    ig65m.R2PLUS1D.load(net, state)
    assert len(net.state_dict()) == len(state) == 416
    assert sum(p.numel() for p in net.parameters()) == 63_518_138
    with torch.inference_mode():
        error = golden.relative_error(net(golden.reference_input(name)), golden.logits(name))
    assert error < 1e-4  # measured 8e-7


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "head", "num_parameters"),
    [
        ("artest08_rgb_r2plus1d_32f_34", "tgap", 63_518_138),
        ("artest08_rgb_r2plus1d_32f_34_bert10", "bert", 66_673_594),
    ],
)
def test_r2plus1d_34_with_a_head_is_the_published_one(
    golden: ModuleType, name: str, head: str, num_parameters: int
) -> None:
    net = build_recognizer(backbone="r2plus1d_34", head=head, num_classes=51, clip_length=32).eval()
    artest08.R2PLUS1D.load(net, golden.reference_state(name))
    assert sum(p.numel() for p in net.parameters()) == num_parameters
    with torch.inference_mode():
        error = golden.relative_error(net(golden.reference_input(name)), golden.logits(name))
    assert error < 1e-4  # measured 7e-7 (tgap) and 1.7e-6 (bert)


def small_published_state() -> dict[str, torch.Tensor]:
    """Return the weights of a small network under the names of the IG-65M weights."""
    net = build_recognizer(backbone="r2plus1d_18", head="tgap", num_classes=3, width=0.125)
    state = {key.removeprefix("backbone."): tensor for key, tensor in net.state_dict().items()}
    return {key.replace("classifier.", "fc."): tensor for key, tensor in state.items()}


def test_every_key_must_have_a_place() -> None:
    net = build_recognizer(backbone="r2plus1d_18", head="tgap", num_classes=3, width=0.125)
    state = small_published_state()
    ig65m.R2PLUS1D.load(net, state)
    assert torch.equal(net.classifier.weight, state["fc.weight"])

    with pytest.raises(UserError, match=r"the key 'head\.weight' is not known"):
        ig65m.R2PLUS1D.load(net, {**state, "head.weight": torch.zeros(1)})
    with pytest.raises(UserError, match=r"0 keys are missing, 1 have no place in it \(such as backbone\.stem\.9"):
        ig65m.R2PLUS1D.load(net, {**state, "stem.9.weight": torch.zeros(1)})
    with pytest.raises(UserError, match=r"1 keys are missing \(such as classifier\.bias\), 0 have no place"):
        ig65m.R2PLUS1D.load(net, {key: tensor for key, tensor in state.items() if key != "fc.bias"})
    with pytest.raises(UserError, match=r"classifier\.bias has the shape \(4,\), the network's is \(3,\)"):
        ig65m.R2PLUS1D.load(net, {**state, "fc.bias": torch.zeros(4)})
