"""Options over a file over a preset: who wins, key by key."""

import signal
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest
import tyro

from kinebert.pipelines.extraction import BOTH_PRESETS, FLOW_PRESETS, ExtractConfig, ExtractFlowConfig
from kinebert.pipelines.options import parse, run, set_by
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.tvl1 import PRESETS


@dataclass(frozen=True, kw_only=True)
class _Solver:
    warps: int = 5
    epsilon: float = 0.01


@dataclass(frozen=True, kw_only=True)
class _Recipe:
    bound: float = 20.0
    solver: _Solver = field(default_factory=_Solver)


@dataclass(frozen=True, kw_only=True)
class _Config:
    """A program."""

    output: str
    preset: Literal["slow", "quick"] = "slow"
    recipe: tyro.conf.OmitArgPrefixes[_Recipe] = field(default_factory=_Recipe)


PRESETS_OF_THIS = {
    "slow": {"recipe": {"solver": {"warps": 5, "epsilon": 0.01}}},
    "quick": {"recipe": {"solver": {"warps": 2, "epsilon": 0.5}}},
}


@pytest.mark.parametrize(
    ("file", "args", "expected"),
    [
        ("", "", ("slow", 5, 0.01, 20)),
        ("", "--preset quick", ("quick", 2, 0.5, 20)),
        ("", "--preset=quick --warps 4", ("quick", 4, 0.5, 20)),
        ("", "--warps 5 --preset quick", ("quick", 5, 0.5, 20)),  # also if it is the default without a preset
        ("preset = 'quick'", "", ("quick", 2, 0.5, 20)),
        ("preset = 'quick'\nwarps = 3\nbound = 8", "", ("quick", 3, 0.5, 8)),
        ("preset = 'quick'\n[recipe.solver]\nepsilon = 0.1", "", ("quick", 2, 0.1, 20)),
        ("preset = 'quick'\nwarps = 3", "--warps 4", ("quick", 4, 0.5, 20)),
        ("preset = 'quick'\nwarps = 3", "--preset slow", ("slow", 3, 0.01, 20)),  # single values stay above a preset
        ("warps = 3", "--preset quick", ("quick", 3, 0.5, 20)),
        ("warps = 3", "", ("slow", 3, 0.01, 20)),
    ],
)
def test_single_values_go_over_a_preset_and_options_over_a_file(
    file: str, args: str, expected: tuple[str, int, float, float], tmp_path: Path
) -> None:
    (tmp_path / "recipe.toml").write_text(file)
    config = ["--config", str(tmp_path / "recipe.toml")] if file else []
    found = parse(_Config, [*config, "--output", "o", *args.split()], "p", from_file=True, presets=PRESETS_OF_THIS)
    solver = found.recipe.solver
    assert (found.preset, solver.warps, solver.epsilon, found.recipe.bound) == expected


def test_unknown_presets_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.toml").write_text("preset = 'quik'")
    with pytest.raises(ConfigError, match=r"recipe.toml: preset: 'quik' is not one of 'slow', 'quick'"):
        parse(_Config, ["--config", str(tmp_path / "recipe.toml"), "--output", "o"], "p", True, PRESETS_OF_THIS)
    with pytest.raises(SystemExit) as stopped:
        parse(_Config, ["--preset", "quik", "--output", "o"], "p", True, PRESETS_OF_THIS)
    assert stopped.value.code == 2
    with pytest.raises(SystemExit) as stopped:
        parse(_Config, ["--preset", "quick"], "p", True, PRESETS_OF_THIS)
    assert stopped.value.code == 2  # --output is still required
    assert "--output" in capsys.readouterr().err


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_of_flow_end_in_the_recipe(name: str) -> None:
    args = ["--manifest", "m", "--output", "o", "--preset", name]
    found = parse(ExtractFlowConfig, args, "p", from_file=True, presets=FLOW_PRESETS)
    assert found.recipe.tvl1 == PRESETS[name]
    assert (found.preset, found.backend, found.gpus_per_task) == (name, "auto", None)
    one = parse(ExtractFlowConfig, [*args, "--tau", "0.2"], "p", from_file=True, presets=FLOW_PRESETS)
    assert one.recipe.tvl1.tau == 0.2
    assert one.recipe.tvl1.warps == PRESETS[name].warps
    assert (one.recipe.digest() == found.recipe.digest()) is False
    assert parse(ExtractFlowConfig, [*args, "--backend", "opencv"], "p", presets=FLOW_PRESETS).recipe == found.recipe


