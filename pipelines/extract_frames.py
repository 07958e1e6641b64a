"""Extract RGB frames from the videos of a manifest into Parquet shards.

kinebert extract-frames --manifest manifest.parquet --output sets/rgb
ray job submit --working-dir . -- python pipelines/extract_frames.py --manifest /data/m.parquet --output /data/rgb
"""

import sys

from kinebert.pipelines.extraction import ExtractFramesConfig, main
from kinebert.pipelines.options import run


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, ExtractFramesConfig, args, "kinebert extract-frames", from_file=True)


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
