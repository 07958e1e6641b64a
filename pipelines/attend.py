"""Draw which moments of a clip a recognizer's classification token looks at.

kinebert attend runs/rgb/best.pt --set sets/rgb --video VIDEO_ID
"""

import sys
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from kinebert.orchestration.printing import say, say_json
from kinebert.pipelines.options import run
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.storage import explained, resolve_uri, write_bytes


@dataclass(frozen=True, kw_only=True)
class AttendConfig:
    """Draw clips of a shard set (PNG) with the attention of the classification token to each time step under them.

    For every layer: bars for the mean over the attention heads, and a row of cells for each head. Only recognizers with
    a BERT head have such a token.
    """

    checkpoint: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHECKPOINT")]
    """best.pt of a training (path or URI)."""
    set: Annotated[str | None, tyro.conf.arg(metavar="SET")] = None
    """Shard set (path or URI); by default that of the training."""
    beside: Annotated[tuple[str, ...], tyro.conf.arg(metavar="SET...")] = ()
    """With --set, of a network of several streams: the further sets."""
    video: Annotated[tuple[str, ...], tyro.conf.arg(metavar="VIDEO_ID...")] = ()
    """Which videos; index.parquet lists them."""
    videos: int | None = None
    """Without --video: so many videos, evenly spaced in the part; 1 if nothing is said."""
    part: str | None = None
    """Part of the training's split that they are taken from; by default the one that training measured itself on."""
    views: Literal["single", "multi"] = "single"
    """single: the centre clip of each video; multi: all clips that fit without overlap."""
    output: Annotated[str | None, tyro.conf.arg(metavar="PNG")] = None
    """Picture to write; by default attention.png in the present folder."""
    device: str = "auto"
    """auto takes a GPU if there is one; or cpu, cuda, cuda:1."""
    json: bool = False
    """Print the numbers as JSON instead of lines for people."""


def main(config: AttendConfig) -> int:
    """Look, draw, and return the exit status."""
    if config.videos is not None and (config.video or config.videos < 1):
        raise ConfigError("give --video VIDEO_ID, or --videos with a number of at least 1, not both.")
    checkpoint = resolve_uri(config.checkpoint)
    output = resolve_uri(config.output or "attention.png")
    from kinebert.orchestration.reports.attention_figure import MOST_CLIPS, draw_attention  # slow imports
    from kinebert.orchestration.reports.drawing import to_png
    from kinebert.training.evaluation.attention import attend_videos

    found = attend_videos(
        checkpoint,
        config.set,
        config.video,
        num_videos=config.videos or 1,
        part=config.part,
        views=config.views,
        device=config.device,
        most=MOST_CLIPS,
        beside=config.beside,
    )
    clips, shards = found.clips, found.shards
    with explained(output, "write this picture"):
        write_bytes(output, to_png(draw_attention(clips, shards.flow_bound)))
    if config.json:
        plain = {"checkpoint": checkpoint, "set": shards.uri, "picture": output, "clips": [c.plain() for c in clips]}
        say_json(plain)
        return 0
    for clip in clips:
        say(f"{clip.video_id}: taken for {clip.predicted} ({clip.probability:.0%}); it is {clip.label or 'unknown'}")
        for layer in clip.layers:
            token, *steps = [f"{share:.0%}" for share in layer.mean.tolist()]
            say(f"  {layer.name}: {' '.join(steps)}, itself {token}")
    if found.recognizer.config.get("readout") == "mean":
        say("note: this recognizer reads out the mean over the steps; its token only takes part in it")
    say(f"drawn to {output}")
    return 0


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, AttendConfig, args, "kinebert attend")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
