"""Recipes of extraction: everything that changes the pixels of a shard set, and so its digest."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.config import differences, digest, to_plain
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.lookup import find
from kinebert.preprocessing.modalities import FLOW, POSE, RGB, modality_of
from kinebert.preprocessing.pose.estimator import PoseBackend, backend_of
from kinebert.preprocessing.schema import FORMAT_VERSION
from kinebert.preprocessing.tvl1 import PRESETS, TvL1Params
from kinebert.preprocessing.tvl1.pyramid import MIN_SIDE

UInt8 = NDArray[np.uint8]
_IDLE = {
    "fixed": {"short_side", "square_pixels"},
    "short_side": {"width", "height"},
    "none": {"width", "height", "short_side"},
}
"""Keys that have no effect with each kind of resize."""
_UNUSED = {"jpeg": {"codec", "crf"}, "h264": {"jpeg_quality"}}
"""Keys that are not recorded with each codec; older sets lack those of h264."""
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class FrameRecipe:
    """How frames are taken from a video and stored."""

    resize: Literal["fixed", "short_side", "none"] = "fixed"
    """fixed: every video to width x height; short_side: the shorter side to that, aspect kept; none: as coded."""
    width: int = 340
    """Width of a stored image in pixels, for resize = fixed."""
    height: int = 256
    """Height of a stored image in pixels, for resize = fixed."""
    short_side: int = 256
    """Shorter side of a stored image in pixels, for resize = short_side."""
    interpolation: Literal["linear", "area", "cubic"] = "linear"
    """How OpenCV resizes; linear is what published flow was made with."""
    square_pixels: bool = False
    """Undo non-square pixels, for resize = short_side or none."""
    frame_step: int = 1
    """Take every frame_step-th frame, in decode order."""
    drop_repeats: bool = False
    """Leave out frames that repeat the one before (5 in 10,000 samples of luma or fewer differ by more than 8 of 255),
    before frame_step counts and flow is solved. A part of the digest only where it is on."""
    video_stream: int | None = None
    """Which video stream of files that have several, from 0, cover pictures not counted. None: the default one, else
    the largest."""
    codec: Literal["jpeg", "h264"] = "jpeg"
    """jpeg: every image by itself; h264: 32 frames at a time as video, an eighth of the size, for frames in colour."""
    jpeg_quality: int = 95
    """JPEG quality, 1 to 100."""
    restart_markers: bool = False
    """Let readers decode crops of the JPEGs alone: 2 % more bytes, the same pixels, and so no part of the digest."""
    crf: int = 18
    """Quality of codec = h264, x264's constant rate factor: 0 (best) to 51; 18 is hard to tell from the original."""
    on_decode_error: Literal["keep", "reject"] = "keep"
    """keep: the frames before the error stay, and the video is marked truncated; reject: it is left out."""
    min_frames: int = 2
    """Videos with fewer frames are left out."""

    modality: ClassVar[str] = RGB.name

    def __post_init__(self) -> None:
        for name in ("width", "height", "short_side"):
            if getattr(self, name) < MIN_SIDE:
                raise ConfigError(f"{name} must be at least {MIN_SIDE} (pixels), got {getattr(self, name)}.")
        if self.frame_step < 1:
            raise ConfigError(f"frame_step must be at least 1, got {self.frame_step}.")
        if self.video_stream is not None and self.video_stream < 0:
            raise ConfigError(f"video_stream must be at least 0, got {self.video_stream}.")
        if not 1 <= self.jpeg_quality <= 100:
            raise ConfigError(f"jpeg_quality must lie between 1 and 100, got {self.jpeg_quality}.")
        if not 0 <= self.crf <= 51:
            raise ConfigError(f"crf must lie between 0 and 51, got {self.crf}.")
        if self.codec == "h264" and [column.colour for column in modality_of(self.modality).columns] != [True]:
            raise ConfigError(f"codec = h264 is for frames in colour, and this is {self.modality}: take codec = jpeg.")
        least = 1 + modality_of(self.modality).fewer
        if self.min_frames < least:
            raise ConfigError(f"min_frames must be at least {least}, got {self.min_frames}.")

    def pictures(self, frames: Iterable[UInt8]) -> Iterator[tuple[UInt8, ...]]:
        """Yield what is stored of a video: for every image a BGR ``(H, W, 3)`` or grey ``(H, W)`` picture per column.

        Args:
            frames: BGR ``(H, W, 3)``, one after the other, upright and resized.
        """
        for frame_HW3 in frames:
            yield (frame_HW3,)

    @property
    def decoded(self) -> "FrameRecipe":
        """The recipe by which frames are decoded for it, another one if they are looked at before they are resized."""
        return self

    @property
    def solving(self) -> Any:
        """What a solver has to be made ready for; None where pictures need none."""
        return None

    @property
    def has_joints(self) -> bool:
        """Whether people's joints are stored beside the pictures."""
        return False

    @property
    def from_video(self) -> bool:
        """Whether its pictures can be made of any video, as `kinebert predict` does."""
        return modality_of(self.modality).from_video

    def plain(self) -> dict[str, Any]:
        """Everything that the digest covers, as plain values: what does not touch a pixel here is left out."""
        idle = _IDLE[self.resize] | _UNUSED[self.codec] | {"restart_markers"}
        idle |= {"video_stream"} if self.video_stream is None else set()  # older sets lack it
        idle |= set() if self.drop_repeats else {"drop_repeats"}
        values = {key: value for key, value in to_plain(self).items() if key not in idle}
        return {"format": FORMAT_VERSION, "modality": self.modality, **values}

    def digest(self) -> str:
        """Twelve characters that two sets share only if their pixels were made in the same way."""
        return digest(self.plain())


