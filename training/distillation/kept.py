"""A teacher's answers on disk, where every epoch shows it the same clips."""

import io
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from kinebert.preprocessing import storage
from kinebert.preprocessing.config import digest, to_plain
from kinebert.preprocessing.errors import UserError
from kinebert.training.recipe.train import TrainRecipe
from kinebert.training.shards import Shards

_OF_CLIPS = ("sampling", "clip_length", "frame_interval", "flow_stack", "crop_size", "eval_scale", "half_size")
"""Keys of ``data`` that decide what a centre clip shows."""


class KeptAnswers:
    """Answers for the centre clip of each video, each a file of its own, in a folder named after all that decides them.

    Several processes, and several trainings, may share it: a file appears whole or not at all.

    Args:
        recipe: Of the training, pinned.
        shards: The set whose pictures the teacher sees.

    Raises:
        UserError: If nothing can be written there.
    """

    def __init__(self, recipe: TrainRecipe, shards: Shards) -> None:
        assert recipe.distill is not None
        distill, data = recipe.distill, to_plain(recipe.data)
        decided = {
            "teacher": distill.teacher_digest,
            "network": None if distill.network is None else to_plain(distill.network),
            "set": [shards.modality, shards.digest, shards.content],
            "clips": {key: data[key] for key in _OF_CLIPS},
            "gives": [distill.method == "bert", distill.method == "logits", distill.every],
            "numbers": [recipe.amp, distill.dtype],
        }
        self.folder = storage.join(storage.resolve_uri(distill.keep_features), digest(decided))
        storage.check_writable(self.folder)

    def of(self, video_ids: Sequence[str], ask: Callable[[], Tensor]) -> Tensor:
        """Return the answers for some videos; those that are not all kept are asked for, and then kept.

        Args:
            video_ids: Of the videos, in their order.
            ask: Returns the teacher's answers for all of them.
        """
        names = [storage.join(self.folder, f"{digest(video_id)}.npy") for video_id in video_ids]
        found = [self._read(name) for name in names]
        known = [answer for answer in found if answer is not None]
        if len(known) == len(names):
            return torch.from_numpy(np.stack(known))
        answers = ask()
        for name, answer, before in zip(names, answers.cpu().numpy(), found, strict=True):
            if before is None:
                buffer = io.BytesIO()
                np.save(buffer, answer, allow_pickle=False)
                with storage.explained(name, "keep a teacher's answer"):
                    storage.write_bytes(name, buffer.getvalue())
        return answers

    def _read(self, name: str) -> np.ndarray | None:
        with storage.explained(name, "read a teacher's answer"):
            if not storage.exists(name):
                return None
            content = storage.read_bytes(name)
        try:
            answer: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise UserError(f"{name}: no answer of a teacher ({error}). Delete it, and it is asked again.") from None
        return answer
