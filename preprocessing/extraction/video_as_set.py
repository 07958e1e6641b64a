"""One video as a shard set of its own, in a folder that is thrown away: what reads sets can read new videos as well.

The pictures are those that an extraction with the same recipe stores, byte for byte, JPEG included. They lie on the
disk, not in memory, however long the video is.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kinebert.preprocessing import storage
from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.extraction.guard import MAX_PIXELS
from kinebert.preprocessing.extraction.one_video import extract_frames
from kinebert.preprocessing.extraction.solvers import Solver
from kinebert.preprocessing.recipe import RECIPES, FrameRecipe
from kinebert.preprocessing.schema import FORMAT_VERSION
from kinebert.preprocessing.sets.dataset_file import Counts, DatasetFile, ShardFacts
from kinebert.preprocessing.sets.index import Index, VideoEntry
from kinebert.preprocessing.sets.plan import PlannedShard, PlannedVideo
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.sets.writer import open_shard
from kinebert.preprocessing.video.frame_choice import Run
from kinebert.preprocessing.video.frames import VideoFrames

_SHARD = "shard-00000-of-00001.parquet"


def recipe_of(plain: Mapping[str, Any], digest: str, where: str) -> FrameRecipe:
    """Return the extraction recipe that :meth:`FrameRecipe.plain` made plain.

    Args:
        plain: As a shard set or a checkpoint keeps it.
        digest: Of the recipe.
        where: Named in errors.

    Raises:
        UserError: If this version would make other pictures.
    """
    values = {key: value for key, value in plain.items() if key not in ("format", "modality")}
    if plain.get("format") == FORMAT_VERSION:
        recipe = from_mapping(RECIPES.get(str(plain.get("modality")), FrameRecipe), values, where)
        if recipe.digest() == digest:
            return recipe
    raise UserError(
        f"{where}: this version does not make the pictures that it was trained on (recipe {digest}). Use the version "
        "that made them, or extract and train again."
    )


def video_set(
    path: str,
    folder: str,
    recipe: FrameRecipe,
    classes: Sequence[str],
    solver: Solver,
    beat: Callable[[], None] = lambda: None,
    max_pixels: int = MAX_PIXELS,
    on_run: Callable[[Run], None] = lambda run: None,
) -> ShardSet:
    """Extract one video into ``folder`` and return it as a set of one video without a label.

    Args:
        path: Local path or URI; it is the video's id as well.
        folder: A local folder, empty.
        recipe: What is stored.
        classes: Names of the classes that the set is said to have.
        solver: Who makes flow or poses, as the recipe asks.
        beat: Called for every image.
        max_pixels: Most pixels of one picture as coded.
        on_run: Told which frames of the file were taken, at the end.

    Raises:
        VideoError: If the video cannot be used.
    """
    uri = storage.join(folder, _SHARD)
    video = PlannedVideo(path, path, 0, None)
    if recipe.solving is not None:
        solver = solver.ready(recipe.solving)
    frames = VideoFrames(path, recipe.decoded, max_pixels=max_pixels)
    summary, spool = extract_frames(path, frames, recipe, beat, solver)
    assert frames.run is not None, "it was iterated over"
    on_run(frames.run)
    digest = PlannedShard(_SHARD, (video,)).files_digest()
    with open_shard(uri, recipe, digest, None if recipe.solving is None else solver.name()) as writer:
        for row in spool.rows():
            writer.append(row)
        num_row_groups = writer.num_row_groups
        writer.describe([summary])
    entry = VideoEntry(
        video_id=path,
        label=-1,
        label_name="",
        splits={},
        shard=_SHARD,
        first_row_group=0,
        num_row_groups=num_row_groups,
        num_frames=summary.num_frames,
        num_images=summary.num_images,
        width=summary.width,
        height=summary.height,
        truncated=summary.truncated,
        problem=summary.problem,
    )
    size = storage.file_size(uri)
    counts = Counts(
        videos=1,
        stored=1,
        rejected=0,
        truncated=summary.truncated,
        frames=summary.num_frames,
        images=summary.num_images,
        bytes=size,
        shards=1,
    )
    sha256 = storage.file_digest(uri)
    dataset = DatasetFile(
        format=FORMAT_VERSION,
        modality=recipe.modality,
        recipe=recipe.plain(),
        digest=recipe.digest(),
        content=sha256,
        labels="",
        classes=list(classes),
        counts=counts,
        shards=[ShardFacts(name=_SHARD, bytes=size, sha256=sha256, files=digest)],
        rejected=[],
    )
    return ShardSet(folder, dataset, Index.of([entry], dataset.shards))
