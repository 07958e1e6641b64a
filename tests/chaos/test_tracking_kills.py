"""A tracking store that is lost in the middle of work, and comes back: nothing waits, and no work is lost."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.training.checkpoints.state import load_state
from tests.chaos.conftest import Launch
from tests.helpers.mlflow_servers import free_port, mlflow_server
from tests.helpers.processes import Program
from tests.helpers.requirements import missing
from tests.helpers.sets import make_rows, make_set, small_recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

EPOCHS = 400


def test_a_server_that_goes_and_comes_back(tmp_path: Path) -> None:
    shards = make_set(make_rows(tmp_path / "videos", [6] * 12), tmp_path / "set", FrameRecipe(resize="none"))
    recipe, run, port = tmp_path / "recipe.toml", tmp_path / "run", free_port()
    recipe.write_text(small_recipe(shards.uri, epochs=EPOCHS))
    store = f"sqlite:///{tmp_path}/server.db"
    (tmp_path / "artifacts").mkdir()

    def epochs_done() -> int:
        state = load_state(str(run))
        return 0 if state is None else state.epoch

    def server(program: Program | None) -> "Program":
        """Train on, or begin to, while the server is there."""
        with mlflow_server(store, tmp_path / "artifacts", port) as address:
            if program is None:
                args = [str(recipe), "--output", str(run), "--tracking-uri", address]
                program = Program("train", args, tmp_path / "program")
                program.wait_for(lambda: epochs_done() >= 3, "three epochs", 300)
            else:
                assert program.wait(900) == 0, program.errors()
            return program

    program = server(None)
    try:
        lost_at = epochs_done()
        program.wait_for(lambda: epochs_done() >= lost_at + 20, "epochs without a server", 300)
        assert epochs_done() < EPOCHS
        server(program)
        assert "MLflow is out of reach; its numbers are kept and sent later" in program.errors()
        assert "are lost" not in program.errors()
        address = RunAddress.load(str(run))
        assert address is not None
        client = MlflowClient(store)
        losses = client.get_metric_history(address.run_id, "epoch/val_loss")
        assert [metric.step for metric in sorted(losses, key=lambda metric: metric.step)] == list(range(1, EPOCHS + 1))
        steps = {metric.step for metric in client.get_metric_history(address.run_id, "step/loss")}
        assert steps == set(range(1, 2 * EPOCHS + 1))
        assert client.get_run(address.run_id).info.status == "FINISHED"
    finally:
        program.tidy_up()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(folder)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        missing("mount", f"no small disk can be mounted: {getattr(error, 'stderr', error)!r}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> None:
    with suppress(OSError), (disk / "filler").open("ab", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def assert_not_recorded(program: Program) -> None:
    assert program.wait(900) == 3, program.errors()
    assert "database or disk is full. Make room on its disk." in program.errors()
    assert "Traceback" not in program.errors()


def test_a_store_on_a_full_disk(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers wait for room, and are sent when there is some; what does not wait is named."""
    tracker = Tracker.start(f"sqlite:///{disk}/m.db", "e", "run", {})
    fill(disk)
    for step in range(3000):
        tracker.metrics({f"m{step % 30}": float(step)}, step)
    assert not tracker.flush()
    tracker.tags({"note": "v" * 4000})
    (disk.parent / "picture.png").write_bytes(bytes(100_000))
    tracker.artifact(disk.parent / "picture.png", "pictures")
    told = capsys.readouterr().err.splitlines()
    full = "(sqlite3.OperationalError) database or disk is full. Make room on its disk."
    assert told[0] == f"MLflow is out of reach; its numbers are kept and sent later: {full}"
    assert told[1] == f"MLflow did not take the tags note: {full}"
    assert told[2].startswith("MLflow did not take picture.png: [Errno 28] No space left on device")
    assert (len(told), tracker.complete) == (3, False)
    (disk / "filler").unlink()
    assert tracker.end("FINISHED")
    assert not tracker.complete  # its picture is missing
    history = MlflowClient(f"sqlite:///{disk}/m.db").get_metric_history(tracker.address.run_id, "m0")
    assert [metric.step for metric in history] == list(range(0, 3000, 30))


def test_programs_whose_store_is_on_a_full_disk(disk: Path, tmp_path: Path, launch: Launch) -> None:
    """Their work is kept, a line says what MLflow lacks, and so does the status."""
    shards = make_set(make_rows(tmp_path / "videos", [6] * 12), tmp_path / "set", FrameRecipe(resize="none"))
    recipe, run = tmp_path / "recipe.toml", tmp_path / "run"
    recipe.write_text(small_recipe(shards.uri, epochs=30))
    program = launch("train", str(recipe), "--output", str(run), "--tracking-uri", f"sqlite:///{disk}/m.db")
    program.wait_for(lambda: load_state(str(run)), "an epoch", 300)
    fill(disk)
    assert_not_recorded(program)
    state = load_state(str(run))
    assert state is not None
    assert state.epoch == 30
    scoring = "evaluate", str(run / "best.pt"), "--part", "val", "--output", str(tmp_path / "scores")
    assert_not_recorded(launch(*scoring))
    assert (tmp_path / "scores" / "scores.parquet").exists()
    (disk / "filler").unlink()
    shutil.rmtree(tmp_path / "scores")
    again = launch(*scoring)
    assert again.wait(300) == 0, again.errors()
