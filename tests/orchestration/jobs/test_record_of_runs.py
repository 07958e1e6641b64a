"""What MLflow says of trainings and evaluations is what ran: starts that failed, runs gone on with, odd names."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow.tracking import MlflowClient

from kinebert.orchestration.comparing.comparison import compare
from kinebert.orchestration.comparing.from_mlflow import Store
from kinebert.orchestration.jobs.evaluation import Evaluation, evaluate
from kinebert.orchestration.jobs.fusion import fuse
from kinebert.orchestration.jobs.requests import (
    ComparisonRequest,
    EvaluationRequest,
    FusionRequest,
    TrainingRequest,
)
from kinebert.orchestration.jobs.training import train
from kinebert.orchestration.reports.run_files import save_recipe
from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.orchestration.tracking.run_params import varied
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.pipelines import evaluate as evaluate_program
from kinebert.pipelines import fuse as fuse_program
from kinebert.pipelines import index_videos as index_program
from kinebert.pipelines import train as train_program
from kinebert.pipelines import tune as tune_program
from kinebert.pipelines.options import NOT_RECORDED
from kinebert.preprocessing.config import load_config
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.recipe.train import DataRecipe, ModelRecipe, OptimRecipe, ProtocolRecipe, TrainRecipe
from tests.helpers.checkpoints import make_checkpoint
from tests.helpers.listening import Heard
from tests.helpers.sets import make_rows, make_set, small_recipe

ODD = "fold #1 (80-20)/2"


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    folder = tmp_path_factory.mktemp("records")
    rows = [replace(row, splits={ODD: row.splits["split1"]}) for row in make_rows(folder / "videos", [6] * 9)]
    return make_set(rows, folder / "rgb", FrameRecipe(resize="none"))


def recipe_for(shards: ShardSet, lr: float, **changes: Any) -> TrainRecipe:
    return TrainRecipe(
        data=DataRecipe(shards=shards.uri, split=ODD, clip_length=4, crop_size=32),
        model=ModelRecipe(backbone="resnet18", head="tgap", width=0.125),
        optim=OptimRecipe(lr=lr, schedule="constant"),
        batch_size=2,
        micro_batch=2,
        **{"epochs": 1, **changes},
    )


def run_in_mlflow(folder: Path) -> Any:
    address = RunAddress.load(str(folder))
    assert address is not None
    return MlflowClient(address.tracking_uri).get_run(address.run_id)


def recipe_in_mlflow(run: Any, tracking_uri: str, place: Path) -> TrainRecipe:
    path = MlflowClient(tracking_uri).download_artifacts(run.info.run_id, "recipe.toml", str(place))
    return load_config(TrainRecipe, path)


@pytest.mark.slow  # four trainings
@pytest.mark.timeout(900)
def test_a_start_that_failed_and_a_run_that_goes_on_are_recorded_as_they_ran(
    shards: ShardSet, tmp_path: Path, ray_cluster: Any
) -> None:
    torch.set_num_threads(1)
    folder = tmp_path / "runs" / "e"

    def start(recipe: TrainRecipe) -> tuple[Any, list[str]]:
        heard = Heard()
        train(TrainingRequest(recipe=recipe, output=str(folder)), heard)
        return run_in_mlflow(folder), heard.said

    with pytest.raises(UserError, match="nan|inf|no number"):
        start(recipe_for(shards, 1e30))
    failed = run_in_mlflow(folder)
    assert (failed.info.status, failed.data.params["optim.lr"]) == ("FAILED", "1e+30")

    good, said = start(recipe_for(shards, 1e-3))
    assert good.info.run_id != failed.info.run_id
    assert any(f"an earlier start has saved nothing (MLflow run {failed.info.run_id})" in line for line in said)
    ran = recipe_for(shards, 1e-3)
    assert good.data.params == {key: str(value) for key, value in varied(ran).items()}
    assert good.data.tags["recipe_digest"] == ran.digest()
    assert not [tag for tag in good.data.tags if tag.startswith(("changed.", "now."))]
    store = f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert recipe_in_mlflow(good, store, tmp_path) == ran
    assert MlflowClient(store).get_run(failed.info.run_id).data.params["optim.lr"] == "1e+30"

    longer, said = start(recipe_for(shards, 1e-3, epochs=2))
    assert longer.info.run_id == good.info.run_id
    assert longer.data.params["epochs"] == "1"
    assert longer.data.tags["now.epochs"] == "2"
    assert longer.data.tags["changed.epochs"] == "1 -> 2 from epoch 2"
    assert "2 epochs" in longer.data.tags["mlflow.note.content"]
    assert any("recorded in MLflow as changed from epoch 2: epochs: 1 -> 2" in line for line in said)
    assert recipe_in_mlflow(longer, store, tmp_path).epochs == 2
    assert Store(store).find(longer.info.run_id, None).recipe["epochs"] == 2

    again, said = start(recipe_for(shards, 1e-3, epochs=1, eval_batch=3))  # nothing is left to train
    assert again.data.params == longer.data.params
    assert again.data.tags == longer.data.tags
    assert load_config(TrainRecipe, folder / "recipe.toml").epochs == 2
    assert recipe_in_mlflow(again, store, tmp_path).eval_batch == ran.eval_batch


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture
def trained(shards: ShardSet, store: str, tmp_path: Path) -> tuple[str, Tracker]:
    """A checkpoint, and the MLflow run that its folder says it is of."""
    checkpoint = make_checkpoint(tmp_path / "run" / "best.pt", shards, ProtocolRecipe(), ODD)
    tracker = Tracker.start(store, "kinebert", "run", {})
    tracker.address.save(str(tmp_path / "run"))
    return checkpoint, tracker


def score(checkpoint: str, **options: Any) -> Evaluation:
    (result,) = evaluate(EvaluationRequest(checkpoints=(checkpoint,), part="val", **options), Heard())
    return result


def test_an_evaluation_on_a_split_of_any_name_is_recorded_with_how_it_was_made(
    trained: tuple[str, Tracker], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, tracker = trained
    result = score(checkpoint)
    assert result.recorded
    assert capsys.readouterr().err == ""
    assert Path(result.folder).parent == tmp_path / "run"
    client = MlflowClient(tracker.address.tracking_uri)
    run = client.get_run(tracker.address.run_id)
    name = "fold _1 _80-20__2-val-single"
    assert run.data.metrics[f"{name}/top1"] == pytest.approx(result.scores.metrics().top[1])
    plain = {key: value for key, value in run.data.metrics.items() if "/" not in key}
    measured = result.scores.metrics()
    assert plain == pytest.approx({"top1": measured.top[1], "mean_class": measured.mean_class})  # of three classes
    assert run.data.tags["protocol"].startswith(f"{ODD}/val, the centre clip x the centre crop, mean of the logits")
    assert result.scores.about["split"] == ODD
    assert ODD + "/val of " in run.data.tags[f"evaluated.{name}"]
    assert run.inputs is not None
    (given,) = run.inputs.dataset_inputs
    assert given.dataset.profile is not None
    assert json.loads(given.dataset.profile)["part"] == f"{ODD}/val"
    assert {item.path for item in client.list_artifacts(run.info.run_id, name)} >= {f"{name}/scores.parquet"}
    assert list(Store(tracker.address.tracking_uri).tables(run.info.run_id)) == [Path(result.folder).name]


def test_an_evaluation_that_mlflow_lacks_says_so(
    trained: tuple[str, Tracker], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, tracker = trained

    def away(*_: object, **__: object) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(MlflowClient, "log_batch", away)
    result = score(checkpoint)
    assert not result.recorded
    assert Path(result.table).exists()
    assert "numbers of the run are lost" in capsys.readouterr().err
    replace(tracker.address, tracking_uri="sqlite:////nowhere/mlflow.db").save(str(Path(checkpoint).parent))
    assert not score(checkpoint).recorded
    assert "not recorded in MLflow: " in capsys.readouterr().err
    assert evaluate_program.cli([checkpoint, "--part", "val"]) == NOT_RECORDED


def test_an_evaluation_is_not_written_to_the_run_of_another_training(
    trained: tuple[str, Tracker], capsys: pytest.CaptureFixture[str]
) -> None:
    """As where a second start into the folder failed: its run is beside a checkpoint that it has not made."""
    checkpoint, tracker = trained
    tracker.params({"optim.lr": 1e30})
    assert not score(checkpoint).recorded
    assert "best.pt: optim.lr = 1e+30, not " in (told := capsys.readouterr().err)
    assert f"data.split = split1, not {ODD}" in told  # which the run does not say: it is usual there
    assert not MlflowClient(tracker.address.tracking_uri).get_run(tracker.address.run_id).data.metrics


def test_lists_show_the_test_whatever_was_scored_after_it(trained: tuple[str, Tracker], store: str) -> None:
    _, tracker = trained

    def shown() -> tuple[float, str]:
        tracker.flush()
        data = MlflowClient(store).get_run(tracker.address.run_id).data
        return data.metrics["top1"], data.tags["protocol"]

    for top1, part, expected in ((0.9, "val", 0.9), (0.7, "test", 0.7), (0.95, "val", 0.7), (0.6, "test", 0.6)):
        tracker.tested({"top1": top1}, part, f"split1/{part}, somehow")
        assert shown()[0] == expected
    assert shown() == (0.6, "split1/test, somehow")


def test_a_fusion_says_what_it_is_of(
    trained: tuple[str, Tracker], shards: ShardSet, store: str, tmp_path: Path
) -> None:
    checkpoint, _ = trained
    table = score(checkpoint).table
    save_recipe(str(tmp_path / "run"), recipe_for(shards, 1e-3))
    result = fuse(FusionRequest(scores=(table, table), weights=(2.0, 1.0), output=str(tmp_path / "both")))
    assert (result.recorded, result.tracking_uri) == (True, store)
    client = MlflowClient(store)
    run = client.get_run(result.run_id)
    assert run.info.run_name == "both"
    note = run.data.tags["mlflow.note.content"]
    assert note.startswith("Fusion of rgb 1 resnet18 + tgap, rgb 2 resnet18 + tgap: sum of L2-normalised scores; 3 ")
    assert run.data.tags["protocol"].startswith(f"{ODD}/val, single views of rgb 1 + rgb 2, sum of L2")
    measured = result.scores.metrics()
    assert run.data.metrics["top1"] == run.data.metrics["fold _1 _80-20__2-val-single/top1"] == measured.top[1]
    assert run.data.metrics["streams/rgb 2/top1"] == measured.top[1]
    assert run.inputs is not None
    (given,) = run.inputs.dataset_inputs  # both streams are of one set
    assert (given.dataset.name, given.dataset.digest) == (f"rgb {ODD}/val", shards.content)
    for name in ("rgb 1", "rgb 2"):
        path = client.download_artifacts(run.info.run_id, f"streams/{name}/recipe.toml", str(tmp_path))
        assert load_config(TrainRecipe, path) == recipe_for(shards, 1e-3)
    assert Store(store).find(run.info.run_id, None).tables.keys() == {"fold #1 (80-20)_2-val-single"}


def test_streams_whose_folder_is_gone_are_fused_and_told_by_their_tables(
    trained: tuple[str, Tracker], store: str, tmp_path: Path
) -> None:
    table = Path(score(trained[0]).table).rename(tmp_path / "scores.parquet")
    shutil.rmtree(tmp_path / "run")
    request = FusionRequest(scores=(str(table),) * 2, output=str(tmp_path / "both"), tracking_uri=store)
    result = fuse(request)
    assert result.recorded
    run = MlflowClient(store).get_run(result.run_id)
    assert run.inputs is not None
    assert [given.dataset.name for given in run.inputs.dataset_inputs] == [f"rgb {ODD}/val"]


def refuse_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on MLflow takes everything but numbers."""
    take = MlflowClient.log_batch

    def log_batch(self: MlflowClient, run_id: str, metrics: Any = (), *args: Any, **options: Any) -> Any:
        if metrics:
            raise ConnectionError("gone")
        return take(self, run_id, metrics, *args, **options)

    monkeypatch.setattr("kinebert.orchestration.tracking.tracker.time.sleep", lambda _: None)
    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)


