"""Does memory grow with the length of a video? Peak memory of a process that extracts a short and a long one.

python -m tests.benchmarks.extraction_memory
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np

LENGTHS = (500, 20_000)


def write_video(path: Path, num_frames: int) -> None:
    """Encode a texture that moves, 160 x 120."""
    texture = np.random.default_rng(0).integers(0, 255, (120, 320, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for i in range(num_frames):
            picture = np.ascontiguousarray(texture[:, i % 160 : i % 160 + 160])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def extract(path: str, modality: str, output: str) -> None:
    """Extract one video in this process and print what it took."""
    from kinebert.preprocessing.extraction.guard import Limits
    from kinebert.preprocessing.extraction.task import BuildShard
    from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
    from kinebert.preprocessing.sets.plan import PlannedShard, PlannedVideo
    from kinebert.preprocessing.tvl1 import TvL1Params

    quick = TvL1Params(warps=1, nscales=1, outer_iterations=1, inner_iterations=1)  # memory is the question, not flow
    recipe = FrameRecipe() if modality == "rgb" else FlowRecipe(resize="none", tvl1=quick)
    start = time.monotonic()
    shard = PlannedShard("shard-00000-of-00001.parquet", (PlannedVideo("v", path, Path(path).stat().st_size, None),))
    summary = BuildShard(output=output, recipe=recipe, limits=Limits(), run_id="benchmark")(shard)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = time.monotonic() - start
    frames = summary.videos[0].num_frames
    print(f"{modality:>8} {frames:>8} {summary.num_bytes / 1e6:>9.0f} {peak_mib:>9.0f} {seconds:>7.0f}")


def main() -> None:
    """Print the table."""
    print(f"{'modality':>8} {'frames':>8} {'shard MB':>9} {'peak MiB':>9} {'s':>7}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for num_frames in LENGTHS:
            write_video(Path(folder) / f"{num_frames}.mp4", num_frames)
        for modality in ("rgb", "flow"):
            for num_frames in LENGTHS:
                with tempfile.TemporaryDirectory() as output:  # a process each: the peak is the process's
                    path = str(Path(folder) / f"{num_frames}.mp4")
                    subprocess.run([sys.executable, __file__, path, modality, output], check=True)


if __name__ == "__main__":
    extract(*sys.argv[1:]) if len(sys.argv) > 1 else main()
