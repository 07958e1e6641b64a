"""Errors that a user can act on. Every message says what was expected, what was found, where, and what to do."""


class UserError(Exception):
    """The input or the environment is wrong; the program is not. Ends a command with one line and status 2."""


class ConfigError(UserError):
    """A configuration value is missing, unknown or out of range."""


class VideoError(UserError):
    """One video cannot be used. Becomes a row that says why; never ends a job."""

    def __init__(self, video_id: str, stage: str, problem: str) -> None:
        super().__init__(f"{video_id}: {stage}: {problem}")
        self.video_id, self.stage, self.problem = video_id, stage, problem

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:  # survives the trip between processes
        return type(self), (self.video_id, self.stage, self.problem)
