"""Commands of pages, which programs must understand; their jobs are not done, whose own tests do them."""

import importlib
import itertools
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from kinebert.pipelines.cli import PROGRAMS
from tests.helpers.paths import ROOT

JOBS = {
    "index": "pipelines.index_videos.index",
    "extract": "orchestration.jobs.extraction.extract_both",
    "extract-frames": "orchestration.jobs.extraction.extract",
    "extract-flow": "orchestration.jobs.extraction.extract",
    "pose-weights": "preprocessing.pose.wheels.fetch_weights",
    "show": "preprocessing.sets.video_sheet.draw_video",
    "train": "orchestration.jobs.training.train",
    "evaluate": "orchestration.jobs.evaluation.evaluate",
    "fuse": "orchestration.jobs.fusion.fuse",
}
"""What each program calls once it has understood what it is to do."""


def commands_of(page: str) -> list[str]:
    """Return the lines of a page's plain blocks that begin with a command."""
    text = (ROOT / "docs" / page).read_text()
    return [line for block in re.findall(r"```\n(kinebert.*?)```", text, re.DOTALL) for line in block.splitlines()]


def expanded(word: str) -> list[str]:
    """Expand the braces of a word as a shell does."""
    parts = re.split(r"\{(.+?)\}", word)
    return ["".join(some) for some in itertools.product(*(p.split(",") if i % 2 else [p] for i, p in enumerate(parts)))]


def understood(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a command to its program, and return what that asks its job for."""
    monkeypatch.chdir(folder)
    asked: list[Any] = []

    def job(request: Any, *_: Any) -> None:
        asked.append(request)
        raise KeyboardInterrupt

    _, name, *args = [word for words in shlex.split(command) for word in expanded(words)]
    place = "orchestration.jobs.dry_run.dry_run" if "--dry-run" in args else JOBS[name]
    monkeypatch.setattr(f"kinebert.{place}", job)
    assert importlib.import_module(f"kinebert.pipelines.{PROGRAMS[name][0]}").cli(args) == 130
    return asked[0]
