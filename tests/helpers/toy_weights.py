"""Published weights made up for tests: a small network of ours under the names of a toy layout."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from kinebert.training.models import Recognizer, build_recognizer
from kinebert.training.models.weights import load
from kinebert.training.models.weights.keys import Layout

FACTS: dict[str, Any] = {"source": "somebody/somewhere", "paper": "", "licence": "MIT", "url": "https://example.org"}
LAYOUT = Layout(
    name="toy",
    rules=((r"(stem|layer[1-4])\.(.+)", r"backbone.\1.\2"), (r"fc\.(weight|bias)", r"classifier.\1")),
    ignored=(r"unused\..+",),
    **FACTS,
)


def use(monkeypatch: pytest.MonkeyPatch, *known: Layout) -> None:
    """Let these be all layouts that are known."""
    monkeypatch.setattr(load, "layouts", lambda: known)


def net(**changes: Any) -> Recognizer:
    config = {"backbone": "r2plus1d_18", "head": "tgap", "num_classes": 3, "size": 32, "clip_length": 8, "width": 0.125}
    return build_recognizer(**{**config, **changes})


def published_state(source: Recognizer) -> dict[str, Tensor]:
    """Return its weights under the names of the toy layout."""
    names = {key: key.removeprefix("backbone.").replace("classifier.", "fc.") for key in source.state_dict()}
    return {names[key]: tensor.clone() for key, tensor in source.state_dict().items() if "head." not in key}


def same(model: Recognizer, state: Mapping[str, Tensor], *keys: str) -> bool:
    own = model.state_dict()
    return all(torch.equal(own[f"backbone.{key}"], state[key]) for key in keys or state if not key.startswith("fc."))
