"""Options of the programs that score videos: which views, and how they are averaged."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.clips.sampling import Clips
from kinebert.training.recipe.protocol import ProtocolRecipe

_WORDS = ("single", "multi", "eccv2020")


@dataclass(frozen=True, kw_only=True)
class ViewOptions:
    """What to take instead of the ``[test]`` of the training's recipe."""

    views: str | None = None
    """Clips of each video. single: the centre one; multi: all that fit without overlap; eccv2020: those of the BERT
    paper's program; or a number of clips. By default what the training's recipe says in test.clips."""
    crops: Literal[1, 3, 10] | None = None
    """Crops of each clip: the centre; and both ends of the longer side; or the centre and corners with their mirror
    images. By default the recipe's test.crops."""
    average: Literal["logits", "softmax"] | None = None
    """What a video's score is the mean of; by default the recipe's test.average."""
    step: int | None = None
    """Images from the start of one clip to the next: a sliding window, instead of the recipe's clips. 0: no overlap."""
    scale: float | None = None
    """Side of the crops as a part of the picture's shorter side; by default the recipe's test.scale, 0: that of the
    validation."""
    crop_size: int | None = None
    """Height and width of the network's input in pixels; by default the recipe's test.crop_size, 0: as in training."""

    def over(self, protocol: ProtocolRecipe) -> ProtocolRecipe:
        """Return ``protocol`` with what was given here.

        Raises:
            ConfigError: If the values do not fit each other.
        """
        names = ("crops", "average", "step", "scale", "crop_size")
        given: dict[str, Any] = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.views is not None:
            given = {"step": 0, **given, "clips": _clips(self.views)}
        elif self.step:
            given["clips"] = "multi"
        return replace(protocol, **given)


def _clips(text: str) -> Clips:
    if text.isdecimal():
        return int(text)
    for word in _WORDS:
        if text == word:
            return word
    raise ConfigError(f"views must be {', '.join(_WORDS)} or a number of clips, got {text!r}.")