RECIPES: dict[str, type[FrameRecipe]] = {FrameRecipe.modality: FrameRecipe}
"""Kind of recipe by the modality of the set that it makes."""
Kind = TypeVar("Kind", bound=type[FrameRecipe])


def register_recipe(kind: Kind) -> Kind:
    """Let sets of ``kind.modality`` be made by ``kind``.

    Raises:
        ConfigError: If there is no such modality, or it has a recipe.
    """
    name = modality_of(kind.modality).name
    if name in RECIPES:
        raise ConfigError(f"{kind.__name__}: {RECIPES[name].__name__} makes {name} already. Give it another modality.")
    RECIPES[name] = kind
    return kind


_OF_BACKENDS = {"backend", "params", "weights", "source", "look", "background", "threshold"}
"""Keys that say nothing of videos that show drawn poses; older sets lack them."""
DRAWING = (
    "resize", "width", "height", "short_side", "interpolation", "codec", "jpeg_quality", "restart_markers", "crf",
    "look", "background", "threshold",
)  # fmt: skip
"""Keys of a :class:`PoseRecipe` that may change when poses are drawn anew from stored joints."""


@register_recipe
@dataclass(frozen=True, kw_only=True)
class PoseRecipe(FrameRecipe):
    """How pictures of poses are made, a stream of its own, which RGB networks refuse.

    Without a backend the videos show poses that somebody else drew. With one, people are looked for in every frame as
    it was decoded, before it is resized; their joints are stored, and a picture that is drawn of them and resized.
    """

    backend: str = ""
    """Who finds the people, such as openpose; empty where the videos show drawn poses."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the backend; those that are not given have its defaults."""
    weights: Mapping[str, Any] = field(default_factory=dict)
    """SHA-256 of the backend's files, by their roles."""
    source: str = ""
    """Digest of the recipe of the set of frames whose stored pictures are looked at; empty for videos."""
    look: Literal["cpu", "gpu"] = "gpu"
    """How people are drawn: gpu as OpenPose's CUDA build does by default, translucent; cpu as its other one does."""
    background: Literal["black", "frame"] = "black"
    """What they are drawn on: black, or the frame itself."""
    threshold: float = 0.05
    """A joint is drawn if its score is above this, and a limb if both of its joints are; 0 to 1."""

    modality = POSE.name

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.backend:
            if self.params or self.weights or self.source:
                raise ConfigError("params, weights and source say nothing without a backend. Name one, as openpose.")
            return
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"threshold must lie between 0 and 1, got {self.threshold}.")
        if self.square_pixels:
            raise ConfigError("square_pixels is not for poses that are looked for here. Take resize = fixed.")
        if self.source and (self.frame_step, self.drop_repeats, self.video_stream) != (1, False, None):
            raise ConfigError(
                "frame_step, drop_repeats and video_stream say nothing of stored frames (source). Leave them out."
            )
        backend = backend_of(self.backend)
        params: object = from_mapping(backend.params, self.params, f"params of {self.backend}")
        object.__setattr__(self, "params", to_plain(params))
        object.__setattr__(self, "weights", _named_weights(backend, self.weights))
        object.__setattr__(self, "threshold", float(self.threshold))

    @property
    def decoded(self) -> FrameRecipe:
        """Frames of the video's own size, upright, where people are looked for in them."""
        if not self.backend:
            return self
        return FrameRecipe(
            resize="none",
            frame_step=self.frame_step,
            drop_repeats=self.drop_repeats,
            video_stream=self.video_stream,
            on_decode_error=self.on_decode_error,
            min_frames=self.min_frames,
        )

    @property
    def solving(self) -> "PoseRecipe | None":
        """This recipe, where people are looked for."""
        return self if self.backend else None

    @property
    def has_joints(self) -> bool:
        """True with a backend."""
        return bool(self.backend)

    @property
    def from_video(self) -> bool:
        """True with a backend that looks at frames as they are decoded."""
        return bool(self.backend) and not self.source

    def plain(self) -> dict[str, Any]:
        """Everything that the digest covers; nothing of backends where there is none."""
        silent = _OF_BACKENDS if not self.backend else {"source"} if not self.source else set()
        return {key: value for key, value in super().plain().items() if key not in silent}


