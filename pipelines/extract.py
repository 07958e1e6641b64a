"""Extract frames and optical flow of a manifest's videos, a Parquet shard set each, decoding every video once.

kinebert extract --manifest manifest.parquet --frames sets/rgb --flow sets/flow
ray job submit --working-dir . -- python pipelines/extract.py --manifest /data/m.parquet --frames /data/rgb \\
    --flow /data/flow
"""

import sys

from kinebert.pipelines.extraction import BOTH_PRESETS, ExtractConfig, main
from kinebert.pipelines.options import run


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, ExtractConfig, args, "kinebert extract", from_file=True, presets=BOTH_PRESETS)


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
