"""Find the people in videos or stored frames, and store pictures drawn of them, with their joints, in Parquet shards.

kinebert extract-pose --backend blazepose --manifest manifest.parquet --output sets/pose
ray job submit --working-dir . -- python pipelines/extract_pose.py --backend blazepose --manifest /data/m.parquet \\
    --output /data/pose
"""

import sys
from dataclasses import fields

from kinebert.orchestration.printing import say
from kinebert.pipelines.extraction import ExtractPoseConfig, main
from kinebert.pipelines.options import run
from kinebert.preprocessing.pose.estimator import PoseBackend, all_backends


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    if args == ["--backends"]:
        say(*(line for backend in all_backends() for line in about(backend)))
        return 0
    return run(main, ExtractPoseConfig, args, "kinebert extract-pose", from_file=True)


def about(backend: PoseBackend) -> list[str]:
    """Return lines on what a backend is and takes."""
    files = [
        f"  --weights {file.role}=FILE  {file.about}{' (can be left out)' if file.optional else ''}"
        for file in backend.files
    ]
    params = backend.params()
    values = [f"  --set {each.name}={getattr(params, each.name)!r}" for each in fields(params)]
    obtain = [f"  {backend.obtain}"] if backend.obtain else []
    return [
        f"{backend.name}: {backend.about}",
        f"  licence of its weights: {backend.licence}",
        *obtain,
        *files,
        *values,
    ]


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
