"""Clips from shards: a data set whose items are pure functions of their keys.

Axes: T time steps (frames or stacks of fields), L fields of a stack, K stored images, H height, W width, C channels.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.modalities import streams_of
from kinebert.preprocessing.pose.redrawing import read_swapped
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.video.images import halved
from kinebert.preprocessing.video.parts import Part
from kinebert.training.clips.calendar import Calendar
from kinebert.training.clips.ordering import epoch_order, item_at, sample_rng, shard_order
from kinebert.training.clips.sampling import Indices, eval_clips, train_clip
from kinebert.training.clips.stacking import places, stacks
from kinebert.training.data.augmentation import augmented, augmented_together
from kinebert.training.data.transforms import (
    Crop,
    UInt8,
    apply_crop,
    centre_crop,
    cut,
    eval_crops,
    random_crop,
    resized_crop,
    short_side_crop,
    stacked,
)
from kinebert.training.data.windows import Window
from kinebert.training.recipe.train import DataRecipe, ProtocolRecipe
from kinebert.training.shards import ReadsFar, ReadsParts, Shards, Video, check_swappable, numbers_of, shards_of

Key = tuple[int, int]
_MOST_EXPECTED = 256
"""Clips that are remembered to have been fetched ahead."""
_OWN = ("_order", "_last", "_expected", "_places")
"""What each process makes for itself."""


class ClipDataset(Dataset[tuple[UInt8 | Window, int, int]]):
    """Clips of the videos of one part.

    The key of a training clip is ``(epoch, position)``: the item depends on it, the recipe and the seed alone. The key
    of a test view (``training=False``) is ``(video, view)``; the views of a video are the crops of its first clip, then
    those of its second, and so on. A clip is ``uint8`` ``(T, H, W, C)``, or a :class:`Window` where the device resizes.
    Of stacked flow, C is x and y of the first field of a step's stack, x and y of the second, and so on.

    Args:
        shards: The pictures.
        videos: Of one part, as :meth:`Shards.select` returns them.
        recipe: Sampling and crops.
        seed: Of order, clips and crops in training.
        training: Random clips and crops; else the fixed ones of ``protocol``.
        protocol: In test, which clips and crops; by default one view per video, the centre.
        calendar: In training, says of what lengths and sizes clips are, where they are not all as the recipe says.
    """

    def __init__(
        self,
        shards: Shards,
        videos: Sequence[Video],
        recipe: DataRecipe,
        *,
        seed: int = 0,
        training: bool = False,
        protocol: ProtocolRecipe | None = None,
        calendar: Calendar | None = None,
    ) -> None:
        self._shards, self._videos, self._recipe, self._calendar = shards, videos, recipe, calendar
        self._seed, self._training, self._protocol = seed, training, protocol or ProtocolRecipe()
        if isinstance(shards, ReadsFar):
            shards.keep_shards(recipe.cache_folder, int(recipe.cache_gib * 2**30))
        if recipe.flip_swaps_sides and (recipe.flip if training else self._protocol.crops == 10):
            check_swappable(shards)
        self._forget()

    def _forget(self) -> None:
        self._order: tuple[int, NDArray[np.int64]] | None = None
        self._last: tuple[Key, Indices, Indices, dict[bool, UInt8]] | None = None
        self._expected: deque[tuple[int, int]] = deque(maxlen=_MOST_EXPECTED)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in _OWN}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def __len__(self) -> int:
        return len(self._videos)

    def __getitem__(self, key: Key) -> tuple[UInt8 | Window, int, int]:
        if not self._training:
            return self._view(*key)
        recipe = self._recipe_of(key)
        index, places_T, rng = self._drawn(key)
        video = self._videos[index]

        def choose(height: int, width: int) -> Crop:
            if recipe.crop == "short_side":  # of the full size: small crops of multigrid are of pictures as small
                return short_side_crop(height, width, self._recipe.crop_size, recipe.short_side, recipe.flip, rng)
            if recipe.crop == "resized":
                return resized_crop(height, width, recipe.area, recipe.aspect, recipe.flip, rng)
            if recipe.multi_scale:
                return random_crop(height, width, recipe.crop_size, recipe.scales, recipe.flip, rng)
            flip = recipe.flip and bool(rng.random() < 0.5)
            return centre_crop(height, width, recipe.crop_size, recipe.eval_scale, flip)

        clip = self._crop_of(video, places_T, choose, recipe.crop_size)
        if recipe.augment.on and not isinstance(clip, Window):
            streams = streams_of(self._shards.modality)
            if len(streams) > 1:
                clip = augmented_together(clip, recipe.augment, streams, rng)
            else:
                clip = augmented(clip, recipe.augment, next(iter(streams)), rng)
        return clip, video.label, index

    def _recipe_of(self, key: Key) -> DataRecipe:
        """Return the recipe with the length, interval and size of the training clip of a key."""
        if self._calendar is None:
            return self._recipe
        grid = self._calendar.grid_at(*key)
        length, interval, size = grid.clip_length, grid.frame_interval, grid.crop_size
        return replace(self._recipe, clip_length=length, frame_interval=interval, crop_size=size)

    def expect(self, keys: Iterable[Key]) -> None:
        """Begin to fetch the clips of some keys that will be asked for soon, if they have to come over a network."""
        shards = self._shards
        if not isinstance(shards, ReadsFar) or not shards.is_far:
            return
        for key in keys:
            index, number = key if self._training else (key[0], key[1] // self._protocol.crops)
            if (index, number) not in self._expected:  # all crops of a clip are of the same images
                self._expected.append((index, number))
                row, places_T = self._drawn(key)[:2] if self._training else (index, self.clips_of(index)[number])
                entry: Any = self._videos[row]
                shards.expect(entry, self._images(entry, places_T)[0].tolist())

    def _drawn(self, key: Key) -> tuple[int, Indices, np.random.Generator]:
        """Return which video stands at a position of an epoch, which of its places, and what is drawn from next."""
        recipe, rng = self._recipe_of(key), sample_rng(self._seed, *key)
        index = item_at(self._epoch_order(key[0]), key[1])
        clip = recipe.sampling, int(self._places[index]), recipe.clip_length, recipe.frame_interval
        if recipe.clips == "centre":
            return index, eval_clips(clip[0], "single", *clip[1:])[0], rng
        return index, train_clip(*clip, rng), rng

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """Images of each video that a time step may begin at: all of them, or those at which a whole stack does."""
        return places(numbers_of(self._videos, "num_images"), self._recipe.flow_stack)

    def test_keys(self, videos: Iterable[int]) -> list[Key]:
        """Return the keys of all test views of some videos, video by video."""
        return [(int(v), view) for v in videos for view in range(len(self.clips_of(int(v))) * self._protocol.crops)]

    def clips_of(self, index: int) -> NDArray[np.int64]:
        """Return the images (of stacks the first) of every clip that a video is tested on: ``(num_clips, T)``."""
        recipe, protocol, num_places = self._recipe, self._protocol, int(self._places[index])
        return eval_clips(
            recipe.sampling, protocol.clips, num_places, recipe.clip_length, recipe.frame_interval, protocol.step
        )

    def _view(self, index: int, view: int) -> tuple[UInt8 | Window, int, int]:
        recipe, protocol, video = self._recipe, self._protocol, self._videos[index]
        number, crop = divmod(view, protocol.crops)
        size, scale = protocol.crop_size or recipe.crop_size, protocol.scale or recipe.eval_scale
        if protocol.crops == 1:
            clip = self._crop_of(video, self.clips_of(index)[number], lambda h, w: centre_crop(h, w, size, scale), size)
            return clip, video.label, index
        if self._last is None or self._last[0] != (index, number):  # the crops of a clip are asked for in a row
            images_K, order_TL = self._images(video, self.clips_of(index)[number])
            self._last = (index, number), images_K, order_TL, {False: self._read(video, images_K)}
        _, images_K, order_TL, clips = self._last
        height, width = clips[False].shape[1:3]
        chosen = eval_crops(height, width, size, scale, protocol.crops)[crop]
        swapped = chosen.flip and recipe.flip_swaps_sides
        if swapped not in clips:
            clips[True] = self._read_swapped(video, images_K)
        return self._fitted(cut(clips[swapped], chosen), order_TL, size, chosen.flip), video.label, index

    def _crop_of(
        self, video: Video, places_T: Indices, choose: Callable[[int, int], Crop], size: int
    ) -> UInt8 | Window:
        """Read one crop of a clip, which ``choose`` takes by height and width; the rest of it need not be decoded."""
        images_K, order_TL = self._images(video, places_T)
        if isinstance(self._shards, ReadsParts):
            stored: Any = video
            zoom = 2 if self._recipe.half_size else 1
            crop = choose(-(-stored.height // zoom), -(-stored.width // zoom))
            part = Part(crop.top, crop.left, crop.height, crop.width)
            read = self._read_swapped if crop.flip and self._recipe.flip_swaps_sides else self._read
            part_KHWC = read(video, images_K, part)
        else:
            clip_KHWC = self._read(video, images_K)
            crop = choose(*clip_KHWC.shape[1:3])
            part_KHWC = cut(clip_KHWC, crop)
        return self._fitted(part_KHWC, order_TL, size, crop.flip)

    def _images(self, video: Video, places_T: Indices) -> tuple[Indices, Indices]:
        """Return the stored images of a clip, and which of these each time step consists of, ``(T, L)``.

        Neighbouring stacks share fields, which are read and resized once.
        """
        stack = self._recipe.flow_stack
        if stack == 1:
            return places_T, np.arange(len(places_T), dtype=np.int64)[:, None]
        fields_TL = stacks(places_T, stack, video.num_images)
        fields_K, order = np.unique(fields_TL, return_inverse=True)
        return fields_K, order.reshape(fields_TL.shape)

    def _fitted(self, part_KHWC: UInt8, order_TL: Indices, size: int, flip: bool) -> UInt8 | Window:
        if self._recipe.resize_on == "device":
            return Window(stacked(part_KHWC, order_TL), size, flip)
        height, width = part_KHWC.shape[1:3]
        crop, streams = Crop(0, 0, height, width, flip), streams_of(self._shards.modality)
        fitted = [apply_crop(part_KHWC[..., own], crop, size, stream.motion) for stream, own in streams.items()]
        return stacked(fitted[0] if len(fitted) == 1 else np.concatenate(fitted, axis=-1), order_TL)

    def _epoch_order(self, epoch: int) -> NDArray[np.int64]:
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, self._new_order(epoch)
        return self._order[1]

    def _new_order(self, epoch: int) -> NDArray[np.int64]:
        if self._recipe.order == "random":
            return epoch_order(len(self._videos), self._seed, epoch)
        return shard_order(shards_of(self._videos), self._seed, epoch)

    def _read(self, video: Video, indices: Indices, part: Part | None = None) -> UInt8:
        half = self._recipe.half_size
        with self._explained(video, indices):
            if isinstance(self._shards, ReadsParts) and (half or part):
                return self._shards.read_part(video, indices.tolist(), part, half)
            clip_THWC = self._shards.read_clip(video, indices.tolist())
            return halved(clip_THWC) if half else clip_THWC

    def _read_swapped(self, video: Any, indices: Indices, part: Part | None = None) -> UInt8:
        """Read images with the colours of left and right exchanged."""
        assert isinstance(self._shards, ShardSet), "check_swappable has seen it"
        with self._explained(video, indices):
            return read_swapped(self._shards, video, indices.tolist(), part, self._recipe.half_size)

    @contextmanager
    def _explained(self, video: Video, indices: Indices) -> Iterator[None]:
        """Say which images cannot be read."""
        try:
            yield
        except UserError:
            raise
        except (OSError, ValueError) as error:  # pyarrow's errors are one or the other
            raise UserError(
                f"{self._shards.uri}: video {video.video_id}: images {indices.min()} to {indices.max()} cannot be "
                f"read: {error}. `kinebert verify {self._shards.uri}` says which shards are damaged."
            ) from error