def test_a_fusion_that_mlflow_lacks_is_done_and_ends_with_a_status_of_its_own(
    trained: tuple[str, Tracker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = score(trained[0]).table
    args = [table, table, "--output", str(tmp_path / "fused")]
    assert fuse_program.cli(args) == 0
    (tmp_path / "fused" / "scores.parquet").unlink()
    refuse_metrics(monkeypatch)
    assert fuse_program.cli(args) == NOT_RECORDED
    assert "numbers of the run are lost" in capsys.readouterr().err
    assert (tmp_path / "fused" / "scores.parquet").exists()


@pytest.mark.slow  # a training and a search
@pytest.mark.parametrize("program", ["train", "tune"])
def test_so_does_a_training_and_a_search(
    program: str,
    shards: ShardSet,
    tmp_path: Path,
    ray_cluster: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tune = '\n[tune]\ntrials = 1\nscheduler = "none"\n[tune.space]\n"optim.lr" = { choice = [0.1, 0.01] }\n'
    recipe = small_recipe(shards.uri, epochs=1).replace("clip_length", f'split = "{ODD}"\nclip_length')
    (tmp_path / "recipe.toml").write_text(recipe + (tune if program == "tune" else ""))
    refuse_metrics(monkeypatch)
    programs = {"train": train_program, "tune": tune_program}
    assert programs[program].cli([str(tmp_path / "recipe.toml"), "--output", str(tmp_path / "run")]) == NOT_RECORDED
    assert "numbers of the run are lost" in capsys.readouterr().err
    assert list((tmp_path / "run").rglob("best.pt"))


def test_splits_that_mlflow_could_not_tell_apart_are_refused_where_the_manifest_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "v.mp4").write_bytes(b"not looked into")
    (tmp_path / "list.csv").write_text("path,label,fold #1,fold +1\nv.mp4,a,train,test\n")
    assert index_program.cli(["csv", str(tmp_path / "list.csv"), "--output", str(tmp_path / "m.parquet")]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert "'fold #1' and 'fold +1' would both be 'fold _1' in MLflow" in told
    assert not (tmp_path / "m.parquet").exists()


def test_a_run_whose_files_are_gone_is_named_and_not_ranked(
    trained: tuple[str, Tracker], shards: ShardSet, tmp_path: Path
) -> None:
    checkpoint, tracker = trained
    score(checkpoint)
    store = tracker.address.tracking_uri
    run = MlflowClient(store).get_run(tracker.address.run_id)
    assert Store(store).find(tracker.address.run_id, None).tables
    shutil.rmtree(run.info.artifact_uri.removeprefix("file://"))
    other = make_checkpoint(tmp_path / "other" / "best.pt", shards, ProtocolRecipe(), ODD, seed=1)
    runs = (score(other).table, tracker.address.run_id)
    verdict = compare(ComparisonRequest(runs=runs, tracking_uri=store, output=str(tmp_path / "out"))).verdict
    assert not verdict.ranked
    assert any("run" in said and "no scores" in said for said in verdict.obstacles), verdict.obstacles