def test_what_does_not_go_together_is_refused() -> None:
    required: dict[str, Any] = {"manifest": "m", "output": "o"}
    with pytest.raises(ConfigError, match=r"gpus_per_task = 0.5, but backend = numba uses no GPU"):
        ExtractFlowConfig(**required, backend="numba", gpus_per_task=0.5)
    with pytest.raises(ConfigError, match="gpus_per_task must lie between 0 and 1, got 2"):
        ExtractFlowConfig(**required, gpus_per_task=2.0)
    with pytest.raises(ConfigError, match="preset = fast, but all|every parameter"):
        ExtractFlowConfig(**required, preset="fast")
    assert ExtractFlowConfig(**required, backend="numba", gpus_per_task=0.0).backend == "numba"


@pytest.mark.parametrize("made_of_it", [SystemExit(143), SystemExit(1), KeyboardInterrupt()], ids=repr)
def test_a_program_that_is_told_to_end_says_so_whatever_a_library_makes_of_it(
    made_of_it: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ray, waiting in its own code, ends with status 1 where a signal's handler has raised something."""

    def waits(config: Any) -> int:
        try:
            signal.raise_signal(signal.SIGTERM)
        except SystemExit:
            raise made_of_it from None
        return 0

    before = signal.getsignal(signal.SIGTERM)
    assert run(waits, _Config, ["--output", "o"], "p") == 143
    assert capsys.readouterr().err == "terminated; run the same command again to continue\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_end_that_nobody_asked_for_stays_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    def ends(config: Any) -> int:
        raise SystemExit(7)

    with pytest.raises(SystemExit) as found:
        run(ends, _Config, ["--output", "o"], "p")
    assert found.value.code == 7

    def interrupted(config: Any) -> int:
        raise KeyboardInterrupt

    assert run(interrupted, _Config, ["--output", "o"], "p") == 130
    assert capsys.readouterr().err == "interrupted; run the same command again to continue\n"


def test_one_pass_takes_the_options_of_both_programs(tmp_path: Path) -> None:
    """By the same names, in files and on the line; what the flow has otherwise has names of its own."""
    (tmp_path / "both.toml").write_text(
        "width = 170\nheight = 128\npreset = 'fast'\nwarps = 4\n[of_flow]\nheight = 100\n"
    )
    line = "--manifest m --frames r --flow f --frame-step 2 --codec h264 --bound 8 --of-flow.width 64 --backend numba"
    args = ["--config", str(tmp_path / "both.toml"), *line.split(), "--epsilon", "0.02", "--workers", "3"]
    asked = parse(ExtractConfig, args, "kinebert extract", from_file=True, presets=BOTH_PRESETS).asked()
    assert (asked.manifest, asked.frames, asked.flow, asked.workers, asked.backend) == ("m", "r", "f", 3, "numba")
    assert asked.recipe == FrameRecipe(width=170, height=128, frame_step=2, codec="h264")
    tvl1 = replace(PRESETS["fast"], warps=4, epsilon=0.02)
    assert asked.flow_recipe == FlowRecipe(width=64, height=100, frame_step=2, bound=8.0, tvl1=tvl1)


def test_one_pass_by_default_is_both_programs_by_default() -> None:
    args = ["--manifest", "m", "--frames", "r", "--flow", "f"]
    asked = parse(ExtractConfig, args, "kinebert extract", from_file=True, presets=BOTH_PRESETS).asked()
    assert (asked.recipe, asked.flow_recipe) == (FrameRecipe(), FlowRecipe())
    with pytest.raises(ConfigError, match=r"preset = fast, but every parameter is that of classic"):
        ExtractConfig(manifest="m", frames="r", flow="f", preset="fast")


def test_who_sets_a_value_is_known(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text("epochs = 3\n[optim]\nlr = 0.1\n[model.head_options]\nnum_layers = 2\n")
    assert set_by(str(path), [["optim.lr=0.2"], ["model={width=0.5}", "seed=1"]]) == {
        "epochs": str(path),
        "model.head_options.num_layers": str(path),
        "optim.lr": "--set",
        "model.width": "--set",
        "seed": "--set",
    }
    assert set_by("own/flow", [])["data.modality"] == "own/flow"


def test_an_extraction_takes_a_recipe_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    args = ["--manifest", "m", "--output", "o", "--config", "demo/flow"]
    found = parse(ExtractFlowConfig, args, "p", from_file=True, presets=FLOW_PRESETS)
    assert (found.recipe.width, found.recipe.bound) == (56, 8.0)
    with pytest.raises(ConfigError, match="demo/flwo: there is no such recipe file. .*Did you mean demo/flow"):
        parse(ExtractFlowConfig, [*args[:-1], "demo/flwo"], "p", from_file=True, presets=FLOW_PRESETS)
