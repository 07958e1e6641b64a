"""The contact sheet of a stored video: which sets it is drawn from."""

import os
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.modalities import modality_of
from kinebert.preprocessing.sets.contact_sheet import contact_sheet
from kinebert.preprocessing.sets.dataset_file import DATASET_FILE
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.storage import exists, is_local, join, resolve_uri


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoSheet:
    """Frames of a video and their flow, as far as they are stored."""

    picture: NDArray[np.uint8]
    """RGB, ``(H, W, 3)``."""
    frames: ShardSet | None
    """The pictures that are drawn; None without."""
    flow: ShardSet | None
    """The flow that is drawn below them; None without."""

    def png(self) -> bytes:
        """Return the picture as a PNG file."""
        return cv2.imencode(".png", self.picture[..., ::-1])[1].tobytes()

    @property
    def uris(self) -> list[str]:
        """Where the sets are."""
        return sorted(found.uri for found in (self.frames, self.flow) if found is not None)


def draw_video(uri: str, video_id: str, beside: str | None = None, num_images: int = 12) -> VideoSheet:
    """Draw a video of the set at ``uri``.

    Args:
        uri: A set of frames or flow.
        video_id: Which video.
        beside: A set of the other kind; by default one is looked for in the same folder.
        num_images: Frames to draw, evenly spaced.

    Raises:
        UserError: If there is no such set or video.
        ConfigError: If both sets are of one kind, or nothing would be drawn.
    """
    if num_images < 1:
        raise ConfigError(f"images must be at least 1, got {num_images}.")
    first = ShardSet.open(resolve_uri(uri))
    first.entry(video_id)
    second = ShardSet.open(resolve_uri(beside)) if beside else _neighbour(first, video_id)
    kinds = {_is_flow(found): found for found in (second, first) if found is not None}
    if second is not None and len(kinds) == 1:
        what = (
            first.modality if first.modality == second.modality else f"{first.modality} or {second.modality}, no flow"
        )
        raise ConfigError(f"{first.uri} and {second.uri} both hold {what}; --with takes the other kind.")
    frames, flow = kinds.get(False), kinds.get(True)
    return VideoSheet(picture=contact_sheet(video_id, frames, flow, num_images), frames=frames, flow=flow)


def _is_flow(found: ShardSet) -> bool:
    """Whether a set is drawn by the colour wheel, or as the pictures that it holds."""
    return modality_of(found.modality).motion


def _neighbour(first: ShardSet, video_id: str) -> ShardSet | None:
    """A finished set of the other kind in the same folder that holds the same frames of the video."""
    if not is_local(first.uri):
        return None
    parent = os.path.dirname(first.uri)
    for name in sorted(os.listdir(parent)):
        uri = join(parent, name)
        if uri == first.uri or not exists(join(uri, DATASET_FILE)):
            continue
        try:
            other = ShardSet.open(uri)
            same = other.entry(video_id).num_frames == first.entry(video_id).num_frames
        except UserError:
            continue
        if same and _is_flow(other) != _is_flow(first):
            return other
    return None
