"""The part of a recipe that says which clips are read, and what is done to them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.modalities import streams_of
from kinebert.preprocessing.storage import resolve_uri
from kinebert.training.clips.sampling import Sampling
from kinebert.training.recipe.augment import AugmentRecipe, check_range
from kinebert.training.recipe.optim import at_least
from kinebert.training.recipe.settings import CHANGEABLE, setting


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """Which clips are read, and what is done to them on the way."""

    shards: str = field(metadata=CHANGEABLE)
    """Path or URI of a finished shard set of frames or flow."""
    beside: tuple[str, ...] = setting((), later=True, changeable=True)
    """Further shard sets of the same videos, for a network of several streams: their pictures lie beside those of
    shards in the channels of each image. Same frames, same sizes; frame i goes with the flow from i to the next."""
    modality: str = setting("", changeable=True)
    """What the shards must hold, such as rgb, flow or pose; rgb+flow where flow lies beside frames, in the order of
    shards and beside. Empty takes what they hold."""
    split: str = "split1"
    """Name of a split in the manifest."""
    train_part: str = "train"
    """Part of the split that is learnt from."""
    val_part: str = "val"
    """Part that is measured after every epoch and chooses the best weights; say "test" if there is no other."""
    sampling: Sampling = "dense"
    """dense: consecutive images of a part of the video; sections: one image of each of as many equal sections."""
    clips: Literal["random", "centre"] = setting("random", later=True)
    """Clips of training: any of a video, or the centre one, which validation has too, in every epoch."""
    clip_length: int = 16
    """Images in a clip (frames or flow fields)."""
    frame_interval: int = 1
    """Stored images from one image of a dense clip to the next."""
    flow_stack: int = setting(1, later=True)
    """Consecutive flow fields in the channels of each image of a clip, x and y of the first, x and y of the second: 10
    in two-stream networks, 5 in TSM's. A clip then has clip_length stacks, frame_interval fields from one to the next,
    all inside the video; one with fewer fields than a stack repeats its last."""
    crop_size: int = 112
    """Height and width of the network's input in pixels."""
    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)
    """Sides of training crops, as parts of the picture's shorter side; a crop pairs two neighbours of the list."""
    multi_scale: bool = True
    """Draw one of 13 positions and a pair of scales in training; false: the centre crop, as in validation."""
    crop: Literal["multi_scale", "short_side", "resized"] = setting("multi_scale", later=True)
    """Training crops. multi_scale: as scales and multi_scale say (TSN); short_side: a square of crop_size, anywhere, of
    the picture resized to a shorter side that is drawn from short_side (SlowFast, X3D, MTConv); resized: a rectangle
    of a drawn area and aspect, anywhere, resized to the square (Inception's random resized crop)."""
    short_side: tuple[int, int] = setting((256, 320), later=True)
    """Least and largest shorter side for crop = short_side, in pixels; whole numbers between are equally likely."""
    area: tuple[float, float] = setting((0.08, 1.0), later=True)
    """Least and largest part of the picture for crop = resized."""
    aspect: tuple[float, float] = setting((3 / 4, 4 / 3), later=True)
    """Least and largest width of such a crop, as a part of its height; drawn on a logarithmic scale."""
    augment: AugmentRecipe = setting(AugmentRecipe(), later=True)
    """What else is done to training crops."""
    eval_scale: float = 0.875
    """Side of the centre crop in validation and test, as a part of the shorter side (224 of 256 in the papers)."""
    flip: bool = True
    """Mirror half of the training clips; turn it off where classes differ by left and right."""
    flip_swaps_sides: bool = setting(False, later=True)
    """Where clips of poses are mirrored, exchange the colours of left and right as well: they are drawn anew from the
    set's joints. Off, as published: the picture alone is mirrored, and shows people whose sides are exchanged."""
    half_size: bool = setting(False, later=True)
    """Look at pictures of half their stored height and width, as published networks of 112 pixels do at 340x256: JPEGs
    are decoded so, in little more than half the time."""
    resize_on: Literal["loader", "device"] = setting("loader", later=True)
    """Where crops are resized and mirrored. loader: by the processes that read them, to whole grey levels, as earlier
    versions did; device: where the network is, which spares CPUs (at most a grey level of difference)."""

    order: Literal["random", "shards"] = setting("random", later=True)
    """random: videos of an epoch in any order. shards: shards in any order, the videos of many neighbours mixed, which
    reads a set from its beginning to its end once per epoch: for object stores and shards that are kept on disks."""
    cache_gib: float = setting(0.0, later=True, changeable=True)
    """GiB of shards that each node keeps on a disk of its own, where the set comes over a network; 0 keeps none."""
    cache_folder: str = setting("", later=True, changeable=True)
    """Folder of every node where they are kept; empty: in the user's cache."""

    def __post_init__(self) -> None:
        streams = list(streams_of(self.modality)) if self.modality else []
        if streams and len(streams) != 1 + len(self.beside) and (self.beside or self.shards):
            raise ConfigError(
                f"data.modality is {self.modality}, which takes {len(streams)} sets: data.shards, and "
                f"{len(streams) - 1} in data.beside, which has {len(self.beside)}."
            )
        at_least(0, "data.cache_gib", self.cache_gib)
        for name in ("clip_length", "frame_interval", "crop_size", "flow_stack"):
            at_least(1, f"data.{name}", getattr(self, name))
        if self.flow_stack > 1 and (len(streams) > 1 or self.beside):
            raise ConfigError(
                f"data.flow_stack is {self.flow_stack}, but flow that lies beside other pictures is not stacked. Leave "
                "it out, or train flow alone and fuse."
            )
        if self.flow_stack > 1 and streams and not streams[0].motion:
            raise ConfigError(
                f"data.flow_stack is {self.flow_stack}, but only flow is stacked, and data.modality is "
                f"{self.modality}. Leave it out."
            )
        if self.flip_swaps_sides and streams and (len(streams) > 1 or not streams[0].sides):
            raise ConfigError(
                f"data.flip_swaps_sides is for drawn poses alone, and data.modality is {self.modality}. Leave it out."
            )
        if not self.scales or not all(0 < scale <= 1 for scale in (*self.scales, self.eval_scale)):
            found = f"{list(self.scales)} and {self.eval_scale}"
            raise ConfigError(f"data.scales and data.eval_scale must lie above 0 and at most at 1, got {found}.")
        if list(self.scales) != sorted(self.scales, reverse=True):
            raise ConfigError(f"data.scales must go from large to small, got {self.scales}.")
        self._check_crop()
        if self.augment.on and self.resize_on == "device":
            raise ConfigError(
                "data.augment is done by the processes that read crops, once they are resized; data.resize_on is "
                '"device". Take "loader".'
            )
        if self.modality:
            self.augment.check_streams(self.modality)
        if self.train_part == self.val_part:
            raise ConfigError(
                f"data.train_part and data.val_part are both {self.val_part!r}: what was learnt from measures nothing."
            )

    def places(self, shards: str | None = None, beside: Sequence[str] = ()) -> tuple[str, tuple[str, ...]]:
        """Return the absolute locations of the shard set and of those beside it: those given, else the recipe's."""
        uris = (shards, *beside) if shards else (self.shards, *self.beside)
        first, *others = map(resolve_uri, uris)
        return first, tuple(others)

    @property
    def drawn(self) -> list[str]:
        """Names of the fields by which training clips differ from epoch to epoch."""
        found = [name for name in ("multi_scale", "flip") if getattr(self, name)]
        return ["clips"] * (self.clips == "random") + found + ["augment"] * self.augment.on

    def _check_crop(self) -> None:
        if self.crop != "multi_scale" and not self.multi_scale:
            raise ConfigError(
                f"data.multi_scale = false takes the centre crop, data.crop is {self.crop!r}. Leave one of them out."
            )
        of = {"short_side": ("short_side",), "resized": ("area", "aspect"), "multi_scale": ()}
        for kind, names in of.items():
            for name in names:
                default = type(self).__dataclass_fields__[name].default
                if self.crop != kind and getattr(self, name) != default:
                    raise ConfigError(f"data.{name} is of data.crop = {kind!r}, which is {self.crop!r}. Leave it out.")
        low, high = self.short_side
        if self.crop == "short_side" and not self.crop_size <= low <= high:
            raise ConfigError(
                f"data.short_side must be a least and a largest side, in this order, from data.crop_size = "
                f"{self.crop_size} on, got {[low, high]}."
            )
        check_range("data.area", self.area, 1)
        check_range("data.aspect", self.aspect)
