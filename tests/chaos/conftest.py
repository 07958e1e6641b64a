"""What all of these tests start, and end whatever they find."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.processes import Program

Launch = Callable[..., Program]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Start a program of ours by its name and arguments; keyword arguments are added to its environment."""
    programs: list[Program] = []

    def begin(name: str, *args: str, **env: str) -> Program:
        programs.append(Program(name, list(args), tmp_path / f"p{len(programs)}", **env))
        return programs[-1]

    yield begin
    for program in programs:
        program.tidy_up()
