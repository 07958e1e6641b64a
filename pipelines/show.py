"""Draw a contact sheet of one video: frames with their flow in the usual colour wheel.

kinebert show sets/flow VIDEO_ID
"""

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from kinebert.orchestration.printing import say
from kinebert.pipelines.options import run
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.modalities import modality_of
from kinebert.preprocessing.storage import exists, explained, is_local, join, resolve_uri, write_bytes

if TYPE_CHECKING:
    from kinebert.preprocessing.sets.reader import ShardSet


@dataclass(frozen=True, kw_only=True)
class ShowConfig:
    """Draw a contact sheet (PNG) of one stored video: its frames, and its flow in the usual colour wheel."""

    set: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SET")]
    """Folder (path or URI) of a set of frames or flow."""
    video_id: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="VIDEO_ID")]
    """Which video; index.parquet lists them."""
    other: Annotated[str | None, tyro.conf.arg(name="with", metavar="SET")] = None
    """Set of the other kind to draw beside; by default one is looked for next to the first."""
    output: Annotated[str | None, tyro.conf.arg(metavar="PNG")] = None
    """Picture to write; by default VIDEO_ID.png in the present folder."""
    images: int = 12
    """Frames to draw, evenly spaced."""


def main(config: ShowConfig) -> int:
    """Draw the sheet and return the exit status."""
    if config.images < 1:
        raise ConfigError(f"images must be at least 1, got {config.images}.")
    import cv2  # slow imports

    from kinebert.preprocessing.sets.contact_sheet import contact_sheet
    from kinebert.preprocessing.sets.folder import describe_flow
    from kinebert.preprocessing.sets.reader import ShardSet

    first = ShardSet.open(resolve_uri(config.set))
    first.entry(config.video_id)
    second = ShardSet.open(resolve_uri(config.other)) if config.other else _neighbour(first, config.video_id)
    kinds = {_is_flow(found): found for found in (second, first) if found is not None}
    if second is not None and len(kinds) == 1:
        what = (
            first.modality if first.modality == second.modality else f"{first.modality} or {second.modality}, no flow"
        )
        raise ConfigError(f"{first.uri} and {second.uri} both hold {what}; --with takes the other kind.")
    frames, flow = kinds.get(False), kinds.get(True)
    sheet = contact_sheet(config.video_id, frames, flow, config.images)
    output = resolve_uri(config.output or f"{config.video_id.replace('/', '_')}.png")
    with explained(output, "write this picture"):
        write_bytes(output, cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())
    say(f"{' and '.join(sorted(found.uri for found in kinds.values()))}: {config.video_id} drawn to {output}")
    if flow is not None and (line := describe_flow(flow.dataset.flow)) is not None:
        say(f"  {line}")
    return 0


def _is_flow(found: "ShardSet") -> bool:
    """Whether a set is drawn by the colour wheel, or as the pictures that it holds."""
    return modality_of(found.modality).motion


def _neighbour(first: "ShardSet", video_id: str) -> "ShardSet | None":
    """A finished set of the other kind in the same folder that holds the same frames of the video."""
    from kinebert.preprocessing.sets.dataset_file import DATASET_FILE
    from kinebert.preprocessing.sets.reader import ShardSet

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


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, ShowConfig, args, "kinebert show")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
