"""What is read of the runs that are compared, and which of their evaluations is taken."""

from pathlib import Path

import pytest

from kinebert.orchestration.comparing.runs import Run, choose_evaluations, name_apart, read_run
from kinebert.orchestration.comparing.verdict import obstacles
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.training.evaluation.evaluate import write_scores
from kinebert.training.evaluation.view_scores import About
from tests.helpers.compared import HEAD, MULTI, make_run, make_scores


def test_which_evaluation_is_compared(three: list[Run]) -> None:
    scores = make_scores(0.5)
    both = Run(name="d", where="d", tables={MULTI: scores, "split1-test-single": scores})
    assert [one.evaluation for one in choose_evaluations([both, three[0]], None)] == [MULTI, MULTI]
    with pytest.raises(ConfigError, match="tested in several ways: split1-test-multi, split1-test-single. Choose"):
        choose_evaluations([both, both], None)
    chosen = choose_evaluations([both, three[0]], "split1-test-single")
    assert [one.evaluation for one in chosen] == ["split1-test-single", ""]
    with pytest.raises(ConfigError, match="no run has an evaluation 'x'. There are: split1-test-multi, split1"):
        choose_evaluations([both], "x")
    assert [one.name for one in name_apart([three[0], three[0]])] == ["a (1)", "a (2)"]


def test_a_table_of_the_last_epoch_is_compared_with_the_last_epoch_of_others(tmp_path: Path) -> None:
    """Given by itself, a table of ``last.pt`` is not taken for one of ``best.pt``."""
    last = f"{MULTI}-last"
    one = make_run(tmp_path / "one", {MULTI: make_scores(0.9), last: make_scores(0.6)})
    other = make_run(tmp_path / "other", {MULTI: make_scores(0.8), last: make_scores(0.7)})
    tables = [read_run(str(one)), read_run(str(other / last / "scores.parquet"))]
    assert list(tables[1].tables) == [last]
    chosen = choose_evaluations(tables, None)
    assert [run.evaluation for run in chosen] == [last, last]
    assert list(read_run(str(other / MULTI / "scores.parquet")).tables) == [MULTI]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_scores(str(elsewhere / "scores.parquet"), make_scores(0.6))
    assert list(read_run(str(elsewhere)).tables) == [MULTI]


def test_tables_of_scores_and_fusions_are_runs_too(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "rgb", {MULTI: make_scores(0.6)}, HEAD)
    alone = read_run(str(folder / MULTI / "scores.parquet"))
    assert (alone.name, alone.recipe["model.head"], len(alone.history)) == ("rgb", "tgap", 6)
    fused = make_scores(0.9)
    stream: About = {"modality": "rgb", "model": "resnet18 + tgap", "views": "multi"}
    fused.about.update({"weights": [1.0, 0.5], "method": "l2", "streams": [stream, {**stream, "modality": "flow"}]})
    fused.about.pop("views")
    (tmp_path / "fused").mkdir()
    write_scores(str(tmp_path / "fused" / "scores.parquet"), fused)
    both = choose_evaluations([alone, read_run(str(tmp_path / "fused"))], None)
    assert [one.evaluation for one in both] == [MULTI, MULTI]
    assert both[1].recipe["fusion.stream 2"] == "flow, resnet18 + tgap, weight 0.5"
    assert obstacles(both) == []
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: no run. Give the folder of a training"):
        read_run(str(tmp_path / "empty"))
