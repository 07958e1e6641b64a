"""Clips from shards: datasets whose items are pure functions of their keys, and the loaders that batch them.

Axes: N clips, T frames or fields, H height, W width, C channels.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.modalities import modality_of
from kinebert.training.checkpoints import recognizer
from kinebert.training.clips.ordering import epoch_order, item_at, num_steps, sample_rng, worker_positions
from kinebert.training.clips.sampling import eval_clips, span, train_clip
from kinebert.training.data.transforms import UInt8, apply_crop, centre_crop, eval_crops, random_crop
from kinebert.training.recipe.train import DataRecipe, ProtocolRecipe

Key = tuple[int, int]


class Video(Protocol):
    """What training needs to know of a video in a shard set."""

    @property
    def video_id(self) -> str:
        """Unique name."""

    @property
    def label(self) -> int:
        """Class index, -1 where it is not known."""

    @property
    def num_images(self) -> int:
        """Stored frames or flow fields."""


class Shards(recognizer.Shards, Protocol):
    """What training needs of a shard set (:class:`kinebert.preprocessing.sets.reader.ShardSet`)."""

    @property
    def content(self) -> str:
        """Digest of the stored bytes and the index: which videos, with which labels and splits."""

    @property
    def rejected(self) -> Sequence[Any]:
        """Videos that are not in the set, with ``video_id``, ``problem`` and ``splits``."""

    def select(self, split: str, part: str) -> Sequence[Any]:
        """Return the videos (:class:`Video`) of one part of a split."""

    def read_clip(self, entry: Any, indices: Sequence[int]) -> UInt8:
        """Return pictures of one video, ``(T, H, W, C)``."""


class Batch(NamedTuple):
    """Clips as they are stored, before the device turns them into floating point."""

    clips: Tensor
    """``uint8`` ``(N, T, H, W, C)``."""
    labels: Tensor
    """Class indices, int64 ``(N,)``."""
    videos: Tensor
    """Which video of the data set each clip is of, int64 ``(N,)``."""

    def pin_memory(self) -> "Batch":
        """Copy to memory that a GPU reads without waiting."""
        return Batch(*(tensor.pin_memory() for tensor in self))


class ClipDataset(Dataset[tuple[UInt8, int, int]]):
    """Clips of the videos of one part.

    The key of a training clip is ``(epoch, position)``: the item depends on it, the recipe and the seed alone. The key
    of a test view (``training=False``) is ``(video, view)``; the views of a video are the crops of its first clip, then
    those of its second, and so on.

    Args:
        shards: The pictures.
        videos: Of one part, as :meth:`Shards.select` returns them.
        recipe: Sampling and crops.
        seed: Of order, clips and crops in training.
        training: Random clips and crops; else the fixed ones of ``protocol``.
        protocol: In test, which clips and crops; by default one view per video, the centre.
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
    ) -> None:
        self._shards, self._videos, self._recipe = shards, videos, recipe
        self._seed, self._training, self._protocol = seed, training, protocol or ProtocolRecipe()
        self._order: tuple[int, NDArray[np.int64]] | None = None
        self._last: tuple[Key, UInt8] | None = None

    def __len__(self) -> int:
        return len(self._videos)

    def __getitem__(self, key: Key) -> tuple[UInt8, int, int]:
        if not self._training:
            return self._view(*key)
        recipe = self._recipe
        index = item_at(self._epoch_order(key[0]), key[1])
        video = self._videos[index]
        rng = sample_rng(self._seed, *key)
        indices = train_clip(recipe.sampling, video.num_images, recipe.clip_length, recipe.frame_interval, rng)
        clip_THWC = self._read(video, indices)
        height, width = clip_THWC.shape[1:3]
        if recipe.multi_scale:
            crop = random_crop(height, width, recipe.crop_size, recipe.scales, recipe.flip, rng)
        else:
            flip = recipe.flip and bool(rng.random() < 0.5)
            crop = centre_crop(height, width, recipe.crop_size, recipe.eval_scale, flip)
        return apply_crop(clip_THWC, crop, recipe.crop_size, self._is_flow), video.label, index

    def test_keys(self, videos: Iterable[int]) -> list[Key]:
        """Return the keys of all test views of some videos, video by video."""
        return [(int(v), view) for v in videos for view in range(len(self.clips_of(int(v))) * self._protocol.crops)]

    def clips_of(self, index: int) -> NDArray[np.int64]:
        """Return the images of every clip that a video is tested on, ``(num_clips, clip_length)``."""
        recipe, protocol, video = self._recipe, self._protocol, self._videos[index]
        return eval_clips(
            recipe.sampling, protocol.clips, video.num_images, recipe.clip_length, recipe.frame_interval, protocol.step
        )

    def _view(self, index: int, view: int) -> tuple[UInt8, int, int]:
        recipe, protocol, video = self._recipe, self._protocol, self._videos[index]
        number, crop = divmod(view, protocol.crops)
        if self._last is None or self._last[0] != (index, number):  # the crops of a clip are asked for in a row
            self._last = (index, number), self._read(video, self.clips_of(index)[number])
        clip_THWC = self._last[1]
        height, width = clip_THWC.shape[1:3]
        size = protocol.crop_size or recipe.crop_size
        crops = eval_crops(height, width, size, protocol.scale or recipe.eval_scale, protocol.crops)
        return apply_crop(clip_THWC, crops[crop], size, self._is_flow), video.label, index

    @property
    def _is_flow(self) -> bool:
        return modality_of(self._shards.modality).motion

    def _epoch_order(self, epoch: int) -> NDArray[np.int64]:
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, epoch_order(len(self._videos), self._seed, epoch)
        return self._order[1]

    def _read(self, video: Video, indices: NDArray[np.int64]) -> UInt8:
        try:
            return self._shards.read_clip(video, indices.tolist())
        except (OSError, ValueError) as error:  # pyarrow's errors are one or the other
            raise UserError(
                f"{self._shards.uri}: video {video.video_id}: images {indices.min()} to {indices.max()} cannot be "
                f"read: {error}. `kinebert verify {self._shards.uri}` says which shards are damaged."
            ) from error


