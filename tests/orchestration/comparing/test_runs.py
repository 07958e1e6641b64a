"""What is read of the runs that are compared, and which of their evaluations is taken."""

from pathlib import Path

import pytest

from kinebert.orchestration.comparing.runs import (
    Run,
    address_of,
    choose_evaluations,
    fusion_recipe,
    name_apart,
    parse_recipe,
    read_run,
)
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


def test_a_recipe_of_another_version_is_compared_by_what_it_says() -> None:
    newer = parse_recipe(b"epochs = 3\nnovelty = true\n[model]\nhead = 'bert'\n", "newer")
    assert newer == {"epochs": 3, "novelty": True, "model.head": "bert"}
    known = parse_recipe(b"epochs = 3\n[data]\nshards = 'x'\n", "older")
    assert known["epochs"] == 3
    assert known["optim.lr"] > 0  # its default
    assert not [name for name in known if name.startswith("tune")]


@pytest.mark.parametrize("text", [b"epochs = ", b"\xff\xfe", b"[model\n"])
def test_a_recipe_that_is_no_toml_is_named(text: bytes) -> None:
    with pytest.raises(UserError, match="/runs/a/recipe.toml: cannot be read as TOML"):
        parse_recipe(text, "/runs/a/recipe.toml")


def test_a_folder_with_a_recipe_alone_is_a_run_without_scores(tmp_path: Path) -> None:
    run = read_run(str(make_run(tmp_path / "begun", {}, HEAD)))
    assert (run.tables, run.scores, run.recipe["model.head"]) == ({}, None, "tgap")
    assert address_of(run) is None
    (chosen,) = choose_evaluations([run], None)
    assert chosen.evaluation == ""


def test_the_test_part_is_taken_where_there_are_others(tmp_path: Path) -> None:
    tables = {MULTI: make_scores(0.6), "split1-val-multi": make_scores(0.9, part="val")}
    runs = [read_run(str(make_run(tmp_path / name, tables))) for name in "ab"]
    assert [run.evaluation for run in choose_evaluations(runs, None)] == [MULTI, MULTI]
    assert [run.evaluation for run in choose_evaluations(runs, "split1-val-multi")] == ["split1-val-multi"] * 2


def test_a_run_that_was_tested_otherwise_has_its_only_one_taken_or_a_choice_is_asked_for() -> None:
    scores, single = make_scores(0.6), make_scores(0.6)
    one = Run(name="a", where="a", tables={MULTI: scores})
    other = Run(name="b", where="b", tables={"split1-test-single": single})
    assert [run.evaluation for run in choose_evaluations([one, other], None)] == [MULTI, "split1-test-single"]
    several = Run(name="c", where="c", tables={"split1-test-single": single, "split1-test-x10": single})
    with pytest.raises(ConfigError, match="c was tested in several ways, and none of them is that of all runs"):
        choose_evaluations([one, several], None)


def test_names_are_kept_where_they_differ_and_numbered_where_nothing_else_helps() -> None:
    def named(*places: str) -> list[str]:
        return [run.name for run in name_apart([Run(name=place.split("/")[-1], where=place) for place in places])]

    assert named("/x/a", "/x/b") == ["a", "b"]
    assert named("/x/a", "/y/a", "/y/b") == ["x/a", "y/a", "b"]
    assert named("/1/x/a", "/2/x/a", "/y/b") == ["a (1)", "a (2)", "b"]


def test_a_fusion_of_more_weights_than_streams_is_told_as_far_as_it_is_known() -> None:
    fused = make_scores(0.6)
    fused.about["weights"] = [1.0]
    fused.about["streams"] = []
    assert fusion_recipe(fused) == {"fusion.method": "l2"}
