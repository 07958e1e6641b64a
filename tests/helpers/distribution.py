"""Which process of a test run gets which files, where there are several."""

from xdist.scheduler import LoadFileScheduling

TOGETHER = {
    "tests/pipelines/test_programs.py": "trained programs",
    "tests/pipelines/test_mistakes.py": "trained programs",
}
"""Files that share what takes as long to make as their tests take."""


class Together(LoadFileScheduling):  # type: ignore[misc] # xdist has no types
    """A process gets a file at a time, or files that belong together."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return TOGETHER.get(file, file)
