"""What the loader of this machine delivers, measured and put into words."""

import json
import time

import pytest

from kinebert.pipelines import bench_data
from kinebert.preprocessing.config import load_config
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.data import loader_bench
from kinebert.training.data.loader_bench import Delivery, workers_needed
from kinebert.training.recipe.train import TrainRecipe
from tests.helpers.sets import make_rows, make_set


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bench")
    make_set(make_rows(folder / "videos", [6] * 6), folder / "set", FrameRecipe(resize="none"))
    path = folder / "tiny.toml"
    path.write_text(
        f'batch_size = 4\nmicro_batch = 2\n[data]\nshards = "{folder}/set"\nclip_length = 4\ncrop_size = 32\n'
        '[model]\nbackbone = "resnet18"\nwidth = 0.125\n'
    )
    return str(path)


@pytest.mark.parametrize(
    ("wanted", "needed"), [(50, 1), (100, 1), (101, 2), (180, 2), (181, 3), (300, 4), (301, 5), (3000, 40)]
)
def test_how_many_processes_are_needed(wanted: float, needed: int) -> None:
    """Measured alone one delivers 100, two 90 each, four 75 each: between them and beyond, at their rate."""
    measured = [Delivery(number, rate, 1.0) for number, rate in [(0, 95.0), (1, 100.0), (2, 180.0), (4, 300.0)]]
    assert workers_needed(measured, wanted) == needed


def test_the_time_goes_where_it_is_spent(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = load_config(TrainRecipe, recipe, [])
    shards = ShardSet.open(parsed.data.shards)
    read = ShardSet.read_jpegs

    def slow(*args: object) -> object:
        time.sleep(0.02)
        return read(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(ShardSet, "read_jpegs", slow)
    cost = loader_bench.clip_cost(parsed, shards, 0.3)
    assert cost.num_clips >= 4
    assert cost.read > 0.02 > cost.decode
    assert cost.parts()["read"] / cost.total > 0.5
    assert all(value > 0 for value in cost.parts().values())


def test_a_table_and_a_sentence(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_data.cli([recipe, "--seconds", "0.2", "--loader-workers", "0", "1", "--clips-per-s", "0.5"]) == 0
    told = capsys.readouterr().out
    for words in ("one clip in one process", "  decode", "what the loader delivers", "in the training process itself"):
        assert words in told
    assert "0.5 clips/s need loader_workers = 1 per GPU; this node's" in told

    assert bench_data.cli([recipe, "--seconds", "0.1", "--loader-workers", "0", "--clips-per-s", "9", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["loader_workers_needed"] is None
    assert values["deliveries"][0]["clips_per_s"] > 0
    assert set(values["seconds_per_clip"]) == {"read", "decode", "crop", "batch", "total"}


def test_a_gpu_that_this_node_cannot_feed() -> None:
    advice = bench_data._advice([Delivery(1, 100.0, 1.0), Delivery(2, 150.0, 1.0)], 600.0, 8, 2)
    assert advice.startswith(
        "600 clips/s need loader_workers = 8 per GPU, more than this node's 2 cores, which deliver 150.0: the GPU "
        "would wait 75% of the time."
    )
    assert "measure at least one" in bench_data._advice([Delivery(0, 100.0, 1.0)], 600.0, None, 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--seconds", "0"], "--seconds must be above 0, got 0.0"),
        (["--clips-per-s", "-1"], "--clips-per-s must be above 0, got -1.0"),
        (["--loader-workers", "-1"], "--loader-workers must be 0 or more, got -1"),
        (["--set", "data.train_part=nobody"], "split 'split1' has no 'nobody' videos"),
    ],
)
def test_mistakes(recipe: str, options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_data.cli([recipe, *options]) == 2
    assert words in capsys.readouterr().err
