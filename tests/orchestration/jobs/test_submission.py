"""What goes with a job, what is refused before anything is sent, and how a job is followed."""

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kinebert.orchestration.jobs import submission
from kinebert.orchestration.jobs.submission import Jobs, environment, packed
from kinebert.pipelines import submit
from kinebert.preprocessing.errors import ConfigError, UserError


def test_the_code_goes_and_nothing_else(tmp_path: Path) -> None:
    with packed(["a.mp4", "--output", "/data/x"]) as pack:
        assert sorted(path.name for path in pack.folder.iterdir()) == ["kinebert"]
        assert not list(pack.folder.rglob("__pycache__"))
        assert pack.args == ("a.mp4", "--output", "/data/x")
        assert 100_000 < pack.num_bytes < 10 * 2**20
        line = [sys.executable, "-c", "import kinebert.pipelines.train; print(kinebert.pipelines.train.__file__)"]
        done = subprocess.run(line, cwd=pack.folder, env={"PYTHONPATH": ""}, capture_output=True, text=True)
        assert done.stdout.startswith(str(pack.folder)), done.stderr
    assert not pack.folder.exists()


def test_recipes_of_this_machine_travel_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("epochs = 1")
    monkeypatch.chdir(tmp_path)
    known = submission.PACKAGE / "pipelines" / "recipes" / "rgb.toml"
    with packed(["mine.toml", str(known), "other.toml", "--set", "epochs=2"]) as pack:
        first, second, *rest = pack.args
        assert (pack.folder / first).read_text() == "epochs = 1"
        assert first.endswith("/mine.toml")
        assert second == "kinebert/pipelines/recipes/rgb.toml"
        assert (pack.folder / second).exists()
        assert rest == ["other.toml", "--set", "epochs=2"]
    mine.write_text("epochs = 2")
    with packed(["mine.toml"]) as pack:
        assert pack.args[0] != first  # another content is another command


def test_what_is_included(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights.pth").write_bytes(b"w")
    with packed([], [str(tmp_path / "weights.pth")]) as pack:
        assert (pack.folder / "weights.pth").read_bytes() == b"w"
    with pytest.raises(UserError, match="nothing.pth: there is no such file"), packed([], ["nothing.pth"]):
        pass
    (tmp_path / "kinebert").mkdir()
    with (
        pytest.raises(UserError, match="the job's folder has kinebert already"),
        packed([], [str(tmp_path / "kinebert")]),
    ):
        pass
    (tmp_path / "large").write_bytes(b"x" * 3 * 2**20)
    monkeypatch.setattr(submission, "MAX_BYTES", 2**22)
    with (
        pytest.raises(
            UserError, match=r"would be \d MiB, Ray takes 4. The largest: large \(3 MiB\), .*every node sees"
        ),
        packed([], [str(tmp_path / "large")]),
    ):
        pass


def test_which_variables_go_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    monkeypatch.setenv("SECRET", "s")
    assert environment(["A=1=2", "SECRET"]) == {"MLFLOW_TRACKING_URI": "http://mlflow:5000", "A": "1=2", "SECRET": "s"}
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert environment([]) == {}
    with pytest.raises(ConfigError, match="--env NOT_SET: NOT_SET is not set here. Write NAME=VALUE"):
        environment(["NOT_SET"])
    with pytest.raises(ConfigError, match="AWS_SECRET_ACCESS_KEY: Ray would show this key on its dashboard") as error:
        environment(["AWS_SECRET_ACCESS_KEY=hidden"])
    assert "hidden" not in str(error.value)


class Server:
    """A job server whose log breaks off after some pieces, and is told from its beginning again."""

    def __init__(self, pieces: list[str], breaks: list[int], code: int | None, status: str = "SUCCEEDED") -> None:
        self.pieces, self.breaks, self.code, self.status = pieces, breaks, code, status
        self.gone: Exception | None = None
        self.ends_at = 99

    async def tail_job_logs(self, _: str) -> AsyncIterator[str]:
        stop = self.breaks.pop(0) if self.breaks else len(self.pieces)
        for piece in self.pieces[:stop]:
            yield piece
        if stop < len(self.pieces):
            raise RuntimeError("WebSocket connection closed unexpectedly")

    def get_job_info(self, _: str) -> Any:
        if self.gone:
            raise self.gone
        running = len(self.breaks) > self.ends_at
        status = SimpleNamespace(is_terminal=lambda: not running, value=self.status)
        return SimpleNamespace(status=status, driver_exit_code=self.code, message="stopped by somebody")


def jobs_of(server: Server) -> Jobs:
    jobs = Jobs.__new__(Jobs)
    jobs.address, jobs._client = "http://head:8265", server  # type: ignore[assignment]
    return jobs


@pytest.mark.parametrize(
    ("code", "status", "ours"), [(0, "SUCCEEDED", 0), (2, "FAILED", 2), (-9, "FAILED", 137), (None, "STOPPED", 143)]
)
def test_the_exit_status_is_the_job_s(code: int | None, status: str, ours: int) -> None:
    assert jobs_of(Server(["a"], [], code, status)).follow("job") == ours


def test_a_log_that_breaks_off_is_taken_up_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(submission, "_RECONNECT_S", (0.0, 0.0))
    server = Server(["one\n", "two\n", "three\n"], [2, 1], 0)
    assert jobs_of(server).follow("job") == 0
    assert capsys.readouterr().out == "one\ntwo\nthree\n"
    quiet = Server(["one\n", "two\n"], [1] * 9, 0)
    quiet.ends_at = 0  # runs on while its log is cut nine times
    assert jobs_of(quiet).follow("job") == 0
    assert capsys.readouterr().out == "one\ntwo\n"
    assert jobs_of(Server(["one\n", "two\n"], [1, 1, 1], 7)).follow("job") == 7  # its log is lost, its status is not
    gone = Server(["one\n", "two\n"], [1, 1, 1], 0)
    gone.gone = ConnectionError("refused")
    with pytest.raises(UserError, match=r"lost the connection to job: refused.*The job goes on; the same command"):
        jobs_of(gone).follow("job")


def test_a_cluster_that_was_started_anew_knows_no_job() -> None:
    server = Server(["one\n", "two\n"], [1], 0)
    server.gone = RuntimeError("Request failed with status code 404: Job job does not exist.")
    with pytest.raises(UserError, match=r"knows job no more: the cluster was started anew.*The same command submits"):
        jobs_of(server).follow("job")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "no program is named. Write kinebert submit"),
        (["--", "submit", "--", "train"], "there is no program 'submit'"),
        (["--", "trian", "r.toml"], "there is no program 'trian'"),
        (["train", "r.toml"], "no address: expected that of a cluster's job server"),
        (["--address", "head:8265", "--", "train"], "head:8265: expected that of a cluster's job server"),
        (["--address", "http://127.0.0.1:9", "--", "train"], "http://127.0.0.1:9: no job server answers there"),
    ],
)
def test_mistakes(
    args: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    assert submit.cli(args) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
