"""Scores of validation parts, where `kinebert evaluate` has left them beside the checkpoint that they are of."""

from collections.abc import Sequence
from dataclasses import dataclass

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.training.evaluation.evaluate import VideoScores, read_scores
from kinebert.training.evaluation.fusion import fuse
from kinebert.training.run_folder import SCORES_FILE, evaluation_name


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Whose scores are looked for."""

    stream: str
    """Name of the stream, for people."""
    folder: str
    """Where its checkpoint lies; empty if that is not known."""
    checkpoint: str
    """Digest of the checkpoint."""
    split: str
    part: str
    """The part that validates its training."""
    views: str
    """Name of the protocol that the fusion's streams are tested on."""


@dataclass(frozen=True, eq=False)
class Found:
    """Validation scores of all streams, or why there are none."""

    tables: Sequence[VideoScores] = ()
    """One for each stream, in their order; or none at all."""
    why_not: str = ""
    """What is missing, if there are none."""


def find_all(wanted: Sequence[Wanted], tested: Sequence[str] = ()) -> Found:
    """Find the validation scores of every stream of a fusion, of the same checkpoints and views.

    Args:
        wanted: Of every stream.
        tested: Videos that are to be measured, of which none may have a say.

    Raises:
        UserError: If a table is damaged.
    """
    tables = [_find(one) for one in wanted]
    missing = [one for one, table in zip(wanted, tables, strict=True) if table is None]
    if missing:
        first, names = missing[0], ", ".join(one.stream for one in missing)
        command = f"kinebert evaluate CHECKPOINT --part {first.part}, with views {first.views}"
        return Found(why_not=f"no scores of {names} on {first.split}/{first.part} beside the checkpoint ({command})")
    found = [table for table in tables if table is not None]
    seen = set(tested).intersection(*(table.video_ids for table in found))
    if seen:
        return Found(why_not=f"{len(seen)} videos of the validation are those that are tested")
    try:
        fuse(found)
    except UserError as error:
        return Found(why_not=f"the validation's scores do not fit each other: {error}")
    return Found(found)


def _find(wanted: Wanted) -> VideoScores | None:
    """Return the scores of one stream, if they lie where they are looked for."""
    if not wanted.folder or not storage.exists(wanted.folder):
        return None
    start = evaluation_name(wanted.split, wanted.part, wanted.views)
    for name in sorted(storage.list_folders(wanted.folder)):
        path = storage.join(wanted.folder, name, SCORES_FILE)
        if name.startswith(start) and storage.exists(path):
            scores = read_scores(path)
            about = (scores.about.get("checkpoint"), scores.tested_part, scores.views)
            if about == (wanted.checkpoint, f"{wanted.split}/{wanted.part}", wanted.views):
                return scores
    return None