def _named_weights(backend: PoseBackend, given: Mapping[str, Any]) -> dict[str, str]:
    """Return the digests of a backend's files by role: those that are given, and those that can be no others."""
    known = {file.role: file for file in backend.files}
    named = {file.role: file.sha256 for file in backend.files if file.sha256 and not file.optional}
    for role, sha256 in given.items():
        fixed = find(known, role, f"file of weights of the pose backend {backend.name}").sha256
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise ConfigError(f"weights.{role}: expected a SHA-256 of 64 characters (0-9, a-f), got {sha256!r}.")
        if fixed and sha256 != fixed:
            raise ConfigError(f"weights.{role}: {backend.name} works with {fixed} alone, got {sha256}. Leave it out.")
        named[role] = sha256
    return dict(sorted(named.items()))


@register_recipe
@dataclass(frozen=True, kw_only=True)
class FlowRecipe(FrameRecipe):
    """How flow is computed between the frames that a :class:`FrameRecipe` takes, and stored."""

    bound: float = 20.0
    """Largest displacement kept, in pixels per frame step. Larger values are clipped to it."""
    tvl1: TvL1Params = field(default_factory=TvL1Params)
    """Parameters of the solver."""

    modality = FLOW.name

    @property
    def solving(self) -> TvL1Params:
        """The parameters of its flow."""
        return self.tvl1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bound <= 0:
            raise ConfigError(f"bound must be positive (pixels per frame step), got {self.bound}.")
        object.__setattr__(self, "bound", float(self.bound))  # 8 and 8.0 make the same pixels: one digest


def preset_of(params: TvL1Params) -> str | None:
    """Name of the preset with these parameters, if there is one."""
    return next((name for name, preset in PRESETS.items() if preset == params), None)


def describe_tvl1(params: TvL1Params) -> str:
    """``classic``, or the preset that is nearest and where the parameters differ: ``fast but warps = 4``."""
    changes = {name: differences(to_plain(params), to_plain(preset)) for name, preset in PRESETS.items()}
    name = min(changes, key=lambda name: len(changes[name]))
    values = [f"{change.partition(':')[0]} = {to_plain(params)[change.partition(':')[0]]}" for change in changes[name]]
    return f"{name} but {', '.join(values)}" if values else name
