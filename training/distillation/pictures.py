"""Shard sets of a training whose teacher sees other pictures than its student: one draw of clip, crop and mirroring.

Axes: N clips, T frames, H height, W width, C channels.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.modalities import streams_of
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.storage import resolve_uri
from kinebert.training.aligned import AlignedShards, sets_of
from kinebert.training.checkpoints.state import about
from kinebert.training.data.transforms import on_device
from kinebert.training.data.windows import Windows
from kinebert.training.recipe.train import TrainRecipe
from kinebert.training.shards import Shards

Clips = Tensor | Windows


@dataclass(frozen=True, eq=False)
class Pictures:
    """What is read for a training."""

    read: Shards
    """What its clips are cut from: the student's channels, and after them those of a teacher who has its own set."""
    own: Shards
    """The student's set, which validation reads."""
    taught: Shards
    """The teacher's set; the student's own where both see the same."""

    @property
    def same(self) -> bool:
        """Whether nothing is read for a teacher alone."""
        return self.read is self.own

    def codes(self, clips: Clips, device: Any) -> Clips:
        """Return clips such that :meth:`students` and :meth:`teachers` can take what is theirs."""
        return clips if self.same else on_device(clips, self.read.modality, device)

    def students(self, codes: Clips) -> Clips:
        """Return the student's channels of :meth:`codes`."""
        return codes if isinstance(codes, Windows) or self.same else codes[..., : self._own_channels]

    def teachers(self, codes: Clips) -> Clips:
        """Return the teacher's channels of :meth:`codes`."""
        return codes if isinstance(codes, Windows) or self.same else codes[..., self._own_channels :]

    def about(self) -> dict[str, Any]:
        """Return what a training remembers of its sets."""
        told = about(self.own)
        return told if self.same else {**told, "teacher": about(self.taught)}

    @property
    def _own_channels(self) -> int:
        return max(int(channels.stop) for channels in streams_of(self.own.modality).values())


def pictures_of(recipe: TrainRecipe, shards: Shards) -> Pictures:
    """Return what is read for a training.

    Args:
        recipe: Of the whole training.
        shards: The set that the student sees, opened.

    Raises:
        UserError: If the teacher's set cannot be opened, or does not hold the same frames of the same videos.
    """
    uri = recipe.distill.shards if recipe.distill is not None else ""
    if not uri:
        return Pictures(shards, shards, shards)
    if recipe.data.flow_stack > 1:
        raise UserError(
            f"distill.shards lies beside the student's set, and data.flow_stack is {recipe.data.flow_stack}: aligned "
            "clips are not stacked. Leave one of them out."
        )
    assert isinstance(shards, (ShardSet, AlignedShards)), "only sets on disk lie beside each other"
    taught = ShardSet.open(resolve_uri(uri))
    return Pictures(AlignedShards([*sets_of(shards), taught]), shards, taught)
