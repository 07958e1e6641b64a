"""The one table of modalities: what a stream's pictures are, for whoever stores, checks, exports, cuts or draws them.

A modality made of pictures is one entry here, and one recipe that makes the pictures of a frame. Plain data: importing
it imports nothing.
"""

from dataclasses import dataclass

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.lookup import find


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """A column of a shard: one JPEG per image, or one packet of H.264 where the set's recipe says so."""

    name: str
    """Of the column."""
    about: str
    """What a JPEG shows, for the column's metadata."""
    file: str
    """Name of a file of `kinebert export`, with a place for the number (from 1), such as ``img_{:05d}.jpg``."""
    colour: bool = False
    """Three channels (red, green, blue), or one of grey."""

    @property
    def channels(self) -> int:
        """Channels that a network sees of it."""
        return 3 if self.colour else 1


@dataclass(frozen=True, kw_only=True)
class Modality:
    """What the images of a stream are."""

    name: str
    """As recipes, sets and checkpoints have it."""
    columns: tuple[Pictures, ...]
    """Pictures that make one image; their channels lie beside each other, in this order."""
    words: str
    """What many images are called, such as ``frames``."""
    fewer: int = 0
    """How many images a video has fewer than frames: 1 where an image needs two neighbours."""
    motion: bool = False
    """Whether the channels are x and y of a motion, code 0 for minus ``bound`` and 255 for ``bound``: mirroring then
    negates x (``255 - v``), figures draw it by the colour wheel, and networks may take it stacked in their channels."""
    sides: bool = False
    """Whether colours tell a person's left from right, as drawings do: a mirrored picture then shows another person."""
    from_video: bool = True
    """Whether `kinebert predict` can make the pictures from any video; not what somebody else must draw first."""
    mean: tuple[float, ...] | None = None
    """Per channel, on the scale 0 to 1: for backbones that say nothing of this modality. Where it is None, only those
    that name it take it."""
    std: tuple[float, ...] | None = None
    """Per channel; goes with ``mean``."""

    def __post_init__(self) -> None:
        if self.motion and self.channels != 2:
            raise ConfigError(f"modality {self.name!r}: motion has 2 channels, x and y, not {self.channels}.")
        if JOINED in self.name:
            raise ConfigError(f"modality {self.name!r}: {JOINED} stands between the names of modalities, not in one.")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if (values is None) != (self.mean is None) or (values is not None and len(values) != self.channels):
                raise ConfigError(f"modality {self.name!r}: {name} is {values}, for {self.channels} channels.")

    @property
    def channels(self) -> int:
        """Channels of an image."""
        return sum(column.channels for column in self.columns)

    @property
    def is_photograph(self) -> bool:
        """Whether an image is one colour picture as a camera sees it, whose colours may differ and mean the same."""
        return self.from_video and [column.colour for column in self.columns] == [True]


MODALITIES: dict[str, Modality] = {}
"""By name."""
JOINED = "+"
"""Stands between the modalities of clips whose channels come from several aligned sets."""


def register_modality(modality: Modality) -> Modality:
    """Make ``modality`` available under its name.

    Raises:
        ConfigError: If there is one of that name.
    """
    if modality.name in MODALITIES:
        raise ConfigError(f"there is a modality {modality.name!r} already. Choose another name.")
    MODALITIES[modality.name] = modality
    return modality


def modality_of(name: str) -> Modality:
    """Return the modality called ``name``.

    Raises:
        ConfigError: If there is none; it suggests a near name, or says which there are.
    """
    return find(MODALITIES, name, "modality")


def streams_of(name: str) -> dict[Modality, slice]:
    """Return the modalities of a clip, each with its channels in an image: one, or those of aligned sets.

    Args:
        name: Of a modality, or several joined by :data:`JOINED`: ``rgb+flow`` has red, green, blue, x and y.

    Raises:
        ConfigError: If there is no such modality, or one stands there twice.
    """
    streams: dict[Modality, slice] = {}
    first = 0
    for part in name.split(JOINED):
        modality = modality_of(part)
        if modality in streams:
            raise ConfigError(f"{name!r} has {part} twice: a clip has each modality once.")
        streams[modality] = slice(first, first := first + modality.channels)
    return streams


def x_channels(name: str) -> list[int]:
    """Return which channels of an image are the x of a motion, which mirroring negates; ``name`` as above.

    Raises:
        ConfigError: As :func:`streams_of`.
    """
    return [channels.start for modality, channels in streams_of(name).items() if modality.motion]


RGB = register_modality(
    Modality(
        name="rgb",
        columns=(
            Pictures(name="frames", about="one colour JPEG per frame, upright", file="img_{:05d}.jpg", colour=True),
        ),
        words="frames",
    )
)
POSE = register_modality(Modality(name="pose", columns=RGB.columns, words="frames", sides=True, from_video=False))
FLOW = register_modality(
    Modality(
        name="flow",
        columns=(
            Pictures(
                name="flow_x",
                about="one grey JPEG per field: rightward pixels per frame step, see bound",
                file="flow_x_{:05d}.jpg",
            ),
            Pictures(
                name="flow_y",
                about="one grey JPEG per field: downward pixels per frame step, see bound",
                file="flow_y_{:05d}.jpg",
            ),
        ),
        words="flow fields",
        fewer=1,
        motion=True,
    )
)
