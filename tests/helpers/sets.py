"""Shard sets made in this process, without a cluster, for the tests of what reads them."""

from collections.abc import Sequence
from pathlib import Path

from kinebert.preprocessing import storage
from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.guard import Limits, sweep
from kinebert.preprocessing.extraction.solvers import Solver
from kinebert.preprocessing.extraction.task import BuildShard
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.folder import claim_output, finish_set
from kinebert.preprocessing.sets.plan import plan_shards
from kinebert.preprocessing.sets.reader import ShardSet
from tests.helpers.videos import manifest_rows, moving_texture, write_video


def small_recipe(shards: object, *, epochs: int, head: str = "tgap") -> str:
    """A training of seconds, as TOML; the table ``[model]`` is the last, so that keys and tables may be added."""
    return f"""
batch_size = 4
micro_batch = 2
epochs = {epochs}
[data]
shards = "{shards}"
clip_length = 4
crop_size = 32
[model]
backbone = "resnet18"
head = "{head}"
width = 0.125
"""


def make_videos(folder: Path, lengths: Sequence[int], classes: int = 2, size: tuple[int, int] = (64, 48)) -> None:
    """Write videos ``class0/v00.mp4`` and so on, of so many frames each."""
    for i, length in enumerate(lengths):
        frames = moving_texture(length, *size, seed=i)
        write_video(folder / f"class{i % classes}" / f"v{i:02d}.mp4", frames)


def make_rows(folder: Path, lengths: Sequence[int], classes: int = 2) -> list[ManifestRow]:
    """Write videos and list them; every third is in the part ``val``, the others in ``train``."""
    make_videos(folder, lengths, classes)
    return manifest_rows(folder, part=lambda i: "val" if i % 3 == 2 else "train")


def make_set(
    rows: Sequence[ManifestRow],
    output: Path | str,
    recipe: FrameRecipe,
    videos_per_shard: int = 2,
    solver: Solver | None = None,
) -> ShardSet:
    """Extract ``rows`` in this process."""
    storage.make_folder(str(output))
    shards = claim_output(str(output), recipe, plan_shards(rows, videos_per_shard))
    build = BuildShard(output=str(output), recipe=recipe, limits=Limits(), run_id="", solver=solver or FlowSolver())
    finish_set(str(output), recipe, rows, [build(shard) for shard in shards])
    sweep(str(output))
    return ShardSet.open(str(output))


RECIPE_OF_PROGRAMS = f"""
{small_recipe("{shards}", epochs=1, head="bert")}
[test]
clips = "multi"
crops = 10
"""
"""What programs are tried with; ``{shards}`` is the set."""
