"""What the input of a network must look like: data beside the model, never read from its name."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.modalities import streams_of
from kinebert.training.models.arguments import positive

ChannelOrder = Literal["rgb", "bgr"]


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """How stored bytes become a network's input: 0..255 is mapped onto ``value_range``, then ``(x - mean) / std``.

    ``mean`` and ``std`` are of the channels in the order in which the network takes them: ``bgr`` as Caffe's do.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    value_range: tuple[float, float] = (0.0, 1.0)
    channel_order: ChannelOrder = "rgb"

    def stacked(self, count: int) -> "Normalization":
        """Return that of ``count`` images stacked in the channels: every channel of the first, then of the second."""
        return replace(self, mean=self.mean * count, std=self.std * count)


IMAGENET = Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""RGB as torchvision's networks for pictures expect it."""
CAFFE = Normalization(mean=(104.0, 117.0, 128.0), std=(1.0, 1.0, 1.0), value_range=(0.0, 255.0), channel_order="bgr")
"""Pictures as BN-Inception of Caffe expects them: blue first."""
CAFFE_FLOW = Normalization(mean=(128.0, 128.0), std=(1.0, 1.0), value_range=(0.0, 255.0))
"""Flow as BN-Inception of Caffe expects it: around the code of no motion."""
KINETICS = Normalization(mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989))
"""RGB as torchvision's networks for videos expect it."""
FLOW = Normalization(mean=(0.5, 0.5), std=(0.226, 0.226))
"""Flow as TSM's networks expect it: around no motion, over the mean of ImageNet's three standard deviations."""
ACTIVITYNET = Normalization(mean=(114.7748, 107.7354, 99.4750), std=(1.0, 1.0, 1.0), value_range=(0.0, 255.0))
"""RGB as 3D ResNet and ResNeXt up to 2018, MARS, and the BERT papers' ResNeXt expect it."""
BYTE_FLOW = Normalization(mean=(127.5, 127.5), std=(1.0, 1.0), value_range=(0.0, 255.0))
"""Flow as 3D ResNet and ResNeXt up to 2018, MARS, and the BERT papers' ResNeXt expect it."""
HARA = Normalization(mean=(0.4345, 0.4051, 0.3775), std=(0.2768, 0.2713, 0.2737))
"""RGB as the 3D ResNets published in 2020 expect it."""
MFNET = Normalization(mean=(124 / 255, 117 / 255, 104 / 255), std=(1 / (0.0167 * 255),) * 3)
"""RGB as MFNet's program and those that follow it (SRTG, MTNet) feed it: bytes less a mean, times 0.0167."""
CENTERED = Normalization(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
"""RGB as I3D expects it: from -1 to 1."""
CENTERED_FLOW = Normalization(mean=(0.5, 0.5), std=(0.5, 0.5))
"""Flow as I3D expects it: 20 pixels become 1."""
C3D = Normalization(mean=(104.0, 117.0, 128.0), std=(1.0, 1.0, 1.0), value_range=(0.0, 255.0))
"""RGB as mmaction2's C3D expects it: the numbers are those of blue, green and red in Caffe."""
RAW = Normalization(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), value_range=(0.0, 255.0))
"""RGB as it is stored, which C3D's converted weights are given."""
INVERTED = Normalization(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), value_range=(1.0, -1.0))
"""RGB as Rep-Flow's weights expect it: from 1 for black to -1."""
SLOWFAST = Normalization(mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225))
"""RGB as PySlowFast's networks expect it."""
SLOWFAST_FLOW = Normalization(mean=(0.5, 0.5), std=(0.225, 0.225))
"""Flow for SlowFast, of no published weights: PySlowFast's deviation around the grey that is no motion."""


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What a set of weights is trained on. The input pipeline is built from this, never from the model's name."""

    modality: str
    """``rgb``, ``flow`` or ``pose``; of several streams in the channels of an image, joined: ``rgb+flow``."""
    num_frames: int
    """Images in a clip."""
    crop_size: int
    """Height and width of the network's input, pixels."""
    mean: tuple[float, ...]
    """Per channel, on the scale of ``value_range``."""
    std: tuple[float, ...]
    """Per channel, on the scale of ``value_range``."""
    value_range: tuple[float, float] = (0.0, 1.0)
    """Where stored 0 and 255 lie before ``mean`` is subtracted."""
    frame_interval: int = 1
    """Stored images from one image of a clip to the next."""
    size: tuple[int, int] | None = None
    """Width and height of the frame that crops are taken from, pixels; None for frames as they are stored."""
    flow_stack: int = 1
    """Flow fields in the channels of one image of a clip: x and y of the first, x and y of the second, and so on."""
    channel_order: ChannelOrder = "rgb"
    """Order in which the network takes the three channels of colour pictures, which are stored as RGB; ``mean`` and
    ``std`` are in the same order."""
    streams: tuple["InputSpec", ...] = ()
    """Of several streams (``rgb+flow``) that of each, in the order of their channels: what it says of values counts,
    ``value_range`` and ``channel_order`` above do not."""

    def __post_init__(self) -> None:
        channels = num_channels(self.modality, self.flow_stack)
        if len(self.mean) != channels or len(self.std) != channels:
            raise ConfigError(
                f"{self.modality} has {channels} channels, got {len(self.mean)} means and {len(self.std)} deviations."
            )
        positive(num_frames=self.num_frames, crop_size=self.crop_size, frame_interval=self.frame_interval)
        if self.channel_order != "rgb" and (self.channel_order != "bgr" or channels != 3):
            raise ConfigError(
                f"channel_order is rgb, or bgr of three channels; got {self.channel_order} for {channels} channels."
            )
        if min(self.std) <= 0:
            raise ConfigError(f"std must be positive, got {self.std}.")
        if self.size is not None and min(self.size) < 1:
            raise ConfigError(f"size must be a width and a height in pixels, got {self.size}.")


def joined_spec(modality: str, streams: Sequence[InputSpec]) -> InputSpec:
    """Return what clips with the channels of several streams must look like.

    Raises:
        ConfigError: If the streams differ in anything but modality and values.
    """
    first = streams[0]
    for other in streams[1:]:
        for name in ("num_frames", "crop_size", "frame_interval", "size"):
            if getattr(other, name) != getattr(first, name):
                raise ConfigError(
                    f"{first.modality} and {other.modality} see other clips: {name} is {getattr(first, name)} and "
                    f"{getattr(other, name)}. Streams of one network see the same."
                )
    return InputSpec(
        modality=modality,
        num_frames=first.num_frames,
        crop_size=first.crop_size,
        frame_interval=first.frame_interval,
        size=first.size,
        mean=tuple(value for stream in streams for value in stream.mean),
        std=tuple(value for stream in streams for value in stream.std),
        streams=tuple(streams),
    )


def num_channels(modality: str, flow_stack: int = 1) -> int:
    """Return the channels of a clip of ``modality``.

    Raises:
        ConfigError: For an unknown modality, or for a stack of anything but flow.
    """
    streams = list(streams_of(modality))
    channels = sum(stream.channels for stream in streams)
    positive(flow_stack=flow_stack)
    if flow_stack > 1 and [stream.motion for stream in streams] != [True]:
        raise ConfigError(f"flow_stack is {flow_stack}, but only flow is stacked, and this is {modality}.")
    return channels * flow_stack
