"""How a trained recognizer is tested: which clips and crops of a video are scored, and how the scores are averaged."""

from dataclasses import dataclass
from typing import Literal

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.clips.sampling import Clips, Sampling


@dataclass(frozen=True, kw_only=True)
class ProtocolRecipe:
    """How the trained recognizer is tested. It decides no weight: a run may be tested otherwise as well."""

    clips: Clips = "single"
    """single: the centre clip; first: that from the first image on; multi: all that fit without overlap; eccv2020:
    those of the BERT paper's program, one fewer where a video is filled almost exactly; or so many (of sections: by
    offsets; dense: from the first image to the last)."""
    crops: Literal[1, 3, 10] = 1
    """Crops of each clip: 1: the centre; 3: the centre and both ends of the longer side; 10: the centre, four corners
    and their mirror images, as in the BERT paper."""
    average: Literal["logits", "softmax"] = "logits"
    """What a video's score is the mean of: what the network says of each view, or its softmax."""
    step: int = 0
    """Images from the start of one dense clip of multi to the next; 0: no overlap."""
    scale: float = 0.0
    """Side of the crops as a part of the picture's shorter side; 0: data.eval_scale."""
    crop_size: int = 0
    """Height and width of the network's input in pixels; 0: data.crop_size."""

    def __post_init__(self) -> None:
        for name, least in (("clips", 1), ("step", 0), ("crop_size", 0)):
            value = getattr(self, name)
            if isinstance(value, int) and value < least:
                raise ConfigError(f"test.{name} must be at least {least}, got {value}.")
        if not 0 <= self.scale <= 1:
            raise ConfigError(f"test.scale must be above 0 and at most 1, or 0 for data.eval_scale, got {self.scale}.")
        if self.step and self.clips != "multi":
            raise ConfigError(f"test.step is for test.clips = multi, which is {self.clips!r}. Leave one of them out.")

    @property
    def name(self) -> str:
        """A word for folders and tables that says how it was tested: ``multi-x10``."""
        parts = [str(self.clips), *([f"x{self.crops}"] if self.crops > 1 else [])]
        parts += [self.average] if self.average != "logits" else []
        parts += [f"step{self.step}"] if self.step else []
        parts += [f"scale{self.scale:g}"] if self.scale else []
        parts += [f"{self.crop_size}px"] if self.crop_size else []
        return "-".join(parts)

    def describe(self) -> str:
        """Say in words which views a video is scored on, and how."""
        words = {
            "single": "the centre clip",
            "first": "the first clip",
            "multi": f"a clip every {self.step} images" if self.step else "all clips without overlap",
            "eccv2020": "the clips of the BERT paper's program",
        }
        clips = f"{self.clips} clips" if isinstance(self.clips, int) else words[self.clips]
        crops = "the centre crop" if self.crops == 1 else f"{self.crops} crops"
        return f"{clips} x {crops}, mean of the {'logits' if self.average == 'logits' else 'softmax'}"

    def check_sampling(self, sampling: Sampling) -> None:
        """Raise a ConfigError if there are no such clips under the sampling that a recognizer was trained with."""
        if sampling == "sections" and (self.step or self.clips in ("first", "eccv2020")):
            raise ConfigError(
                "test.step and test.clips = eccv2020 and first are for dense clips, data.sampling is sections. Take "
                "test.clips = multi, or a number."
            )
