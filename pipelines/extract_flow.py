"""Extract TV-L1 optical flow from the videos of a manifest into Parquet shards.

kinebert extract-flow --manifest manifest.parquet --output sets/flow
ray job submit --working-dir . -- python pipelines/extract_flow.py --manifest /data/m.parquet --output /data/flow
"""

import sys

from kinebert.pipelines.extraction import FLOW_PRESETS, ExtractFlowConfig, main
from kinebert.pipelines.options import run


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, ExtractFlowConfig, args, "kinebert extract-flow", from_file=True, presets=FLOW_PRESETS)


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
