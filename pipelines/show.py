"""Draw a contact sheet of one video: frames with their flow in the usual colour wheel, and their poses.

kinebert show sets/flow VIDEO_ID
"""

import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from kinebert.orchestration.printing import say
from kinebert.pipelines.options import run
from kinebert.preprocessing.storage import explained, resolve_uri, write_bytes


@dataclass(frozen=True, kw_only=True)
class ShowConfig:
    """Draw a contact sheet (PNG) of one stored video: its frames, its flow in the usual colour wheel, and its poses."""

    set: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SET")]
    """Folder (path or URI) of a set of frames, flow or poses."""
    video_id: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="VIDEO_ID")]
    """Which video; index.parquet lists them."""
    others: Annotated[tuple[str, ...], tyro.conf.arg(name="with", metavar="SET...")] = ()
    """Sets of other kinds to draw beside, one or several; by default they are looked for next to the first."""
    output: Annotated[str | None, tyro.conf.arg(metavar="PNG")] = None
    """Picture to write; by default VIDEO_ID.png in the present folder."""
    images: int = 12
    """Frames to draw, evenly spaced."""


def main(config: ShowConfig) -> int:
    """Draw the sheet and return the exit status."""
    from kinebert.preprocessing.sets.folder import describe_flow  # slow imports
    from kinebert.preprocessing.sets.video_sheet import draw_video

    sheet = draw_video(config.set, config.video_id, config.others, config.images)
    output = resolve_uri(config.output or f"{config.video_id.replace('/', '_')}.png")
    with explained(output, "write this picture"):
        write_bytes(output, sheet.png())
    say(f"{' and '.join(sheet.uris)}: {config.video_id} drawn to {output}")
    if sheet.flow is not None and (line := describe_flow(sheet.flow.dataset.flow)) is not None:
        say(f"  {line}")
    return 0


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, ShowConfig, args, "kinebert show")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
