"""Which network a published file is of, found from its names and shapes alone."""

import pytest

from kinebert.preprocessing.errors import UserError
from kinebert.training.models import build_recognizer
from kinebert.training.models.weights.known import identify
from tests.helpers import golden

WHOLE = [name for name in golden.names() if "_part_" not in name]
NAMES = [pytest.param(name, marks=pytest.mark.slow if i % 3 else ()) for i, name in enumerate(WHOLE)]
"""One in three is in the fast run: each is compared with every network that is known."""


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_file_is_of_a_known_network(name: str) -> None:
    state = {f"module.{key}": tensor for key, tensor in golden.unallocated(name).items()}
    model, report, fits = identify({"state_dict": state})
    assert fits
    assert not report.reinitialized + report.adapted
    assert model.config["num_classes"] == golden.facts(name)["classes"]
    config = model.config
    described = f"{config['modality']} {config['backbone']} {config['reduction']} {config['head']}"
    assert ("flow" in name) == ("flow" in described)
    assert ("FRMB" in name or "concatenation" in name) == ("frmb" in described), "which their names leave out"
    for word, part in {"FRAB": "frab", "bert": "bert", "_late": "late", "lstm": "lstm"}.items():
        assert (word in name) == (part in described)


def test_what_nothing_is_of_is_an_error() -> None:
    with pytest.raises(UserError, match=r"these weights: holds no weights"):
        identify({"a": 1})


def test_weights_beside_the_usual_ones_are_told_of() -> None:
    """Such as an average of the weights: also where nobody says which network the file is of."""
    net = build_recognizer(backbone="resnet18", head="tgap", num_classes=3, clip_length=4, size=32, width=0.125)
    state = net.state_dict()
    content = {"config": net.config, "state_dict": state, "state_dict_ema": state}
    assert "the file also holds weights under 'state_dict_ema', which are left aside" in identify(content)[1].notes
