"""Which network a published file is of, found from its names and shapes alone."""

import json
from typing import Any

import pytest

from kinebert.preprocessing.errors import UserError
from kinebert.training.models.weights.known import identify


def test_every_golden_file_is_of_a_known_network(golden: Any) -> None:
    index = json.loads((golden.HERE / "index.json").read_text())
    for name, facts in index.items():
        if "_part_" in name:
            continue
        state = {f"module.{key}": tensor.to("meta") for key, tensor in golden.reference_state(name).items()}
        model, report, fits = identify({"state_dict": state})
        assert fits, name
        assert not report.reinitialized + report.adapted, name
        assert model.config["num_classes"] == facts["classes"], name
        config = model.config
        described = f"{config['modality']} {config['backbone']} {config['reduction']} {config['head']}"
        assert ("flow" in name) == ("flow" in described)
        assert ("FRMB" in name or "concatenation" in name) == ("frmb" in described), name  # which their names leave out
        for word, part in {"FRAB": "frab", "bert": "bert", "_late": "late", "lstm": "lstm"}.items():
            assert (word in name) == (part in described), name


def test_what_nothing_is_of_is_an_error() -> None:
    with pytest.raises(UserError, match=r"these weights: holds no weights"):
        identify({"a": 1})
