"""Functions for Python that look at what is there: sets, clips, networks, recipes. Nothing is changed.

What is wrong is raised as in :mod:`kinebert.functions`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import fspath
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.arguments import Location, of_recipe, plain, several, training_recipe
from kinebert.orchestration.audience import NOBODY, Terminal
from kinebert.orchestration.jobs.requests import TrainingRequest
from kinebert.preprocessing.recipe_names import recipe_names
from kinebert.preprocessing.sets.verify import Verdict, verify_set
from kinebert.preprocessing.storage import explained, resolve_uri, write_bytes

if TYPE_CHECKING:
    from kinebert.orchestration.jobs.dry_run import DryRun
    from kinebert.training.evaluation.attention import ClipAttention
    from kinebert.training.models.sizes.measure import Sizes
    from kinebert.training.recipe.summary import Summary
    from kinebert.training.recipe.train import TrainRecipe


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture, which notebooks show by themselves."""

    png: bytes = field(repr=False)
    """As a PNG file holds it."""

    def save(self, path: Location) -> None:
        """Write it to a file.

        Raises:
            UserError: If that cannot be written.
        """
        uri = resolve_uri(fspath(path))
        with explained(uri, "write this picture"):
            write_bytes(uri, self.png)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """RGB, ``(H, W, 3)``."""
        read: Any = cv2.imdecode(np.frombuffer(self.png, np.uint8), cv2.IMREAD_COLOR)
        return np.ascontiguousarray(read[..., ::-1])

    def _repr_png_(self) -> bytes:
        return self.png


@dataclass(frozen=True, eq=False)
class Attention:
    """What a recognizer's classification token looks at in some clips; notebooks show the picture."""

    clips: "list[ClipAttention]" = field(repr=False)
    """The numbers of each clip."""
    picture: Picture
    """The clips' images, with the attention to each time step under them."""

    def _repr_png_(self) -> bytes:
        return self.picture.png


def show(
    shards: Location, video_id: str, beside: Location | Sequence[Location] | None = None, images: int = 12
) -> Picture:
    """Draw frames of a stored video, its flow in the usual colour wheel, and its poses.

    Args:
        shards: A set of frames, flow or poses.
        video_id: Which video.
        beside: A set of another kind to draw with it, or several; by default they are looked for in the same folder.
        images: Frames to draw, evenly spaced.
    """
    from kinebert.preprocessing.sets.video_sheet import draw_video

    others = [fspath(where) for where in ([] if beside is None else several(beside))]
    return Picture(draw_video(fspath(shards), video_id, others, images).png())


def attend(
    checkpoint: Location, shards: Location | None = None, videos: str | Sequence[str] = (), **options: Any
) -> Attention:
    """Look which moments of a clip the classification token of a BERT head looks at.

    Args:
        checkpoint: ``best.pt`` of a training.
        shards: Shard set; by default that of the training.
        videos: Ids of videos of the set; by default one from the middle of the part that training measured itself on.
        options: ``num_videos`` and ``part`` choose other ones; ``views="multi"`` takes all clips of a video, and
            ``device`` says where the network runs.
    """
    from kinebert.orchestration.reports.attention_figure import MOST_CLIPS, draw_attention  # slow imports
    from kinebert.orchestration.reports.drawing import to_png
    from kinebert.training.evaluation.attention import attend_videos

    uri, where = None if shards is None else fspath(shards), resolve_uri(fspath(checkpoint))
    found = attend_videos(where, uri, several(videos) if videos else (), most=MOST_CLIPS, **plain(options))
    return Attention(found.clips, Picture(to_png(draw_attention(found.clips, found.shards.flow_bound))))


def verify(shards: Location, *, decode: bool = True, threads: int = 1) -> Verdict:
    """Check that a shard set is whole: counts, digests, every image, and nothing that does not belong.

    Args:
        shards: The set.
        decode: Decode every image; without it only counts, digests and leftovers are checked.
        threads: Shards that are looked at side by side.
    """
    return verify_set(resolve_uri(fspath(shards)), decode=decode, threads=threads)


def describe(
    recipe: "TrainRecipe | Mapping[str, Any] | Location",
    *,
    changes: Mapping[str, Any] | None = None,
    num_classes: int = 51,
    flow_stack: int | None = None,
) -> "Sizes":
    """Count the parameters and multiply-adds of a recipe's network and of its parts, for one clip.

    Args:
        recipe: As for :func:`kinebert.train`.
        changes: Values to take instead of the recipe's: ``{"model.head": "tgap"}``.
        num_classes: Scores that the network returns.
        flow_stack: Flow fields in the channels of one image; None for the recipe's.
    """
    from kinebert.training.models.sizes.measure import sizes_of

    of, _ = training_recipe(recipe, {"data.shards": "", **(changes or {})})  # nothing is read
    return sizes_of(
        **of.model.arguments(),
        modality=of.data.modality or "rgb",
        flow_stack=of.data.flow_stack if flow_stack is None else flow_stack,
        num_classes=num_classes,
        clip_length=of.data.clip_length,
        size=of.data.crop_size,
    )


def dry_run(
    recipe: "TrainRecipe | Mapping[str, Any] | Location",
    output: Location | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    verbose: bool = False,
    **options: Any,
) -> "DryRun":
    """Find out what :func:`kinebert.train` would do with the same arguments; nothing is trained, written or fetched.

    Args:
        recipe: As for :func:`kinebert.train`.
        output: As for :func:`kinebert.train`.
        changes: As for :func:`kinebert.train`.
        verbose: Show notes and warnings.
        options: Other fields of :class:`.TrainingRequest`.

    Returns:
        The recipe as it would run, its data, memory, workers and updates.

    Raises:
        UserError: If the training would be refused.
    """
    from kinebert.orchestration.jobs import dry_run as job

    request = TrainingRequest(**of_recipe(recipe, changes, output, "runs"), **plain(options))
    return job.dry_run(request, Terminal() if verbose else NOBODY)


def recipes() -> "list[Summary]":
    """Return the recipes that come with the project, by name: purpose, network, data and cost of each."""
    from kinebert.training.recipe.summary import summary

    return [summary(name) for name in recipe_names()]
