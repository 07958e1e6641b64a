"""A tracking server that is lost in the middle of a training and comes back: nothing waits, and nothing is missing."""

from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from kinebert.orchestration.tracking import RunAddress
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.training.checkpoints.state import load_state
from tests.helpers.mlflow_servers import free_port, mlflow_server
from tests.helpers.processes import Program
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