class TrainBatches:
    """Keys of the micro-batches that one worker takes, from a given step of a given epoch to the end of training.

    Args:
        num_items: Videos of the part.
        batch_size: Clips of a global batch.
        micro_batch: Clips of a micro-batch.
        rank: Of the worker.
        num_workers: Workers that share each global batch.
        epochs: Where training ends.
        start: Epoch and step to begin at.
    """

    def __init__(
        self, num_items: int, batch_size: int, micro_batch: int, rank: int, num_workers: int, epochs: int, start: Key
    ) -> None:
        self._num_steps = num_steps(num_items, batch_size)
        self._deal = batch_size, micro_batch, rank, num_workers
        self._epochs, self._start = epochs, start

    def __iter__(self) -> Iterator[list[Key]]:
        first_epoch, first_step = self._start
        for epoch in range(first_epoch, self._epochs):
            for step in range(first_step if epoch == first_epoch else 0, self._num_steps):
                for positions in worker_positions(step, *self._deal):
                    yield [(epoch, int(position)) for position in positions]


def in_batches(keys: Sequence[Key], size: int) -> list[list[Key]]:
    """Cut ``keys`` into lists of ``size``; the last one may be shorter."""
    return [list(keys[i : i + size]) for i in range(0, len(keys), size)]


class ClipLoader:
    """An iterable of :class:`Batch`, one per list of keys; it can be gone through again if ``batches`` can.

    Loader processes are started fresh instead of forked: a fork of a process with threads (Ray's, OpenCV's) may hang.

    Args:
        dataset: Makes the items.
        batches: Keys of the items of each batch.
        loader_workers: Processes that make them; 0 for this one.
        device: Where the batches will go; for CUDA they are put into pinned memory.
    """

    def __init__(
        self, dataset: ClipDataset, batches: Iterable[list[Key]], loader_workers: int, device: torch.device
    ) -> None:
        self._loader: DataLoader[Batch] = DataLoader(
            dataset,  # type: ignore[arg-type]
            batch_sampler=batches,
            num_workers=loader_workers,
            collate_fn=collate,
            pin_memory=device.type == "cuda",
            worker_init_fn=_start_worker,
            multiprocessing_context="forkserver" if loader_workers else None,
            persistent_workers=loader_workers > 0,
        )

    def __iter__(self) -> Iterator[Batch]:
        try:
            yield from self._loader
        except UserError as error:  # of a loader process: torch has put the traceback into the message
            name = f"{type(error).__module__}.{type(error).__qualname__}: "
            raise type(error)(str(error).rpartition(name)[2].strip()) from error


def limit_threads(num_threads: int | None) -> None:
    """Set how many threads this process computes with: torch as many as given (None: as it is), OpenCV one.

    The only place that sets them. Pictures of a clip are too small for OpenCV's own threads to pay.
    """
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    cv2.setNumThreads(1)


def check_videos(shards: Shards, recipe: DataRecipe, part: str) -> tuple[Sequence[Any], list[str]]:
    """Select one part and look for what would spoil hours of training.

    Returns:
        The videos, and sentences about what is unusual but allowed.

    Raises:
        ConfigError: If the part is empty, or videos have no class.
    """
    videos = shards.select(recipe.split, part)
    where = f"{shards.uri}: {recipe.split}/{part}"
    if not videos:
        raise ConfigError(f"{where}: there are no videos in this part. Choose another part, or make the split again.")
    if len(shards.classes) < 2:
        raise ConfigError(f"{where}: {len(shards.classes)} classes, there is nothing to tell apart below 2.")
    unknown = [video.video_id for video in videos if not 0 <= video.label < len(shards.classes)]
    if unknown:
        raise ConfigError(
            f"{where}: {len(unknown)} of {len(videos)} videos have no class, the first is {unknown[0]}. Take them out "
            "of the manifest, or give them a label."
        )
    notes = []
    absent = sorted(set(range(len(shards.classes))) - {video.label for video in videos})
    if absent:
        names = ", ".join(shards.classes[label] for label in absent[:5]) + (", ..." if len(absent) > 5 else "")
        notes.append(f"{where}: {len(absent)} of {len(shards.classes)} classes have no video: {names}")
    length = span(recipe.clip_length, recipe.frame_interval) if recipe.sampling == "dense" else recipe.clip_length
    short = sum(video.num_images < length for video in videos)
    if short:
        how = "continue from their beginning" if recipe.sampling == "dense" else "repeat images"
        notes.append(
            f"{where}: {short} of {len(videos)} videos have fewer than the {length} images of a clip and {how}"
        )
    left_out = sum(recipe.split in video.splits and video.splits[recipe.split] == part for video in shards.rejected)
    if left_out:
        notes.append(f"{where}: {left_out} videos were rejected in extraction and are not in the set")
    return videos, notes


def collate(items: list[tuple[UInt8, int, int]]) -> Batch:
    """Put items of a :class:`ClipDataset` together."""
    clips, labels, videos = zip(*items, strict=True)
    return Batch(torch.from_numpy(np.stack(clips)), torch.tensor(labels), torch.tensor(videos))


def _start_worker(_: int) -> None:
    limit_threads(1)
