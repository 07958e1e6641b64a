"""Models and recipes that were made to do harm: nothing of them runs, and each is refused in one line."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from kinebert.orchestration.comparing.from_mlflow import Store
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.pipelines import attend, compare, evaluate, predict, register, train
from kinebert.preprocessing.config import load_config
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.training.recipe.train import TrainRecipe

PROGRAMS: dict[str, Any] = {
    "evaluate": lambda model: evaluate.cli([model]),
    "attend": lambda model: attend.cli([model]),
    "predict": lambda model: predict.cli(["video.mp4", "--checkpoint", model]),
    "register": lambda model: register.cli([model, "--name", "mine"]),
    "compare": lambda model: compare.cli([model, model]),
}


class Harm:
    """Touches a file where it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> Any:
        return Path.touch, (self.witness,)


@pytest.fixture
def witness(tmp_path: Path) -> Path:
    """The file that harm would make."""
    return tmp_path / "harmed"


@pytest.fixture
def model(tmp_path: Path, witness: Path) -> Path:
    """A folder as MLflow keeps models in, every way into a program in it."""
    folder = tmp_path / "model"
    (folder / "code").mkdir(parents=True)
    code = f"import pathlib\npathlib.Path({str(witness)!r}).touch()\n"
    for name in ("code/loader.py", "code/kinebert.py", "code/__init__.py"):
        (folder / name).write_text(code)
    flavor = {"loader_module": "loader", "code": "code", "data": "../../..", "python_model": "python_model.pkl"}
    (folder / "MLmodel").write_text(json.dumps({"flavors": {"python_function": flavor}, "model_id": "../../x"}))
    for name in ("python_model.pkl", "checkpoint.pt", "best.pt", "model.pt2", "scores.parquet"):
        (folder / name).write_bytes(pickle.dumps(Harm(witness)))
    (folder / "requirements.txt").write_text("--index-url http://127.0.0.1:9\nharm\n")
    return folder


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("file", ["", "MLmodel", "python_model.pkl", "checkpoint.pt", "best.pt"])
def test_no_program_runs_what_lies_in_a_model(
    program: str,
    file: str,
    model: Path,
    witness: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(model)
    (model / "video.mp4").write_bytes(b"no video")
    assert PROGRAMS[program](str(model / file) if file else str(model)) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: "), told
    assert len(told.splitlines()) == 1
    assert not witness.exists()


@pytest.mark.parametrize("uri", ["models:/gestures/1", "runs:/" + "0" * 32 + "/model", "models:/m-" + "0" * 32])
@pytest.mark.parametrize("program", ["evaluate", "predict", "attend", "register"])
def test_a_model_of_mlflow_is_no_checkpoint(
    uri: str, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "video.mp4").write_bytes(b"no video")
    assert PROGRAMS[program](uri) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    assert told.startswith("error: ")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('hostile')}/mlflow.db"


def hostile_run(store: str) -> tuple[str, Path]:
    """A run, and the folder of its artifacts."""
    tracker = Tracker.start(store, "kinebert", "hostile", {})
    tracker.end("FINISHED")
    artifacts = MlflowClient(store).get_run(tracker.address.run_id).info.artifact_uri
    folder = Path(artifacts.removeprefix("file://"))
    folder.mkdir(parents=True, exist_ok=True)
    return tracker.address.run_id, folder


@pytest.mark.parametrize("name", ["scores.parquet", "split1-test-single/scores.parquet", "recipe.toml"])
@pytest.mark.parametrize("kind", ["pickle", "link", "deep"])
def test_artifacts_of_a_run_are_read_as_what_they_should_be(
    store: str, name: str, kind: str, witness: Path, tmp_path: Path
) -> None:
    run_id, folder = hostile_run(store)
    (folder / name).parent.mkdir(exist_ok=True)
    secret = tmp_path / "secret"
    secret.write_text("password of somebody = else")
    if kind == "link":
        (folder / name).symlink_to(secret)
    else:
        (folder / name).write_bytes(pickle.dumps(Harm(witness)) if kind == "pickle" else b"x = " + b"[" * 100_000)
    with pytest.raises(UserError) as told:
        Store(store).find(run_id, None)
    assert "\n" not in str(told.value)
    assert "password" not in str(told.value)
    assert not witness.exists()


@pytest.mark.parametrize("path", ["../../../etc", "/etc/passwd", "..", "a/../../b"])
def test_paths_that_a_store_names_do_not_lead_out_of_it(store: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.entities import FileInfo

    run_id, _ = hostile_run(store)
    asked: list[str] = []

    def download(_: Any, run: str, path: str, folder: str) -> str:
        asked.append(path)
        raise AssertionError(path)

    monkeypatch.setattr(MlflowClient, "list_artifacts", lambda *_: [FileInfo(f"{path}/scores.parquet", False, 1)])
    monkeypatch.setattr(MlflowClient, "download_artifacts", download)
    assert Store(store).find(run_id, None).tables == {}
    assert asked == []


BOMBS = {
    "deep list": "x = " + "[" * 100_000 + "]" * 100_000,
    "deep table": "[" + ".".join("a" * 3000) + "]\nx = 1",
    "deep inline table": "x = " + "{a = " * 20_000 + "1" + "}" * 20_000,
    "deep options": "[model.backbone_options]\n" + ".".join("a" * 3000) + " = 1",
    "huge integer": "epochs = " + "9" * 100_000,
    "big integer": "seed = " + "9" * 4000,
    "giant key": "k" * 500_000 + " = 1",
    "giant value": f'batch_size = "{"v" * 500_000}"',
    "large file": "# " + "x" * 3_000_000,
    "twice": "epochs = 1\nepochs = 2",
    "twice as a table": "[optim]\nlr = 1\n[optim]\nlr = 2",
    "dotted over a value": "epochs = 1\nepochs.x = 2",
    "list for a number": "epochs = [1]",
    "table for a number": "[epochs]\nx = 1",
    "date": "epochs = 1979-05-27T07:32:00Z",
    "date for a text": "[data]\nsplit = 1979-05-27\nshards = 'x'",
    "true for a number": "epochs = true",
    "nan": "label_smoothing = nan",
    "inf": "save_every_s = inf",
    "nan rate": "[optim]\nlr = nan",
    "inf rate": "[optim]\nlr = inf",
    "nan average": "ema = nan",
    "nan dropout": "[model]\ndropout = nan",
    "nan width": "[model]\nwidth = nan",
    "inf width": "[model]\nwidth = inf",
    "nan scale": "[data]\nshards = 'x'\neval_scale = nan",
    "nul": "epochs = 1\0",
    "no text": "\udcff",
    "mark of order": "\ufeffepochs = 1",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_recipe_that_is_none_is_refused_in_one_line(
    bomb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.toml"
    text = BOMBS[bomb] if "shards" in BOMBS[bomb] else BOMBS[bomb] + "\n[data]\nshards = 'x'\n"
    recipe.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError) as error:
        load_config(TrainRecipe, recipe)
    assert len(str(error.value)) < 1000
    assert train.cli([str(recipe), "--output", str(tmp_path / "run")]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("error: ")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", ["[" * 50_000, "9" * 100_000, "{a = " * 9000])
def test_a_value_of_the_command_line_is_refused_as_well(value: str, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[data]\nshards = 'x'\n")
    with pytest.raises(ConfigError) as error:
        load_config(TrainRecipe, recipe, [f"epochs={value}"])
    assert len(str(error.value)) < 1000
