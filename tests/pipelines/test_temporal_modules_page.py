"""docs/temporal_modules.md: its code runs, and it lists what there is."""

import re
from typing import Any

from kinebert.training.models import Recognizer
from kinebert.training.models.registry import backbone_options
from kinebert.training.models.sizes.unallocated import unallocated
from kinebert.training.models.temporal.registry import TEMPORAL
from tests.helpers.paths import ROOT

PAGE = (ROOT / "docs" / "temporal_modules.md").read_text()


def test_its_code_builds_a_network() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    with unallocated():
        exec(code, names)
    net = names["net"]
    assert isinstance(net, Recognizer)
    assert net.backbone.num_steps(8) == 1


def test_it_lists_every_module_and_every_option() -> None:
    options_part = PAGE.partition("## Who sees order")[0]
    rows = [
        set(re.findall(r"`(\w+)`", line.split("|")[1])) for line in options_part.splitlines() if line.startswith("| `")
    ]
    listed = set().union(*rows)
    options = set(backbone_options("resnet18", {})) - {"fusion", "temporal", "temporal_pooling"}
    assert listed - {"temporal"} == {*TEMPORAL, *options}


def test_its_recipes_differ_by_the_temporal_module_alone() -> None:
    names = re.findall(r"`demo/(\w+)`", PAGE)
    texts = [(ROOT / "pipelines" / "recipes" / "demo" / f"{name}.toml").read_text() for name in names]
    bare = [[line for line in text.splitlines() if not line.startswith(("#", "backbone_options"))] for text in texts]
    assert len(bare) == 4
    assert all(lines == bare[0] for lines in bare)
