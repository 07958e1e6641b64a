"""The part of a recipe that changes what training crops look like."""

from dataclasses import dataclass
from typing import Literal

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.modalities import Modality, streams_of
from kinebert.training.recipe.optim import at_least

MOST_MAGNITUDE = 30
"""Of RandAugment: where its published ranges end."""


@dataclass(frozen=True, kw_only=True)
class AugmentRecipe:
    """What is done to training crops of the network's size: all images of a clip have the same draw."""

    brightness: float = 0.0
    """Colour jitter: multiply by 1 minus to 1 plus this much, at least 0; 0 is off."""
    contrast: float = 0.0
    """So with the distance from an image's mean grey."""
    saturation: float = 0.0
    """So with the distance from the grey picture."""
    hue: float = 0.0
    """Turn hues by up to this part of the colour circle either way, 0 to 0.5."""
    randaugment: int = 0
    """Operations of RandAugment in a row, drawn from its fourteen; 0 is off (2 as published)."""
    magnitude: int = 9
    """How strong they are, 0 to 30."""
    erase: float = 0.0
    """Share of the clips that random erasing takes a rectangle out of."""
    erase_area: tuple[float, float] = (0.02, 0.4)
    """Least and largest part of the picture that it takes."""
    erase_aspect: tuple[float, float] = (0.3, 1 / 0.3)
    """Least and largest height of the rectangle, as a part of its width."""
    erase_with: Literal["random", "mean"] = "random"
    """What it puts there: random values, or the modality's mean (of flow no motion, of colours ImageNet's)."""

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation", "hue", "randaugment", "magnitude", "erase"):
            at_least(0, f"data.augment.{name}", getattr(self, name))
        for name, most in (("hue", 0.5), ("magnitude", MOST_MAGNITUDE), ("erase", 1)):
            if getattr(self, name) > most:
                raise ConfigError(f"data.augment.{name} must be at most {most}, got {getattr(self, name)}.")
        check_range("data.augment.erase_area", self.erase_area, 1)
        check_range("data.augment.erase_aspect", self.erase_aspect)

    @property
    def colours(self) -> bool:
        """Whether something is done that makes sense of photographs alone."""
        return max(self.brightness, self.contrast, self.saturation, self.hue, self.randaugment) > 0

    @property
    def on(self) -> bool:
        """Whether anything is done."""
        return self.colours or self.erase > 0

    def check_modality(self, modality: Modality) -> None:
        """Raise a ConfigError if pictures of a modality are to be changed in a way that they have no sense for."""
        if self.colours and not modality.is_photograph:
            raise ConfigError(
                "data.augment: brightness, contrast, saturation, hue and randaugment change colours of photographs. "
                f"Those of {modality.name} are measurements or drawings, which would then say something else. Leave "
                "them out; data.augment.erase works on all."
            )

    def check_streams(self, name: str) -> None:
        """Raise a ConfigError if clips of one or several modalities (``rgb+flow``) cannot be changed so.

        Of several, colours of the photographs are changed alone, and what RandAugment turns or moves would no longer
        lie on the others.
        """
        streams = streams_of(name)
        photographs = [modality for modality in streams if modality.is_photograph]
        if len(streams) > 1 and self.randaugment:
            raise ConfigError(
                f"data.augment.randaugment turns and moves photographs, which then lie elsewhere than the others "
                f"of {name}. Leave it out; brightness, contrast, saturation, hue and erase work on several streams."
            )
        for modality in photographs or streams:
            self.check_modality(modality)


def check_range(name: str, values: tuple[float, float], most: float = float("inf")) -> None:
    """Raise a ConfigError unless two values lie above 0, at most at ``most``, and do not fall."""
    if not 0 < values[0] <= values[1] <= most:
        told = f"above 0, at most {most:g}, " if most < float("inf") else "above 0 "
        raise ConfigError(f"{name} must be a least and a largest value {told}in this order, got {list(values)}.")
