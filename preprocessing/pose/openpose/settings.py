"""What of OpenPose can be set, with the values that its own programs take."""

from dataclasses import dataclass
from typing import Literal, get_args

from kinebert.preprocessing.errors import ConfigError

Decoder = Literal["cmu", "port"]
Upsampling = Literal["opencv", "cuda"]
Precision = Literal["float32", "float16"]
MULTIPLE = 16
"""Heights and widths of a network's input are multiples of this."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """When a peak is a joint, a pair of joints a limb, and what hangs together a person."""

    peak: float
    """A joint's heat map is above it."""
    point: float
    """A point between two joints counts if the field along the limb is above it."""
    share: float
    """So large a share of the points must count."""
    joints: int
    """A person has so many."""
    score: float
    """A person's total score over its number of joints is at least this."""
    feet_count: bool
    """Feet are joints as others; else they help nobody to be seen as a person."""


_USUAL = Thresholds(peak=0.05, point=0.05, share=0.95, joints=3, score=0.4, feet_count=False)
_MAXIMIZED = Thresholds(peak=0.02, point=0.01, share=0.75, joints=2, score=0.05, feet_count=True)


@dataclass(frozen=True, kw_only=True)
class OpenPoseParams:
    """Settings of the backend ``openpose``. Thresholds that are not given are those of OpenPose."""

    net_height: int = 368
    """Height of the network's input, a multiple of 16; the width follows from the picture's shape."""
    limit_width: bool = False
    """No wider than 16:9, as OpenPose does for single pictures but not for videos."""
    scales: int = 1
    """Sizes that the network looks at; its maps are averaged."""
    scale_gap: float = 0.25
    """By how much each size is smaller than the one before, of the largest."""
    decoder: Decoder = "cmu"
    """How people are put together: as OpenPose's GPU build does, or as the older Python port (COCO-18 only), which also
    makes its input its own way, at half of ``net_height``."""
    upsampling: Upsampling = "opencv"
    """Maps are enlarged, and peaks found, as a CPU build does by OpenCV, or as a CUDA build; on whatever device."""
    maximize_positives: bool = False
    """OpenPose's option of this name: lower thresholds, more people and more mistakes."""
    peak_threshold: float | None = None
    """Least height of a joint's peak; 0.05, or 0.02 with ``maximize_positives``."""
    point_threshold: float | None = None
    """Least strength of the field at a point between two joints; 0.05 or 0.01."""
    point_share: float | None = None
    """Share of the points that must have it; 0.95 or 0.75."""
    min_joints: int | None = None
    """Joints that a person has at least; 3 or 2."""
    min_score: float | None = None
    """Score for each of its joints that a person has at least; 0.4 or 0.05."""
    port_relu: bool = True
    """The port ends its last layer of heat maps in a ReLU that OpenPose does not have; of its decoder only."""
    precision: Precision = "float32"
    """Numbers that the network computes with; float16 is for GPUs."""

    def __post_init__(self) -> None:
        for field, choices in (("decoder", Decoder), ("upsampling", Upsampling), ("precision", Precision)):
            if getattr(self, field) not in get_args(choices):
                raise ConfigError(f"{field} is one of {', '.join(get_args(choices))}, got {getattr(self, field)!r}.")
        if self.net_height < MULTIPLE or self.net_height % MULTIPLE:
            raise ConfigError(f"net_height is a multiple of {MULTIPLE} above 0, got {self.net_height}. Take 368.")
        if self.scales < 1 or not 0 < self.scale_gap < 1 or self.size(self.scales - 1) < 1:
            raise ConfigError(
                f"{self.scales} scales with a gap of {self.scale_gap:g} leave a smallest one of "
                f"{1 - (self.scales - 1) * self.scale_gap:g} of {self.net_height} pixels. Take fewer, or a smaller gap."
            )
        if self.decoder == "port" and (self.scales > 1 or self.upsampling != "opencv" or self.maximize_positives):
            raise ConfigError(
                "decoder = 'port' knows one scale, upsampling = 'opencv' and no maximize_positives, as the port "
                "has it. Leave them out, or take decoder = 'cmu'."
            )
        own = (self.peak_threshold, self.point_threshold, self.point_share, self.min_score)
        if self.decoder == "port" and any(value is not None for value in (*own, self.min_joints)):
            raise ConfigError("decoder = 'port' has thresholds of its own. Leave them out, or take decoder = 'cmu'.")
        if any(value is not None and not 0 <= value < 1 for value in own):
            raise ConfigError(f"thresholds are from 0 to less than 1, got {', '.join(map(str, own))}.")
        if self.min_joints is not None and self.min_joints < 1:
            raise ConfigError(f"min_joints is 1 or more, got {self.min_joints}.")

    def size(self, scale: int) -> int:
        """Return the height of the network's input at a scale, from 0, the largest."""
        return scaled(self.net_height, scale, self.scale_gap)

    @property
    def thresholds(self) -> Thresholds:
        """Those that are set, and OpenPose's for the others."""
        usual = _MAXIMIZED if self.maximize_positives else _USUAL
        return Thresholds(
            peak=usual.peak if self.peak_threshold is None else self.peak_threshold,
            point=usual.point if self.point_threshold is None else self.point_threshold,
            share=usual.share if self.point_share is None else self.point_share,
            joints=usual.joints if self.min_joints is None else self.min_joints,
            score=usual.score if self.min_score is None else self.min_score,
            feet_count=usual.feet_count,
        )


def scaled(pixels: int, scale: int, gap: float) -> int:
    """Return how long a side of so many pixels is at a scale: a multiple of 16, rounded down."""
    return int(pixels * (1 - scale * gap) + 0.5) // MULTIPLE * MULTIPLE
