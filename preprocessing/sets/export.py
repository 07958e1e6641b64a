"""Write the classic folders of one picture per frame that other tools read."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.modalities import modality_of
from kinebert.preprocessing.schema import SEGMENT_LENGTH
from kinebert.preprocessing.sets.reader import ShardSet, VideoEntry
from kinebert.preprocessing.video.images import encode_jpeg

_QUALITY = 95
"""Of frames that are no JPEGs yet."""


def export_frames(
    found: ShardSet, output: Path, *, on_video: Callable[[int, int], None] = lambda done, total: None
) -> int:
    """Write ``output/VIDEO_ID/img_00001.jpg`` ... (or ``flow_x_``, ``flow_y_``) for every video; return their number.

    The stored JPEG bytes are written as they are; frames that are stored as video become JPEGs of quality 95. Pictures
    that are there already with the right size are kept, so a set of frames and one of flow may share a folder, and a
    second run goes on where the first ended.

    Raises:
        UserError: If a video_id would lead out of ``output``, the folder holds pictures of another set of this kind, or
            the disk refuses.
    """
    for entry in found.videos:
        if not os.path.abspath(output / entry.video_id).startswith(os.path.abspath(output) + os.sep):
            raise UserError(f"{entry.video_id}: this video_id leads out of {output}; name the video otherwise.")
    marker = output / f".{found.modality}-of"
    with storage.explained(str(output), "write pictures"):
        output.mkdir(parents=True, exist_ok=True)
        if marker.exists() and storage.read_bytes(str(marker)) != found.content.encode():
            raise UserError(f"{output}: holds {found.modality} pictures of another set. Choose another folder.")
        storage.write_bytes(str(marker), found.content.encode())
    written = 0
    for done, entry in enumerate(found.videos, start=1):
        folder = output / entry.video_id
        with storage.explained(str(folder), "write pictures"):
            folder.mkdir(parents=True, exist_ok=True)
            written += _export_video(found, entry, folder)
        on_video(done, len(found.videos))
    return written


def _jpegs(found: ShardSet, entry: VideoEntry, indices: Sequence[int]) -> Sequence[Sequence[Any]]:
    if found.codec != "h264":
        return found.read_jpegs(entry, indices)
    return [[encode_jpeg(image_HW3[..., ::-1], _QUALITY)] for image_HW3 in found.read_clip(entry, indices)]


def _export_video(found: ShardSet, entry: VideoEntry, folder: Path) -> int:
    written, columns = 0, modality_of(found.modality).columns
    for start in range(0, entry.num_images, SEGMENT_LENGTH):
        indices = range(start, min(start + SEGMENT_LENGTH, entry.num_images))
        for index, jpegs in zip(indices, _jpegs(found, entry, indices), strict=True):
            for column, jpeg in zip(columns, jpegs, strict=True):
                path = folder / column.file.format(index + 1)
                if path.exists() and path.stat().st_size == len(jpeg):
                    continue
                partial = path.with_name(f".{path.name}{storage.PARTIAL}")
                partial.write_bytes(jpeg)
                partial.replace(path)
                written += 1
    return written
