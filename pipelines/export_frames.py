"""Write a shard set as the classic folders of one picture per frame.

kinebert export-frames sets/rgb --output folders
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from kinebert.orchestration.printing import say
from kinebert.orchestration.progress import Counted, ProgressLine
from kinebert.pipelines.options import run
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.storage import check_writable, is_local, resolve_uri


@dataclass(frozen=True, kw_only=True)
class ExportFramesConfig:
    """Write OUTPUT/VIDEO_ID/img_00001.jpg ... (or flow_x_00001.jpg, flow_y_00001.jpg ...) for tools that read those.

    Stored JPEG bytes are copied; frames of a set of codec h264 are decoded, and become JPEGs of quality 95. A set of
    frames and one of flow may share an output.
    """

    set: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SET")]
    """Folder (path or URI) of the set."""
    output: str
    """Local folder to write to."""


def main(config: ExportFramesConfig) -> int:
    """Write the pictures and return the exit status."""
    output = resolve_uri(config.output)
    if not is_local(output):
        raise ConfigError(f"{output}: pictures are written to a local folder; copy it to other storage afterwards.")
    from kinebert.preprocessing.sets.export import export_frames  # OpenCV, after the quick refusals
    from kinebert.preprocessing.sets.reader import ShardSet

    found, line = ShardSet.open(resolve_uri(config.set)), ProgressLine()
    check_writable(output)
    counted = Counted("videos")
    written = export_frames(found, Path(output), on_video=lambda done, total: line.show(counted(done, total)))
    line.close(f"{len(found.videos)}/{len(found.videos)} videos")
    say(f"{written} pictures written, those that were there are kept: {output}")
    if found.rejected:
        say(f"{len(found.rejected)} videos were left out at extraction: {found.uri}/dataset.json says why")
    return 0


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, ExportFramesConfig, args, "kinebert export-frames")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
