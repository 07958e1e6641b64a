"""The contact sheet of a stored video: which sets it is drawn from."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.modalities import RGB, modality_of
from kinebert.preprocessing.sets.contact_sheet import contact_sheet
from kinebert.preprocessing.sets.dataset_file import DATASET_FILE
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.storage import exists, is_local, join, resolve_uri


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoSheet:
    """The pictures of a video, as far as they are stored: frames, their flow, their poses."""

    picture: NDArray[np.uint8]
    """RGB, ``(H, W, 3)``."""
    sets: tuple[ShardSet, ...]
    """What is drawn, in the order of a sheet's rows: at most one set of each modality."""

    def png(self) -> bytes:
        """Return the picture as a PNG file."""
        return cv2.imencode(".png", self.picture[..., ::-1])[1].tobytes()

    @property
    def uris(self) -> list[str]:
        """Where the sets are."""
        return sorted(found.uri for found in self.sets)

    @property
    def flow(self) -> ShardSet | None:
        """The set of flow that is drawn; None without."""
        return next((found for found in self.sets if _is_flow(found)), None)


def draw_video(uri: str, video_id: str, beside: str | Sequence[str] | None = None, num_images: int = 12) -> VideoSheet:
    """Draw a video of the set at ``uri``.

    Args:
        uri: A set of any modality.
        video_id: Which video.
        beside: Sets of other modalities; by default they are looked for in the same folder.
        num_images: Frames to draw, evenly spaced.

    Raises:
        UserError: If there is no such set or video.
        ConfigError: If two sets are of one modality, or nothing would be drawn.
    """
    if num_images < 1:
        raise ConfigError(f"images must be at least 1, got {num_images}.")
    first = ShardSet.open(resolve_uri(uri))
    first.entry(video_id)
    named = [beside] if isinstance(beside, str) else list(beside or ())
    others = [ShardSet.open(resolve_uri(name)) for name in named] if named else _neighbours(first, video_id)
    kinds: dict[str, ShardSet] = {}
    for found in (first, *others):
        twin = kinds.setdefault(found.modality, found)
        if twin is not found:
            raise ConfigError(f"{twin.uri} and {found.uri} both hold {found.modality}; --with takes the other kinds.")
    rows = sorted(kinds.values(), key=_place)
    frames, flow = kinds.get(RGB.name), next((found for found in rows if _is_flow(found)), None)
    more = [found for found in rows if found not in (frames, flow)]
    sheet = contact_sheet(video_id, frames, flow, num_images, beside=more)
    return VideoSheet(picture=sheet, sets=tuple(rows))


def _is_flow(found: ShardSet) -> bool:
    """Whether a set is drawn by the colour wheel, or as the pictures that it holds."""
    return modality_of(found.modality).motion


def _place(found: ShardSet) -> int:
    """Sort frames before flow, and flow before all else."""
    return 0 if found.modality == RGB.name else 1 if _is_flow(found) else 2


def _neighbours(first: ShardSet, video_id: str) -> list[ShardSet]:
    """Finished sets of other modalities in the same folder that hold the same frames of the video, one of each."""
    if not is_local(first.uri):
        return []
    parent, num_frames = os.path.dirname(first.uri), first.entry(video_id).num_frames
    kinds: dict[str, ShardSet] = {first.modality: first}
    for name in sorted(os.listdir(parent)):
        uri = join(parent, name)
        if uri == first.uri or not exists(join(uri, DATASET_FILE)):
            continue
        try:
            other = ShardSet.open(uri)
            if other.entry(video_id).num_frames == num_frames:
                kinds.setdefault(other.modality, other)
        except UserError:
            continue
    return [found for found in kinds.values() if found is not first]
