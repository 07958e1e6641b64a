"""What a recipe that comes with the project is for, in a few words, without building or checking anything of it."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kinebert.preprocessing.recipe_names import named_file
from kinebert.training.recipe.train import DataRecipe, ModelRecipe

_COST = re.compile(r"^# Cost: (.+)\.$", re.MULTILINE)
_SENTENCE = re.compile(r"(?<=[^.])[.:](?: |$)")
"""Where the first sentence of a comment ends, or what stands before a colon."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A recipe, as a list of them tells of it."""

    name: str
    """What programs take it by."""
    purpose: str
    """What it is for: the first sentence of its file."""
    network: str = ""
    """Backbone, reduction and head; empty for settings of an extraction."""
    data: str = ""
    """What is read of a video; empty for settings of an extraction."""
    cost: str = ""
    """Parameters, multiply-adds and memory, as its file says; empty for settings of an extraction."""


def summary(name: str) -> Summary:
    """Return what the file of the recipe called ``name`` says of it.

    Raises:
        ConfigError: If there is no such recipe.
    """
    text = named_file(name).read_text(encoding="utf-8")
    values = tomllib.loads(text)
    purpose = _purpose(text)
    if "data" not in values:
        return Summary(name=name, purpose=purpose)
    cost = _COST.search(text)
    return Summary(
        name=name,
        purpose=purpose,
        network=_network(values.get("model", {})),
        data=_data(values),
        cost=cost[1] if cost else "",
    )


def _purpose(text: str) -> str:
    """Return the first sentence of the comment that a file begins with."""
    comment = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.removeprefix("#").strip())
    return _SENTENCE.split(" ".join(comment), maxsplit=1)[0]


def _network(model: Mapping[str, Any]) -> str:
    backbone, reduction, head = (model.get(key, getattr(ModelRecipe, key)) for key in ("backbone", "reduction", "head"))
    width = model.get("width", ModelRecipe.width)
    narrow = f" of width {width:g}" if width != ModelRecipe.width else ""
    temporal = model.get("backbone_options", {}).get("temporal", "none")
    seen = f" with {temporal}" if temporal != "none" else ""
    return " + ".join([f"{backbone}{narrow}{seen}", *[reduction] * (reduction != "none"), head])


def _data(values: Mapping[str, Any]) -> str:
    data, stages = values["data"], values.get("stages", [])
    keys = ("sampling", "clip_length", "crop_size", "flow_stack")
    of = {key: data.get(key, getattr(DataRecipe, key)) for key in keys}
    lengths = [str(stage["clip_length"]) for stage in stages] or [str(of["clip_length"])]
    where = " from all over a video" if of["sampling"] == "sections" else " in a row"
    interval = data.get("frame_interval", DataRecipe.frame_interval)
    where = f", every {interval}" if interval > 1 and of["sampling"] == "dense" else where
    images = "images" if of["flow_stack"] == 1 else f"stacks of {of['flow_stack']}"
    return f"{data['modality']}, {', '.join(lengths)} {images}{where}, {of['crop_size']} px"
