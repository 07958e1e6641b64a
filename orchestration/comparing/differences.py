"""What differs between runs: recipes, sets, tests and code; stream by stream where one of the runs is a fusion.

Beside a fusion, a value of a single run is that of its stream (``rgb.model.head``). A stream that a run has not is no
difference of each of its values: that the fusion has it is told once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kinebert.orchestration.comparing.runs import FUSION, Run, abouts_of, is_fusion
from kinebert.preprocessing.config import flatten
from kinebert.training.evaluation.view_scores import About

ABSENT = "–"
_ABOUT = ("model", "modality", "epoch", "checkpoint", "shards", "content")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that differs between runs, with its value in each of them."""

    kind: str
    """``recipe``, ``data``, ``test`` or ``code``."""
    name: str
    """Of the value; beside a fusion after its stream: ``rgb.model.head``."""
    values: tuple[str, ...]
    """Of every run; ABSENT where it is not known."""


_Values = Mapping[str, Any]


@dataclass(frozen=True)
class _Side:
    """What is known of one run, by kind and name, and which streams it has."""

    streams: frozenset[str]
    """Names that values of its streams begin with; empty if no run is a fusion."""
    kinds: Mapping[str, _Values]

    def has(self, kind: str, name: str, of_streams: frozenset[str]) -> bool:
        """Whether the run could have a value: its recipe was kept, and it has the stream, if it is one's value."""
        stream = _stream_of(name, of_streams)
        if stream is not None:
            return stream in self.streams and (kind != "recipe" or _mentions(self.kinds[kind], stream))
        return kind != "recipe" or name.startswith(FUSION) or bool(self.kinds[kind])


def differences(runs: Sequence[Run]) -> tuple[list[Difference], int]:
    """Return what differs, and how many values of the recipes do not.

    A recipe that was not kept differs in nothing: that it is not known is one line.
    """
    sides = [_side(run, runs) for run in runs]
    of_streams = frozenset(stream for side in sides for stream in side.streams)
    lines, same = _unknown(sides), 0
    for kind in ("recipe", "data", "test", "code"):
        for name in dict.fromkeys(name for side in sides for name in side.kinds[kind]):
            texts = tuple(
                (_text(side.kinds[kind][name]) if name in side.kinds[kind] else ABSENT)
                if side.has(kind, name, of_streams)
                else None
                for side in sides
            )
            known = {text for text in texts if text is not None}
            if len(known) > 1:
                lines.append(Difference(kind=kind, name=name, values=tuple(text or ABSENT for text in texts)))
            else:
                same += kind == "recipe" and None not in texts
    return lines, same


def _unknown(sides: Sequence[_Side]) -> list[Difference]:
    """Say whose recipe was not kept, if others' were."""
    kept = ["known" if side.kinds["recipe"] else ABSENT for side in sides]
    return [Difference(kind="recipe", name="recipe", values=tuple(kept))] if len(set(kept)) > 1 else []


def _side(run: Run, runs: Sequence[Run]) -> _Side:
    """Gather what is known of a run, under the names of streams if any of the runs is a fusion."""
    abouts = abouts_of(run)
    if is_fusion(run) or not any(map(is_fusion, runs)):
        recipe: _Values = run.recipe
    else:
        about = abouts.get("", About())
        stream = _name_in_fusions(about, runs)
        abouts, recipe = dict.fromkeys([stream], about), _prefixed(run.recipe, stream)
    data: dict[str, Any] = {}
    protocols: dict[str, Any] = {}
    for stream, about in abouts.items():
        data |= _prefixed(_data_of(about), stream)
        protocols |= _prefixed(_protocol_of(about), stream)
    kinds = {"recipe": recipe, "data": data, "test": {**_test_of(run), **protocols}, "code": run.facts}
    return _Side(frozenset(abouts) - {""}, kinds)


def _name_in_fusions(about: About, runs: Sequence[Run]) -> str:
    """Return what a fusion calls the stream that a single run is (the same checkpoint), else the run's modality."""
    for run in filter(is_fusion, runs):
        for name, of in abouts_of(run).items():
            if of.get("checkpoint") and of.get("checkpoint") == about.get("checkpoint"):
                return name
    return str(about.get("modality", "alone"))


def _stream_of(name: str, streams: frozenset[str]) -> str | None:
    """The stream whose value a name is of; the longest, as a fusion may be a stream of another one."""
    return max((stream for stream in streams if name.startswith(f"{stream}.")), key=len, default=None)


def _mentions(values: _Values, stream: str) -> bool:
    return any(name.startswith(f"{stream}.") for name in values)


def _prefixed(values: _Values, stream: str) -> _Values:
    return {f"{stream}.{name}": value for name, value in values.items()} if stream else values


def _data_of(about: About) -> dict[str, Any]:
    extraction = about.get("recipe") or {}
    known = {name: value for name in _ABOUT if (value := about.get(name)) is not None}
    return {**known, **{f"extraction.{key}": value for key, value in flatten(extraction).items()}}


def _protocol_of(about: About) -> dict[str, Any]:
    return {f"protocol.{key}": value for key, value in (about.get("protocol") or {}).items()}


def _test_of(run: Run) -> dict[str, Any]:
    scores = run.scores
    if scores is None:
        return {}
    facts = {"part": scores.tested_part, "views": scores.views}
    return {**facts, "videos": str(len(scores.video_ids)), "rejected": str(len(scores.rejected)), "scale": scores.scale}


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
