"""`kinebert describe`: what a user is told of a network."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kinebert.pipelines import describe
from kinebert.training.models.sizes.papers import TABLES
from tests.helpers.paths import ROOT

NETWORK = ("--backbone", "resnext101", "--reduction", "frmb", "--head", "bert")
PAPER = (*NETWORK, "--frames", "64", "--size", "112", "--num-classes", "51")
RECIPE = """
[data]
shards = "sets/flow"
clip_length = 4
crop_size = 64
frame_interval = 2
[model]
backbone = "resnet18"
head = "bert"
width = 0.25
"""


def described(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    assert describe.cli([*args, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_papers_network_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = described(capsys, *PAPER)
    assert (found["parameters"], found["macs"], found["paper_flops"]) == (47_377_907, 38_070_897_152, 38_372_880_435)
    assert (found["input_shape"], found["output_shape"]) == ([1, 3, 64, 112, 112], [1, 51])
    for key in ("parameters", "macs", "paper_flops"):
        assert sum(part[key] for part in found["parts"]) == found[key]
    last = found["parts"][-1]
    assert (last["name"], last["kind"], last["parameters"]) == ("classifier", "Linear", 512 * 51 + 51)
    assert (last["input_shape"], last["output_shape"]) == ([1, 512], [1, 51])
    assert found["per_video"]["macs"] == found["macs"]


def test_the_papers_network_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert describe.cli([*PAPER, "--clips", "3", "--crops", "10"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("resnext101 + frmb + bert: rgb, 51 classes, clip 3 x 64 x 112 x 112\n")
    assert "\nbackbone.layer4  Stage       512 x 4 x 4 x 4     12,989,440   1.1737          1.1769\n" in printed
    assert "\nthe network                  51                  47,377,907  38.0709         38.3729\n" in printed
    assert "\nper clip: 38.07 GMac, 38.37 G as the papers count\n" in printed
    assert "3 clips x 10 crops = 30 views: 1,142.13 GMac, 1,151.19 G as the papers count\n" in printed


def test_a_recipe_with_options_over_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    found = described(capsys, str(recipe), "--modality", "flow", "--num-classes", "6", "--video-frames", "30")
    assert (found["input_shape"], found["output_shape"]) == ([1, 2, 4, 64, 64], [1, 6])
    assert found["network"]["width"] == 0.25
    views = found["per_video"]
    assert (views["clips"], views["crops"], views["views"]) == (4, 1, 4)  # a clip reaches over 7 of 30 images
    assert views["macs"] == 4 * found["macs"]
    other = described(capsys, str(recipe), "--backbone", "resnet34", "--set", "model.head_options.num_layers=2")
    assert other["network"]["backbone"] == "resnet34"
    assert [part["name"] for part in other["parts"]][-3:-1] == ["head.blocks.0", "head.blocks.1"]


def test_flow_may_be_stacked(capsys: pytest.CaptureFixture[str]) -> None:
    found = described(capsys, "--backbone", "resnet18", "--modality", "flow", "--flow-stack", "10", "--frames", "1")
    assert found["input_shape"] == [1, 20, 1, 112, 112]
    assert describe.cli(["--flow-stack", "10"]) == 2
    assert "only flow is stacked, and this is rgb" in capsys.readouterr().err
    recipe = ("--backbone", "resnet18", "--frames", "4", "--set", "data.flow_stack=10", 'data.modality="flow"')
    found = described(capsys, *recipe, "--video-frames", "20")
    assert found["input_shape"] == [1, 20, 4, 112, 112]
    assert found["per_video"]["clips"] == 2, "20 fields have 11 places for a stack: two clips of 4 of them"
    assert described(capsys, *recipe, "--flow-stack", "1")["input_shape"][1] == 2


def test_modality_and_crops_are_the_recipes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.replace("[model]", 'modality = "flow"\n[model]') + '[test]\nclips = "multi"\ncrops = 10\n')
    found = described(capsys, str(recipe))
    assert (found["input_shape"], found["per_video"]["crops"]) == ([1, 2, 4, 64, 64], 10)
    other = described(capsys, str(recipe), "--modality", "rgb", "--crops", "1", "--video-frames", "30")
    assert (other["input_shape"], other["per_video"]["views"]) == ([1, 3, 4, 64, 64], 4)
    assert describe.cli([str(recipe)]) == 0
    assert "note: this recipe tests as many clips as a video has; --video-frames N" in capsys.readouterr().out
    for clips, views in (("5", 50), ("eccv2020", 30)):  # of 30 images: 28 // 7 clips are 4, one less is left over
        found = described(capsys, str(recipe), "--set", f"test.clips={clips}", "--video-frames", "30")
        assert found["per_video"]["views"] == views
    assert described(capsys, str(recipe), "--set", "test.clips=5")["per_video"]["views"] == 50


def test_frames_that_go_by_themselves_are_shown_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert describe.cli(["--backbone", "resnet18", "--head", "tgap", "--frames", "8"]) == 0
    assert "  8 of 512 x 4 x 4  " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--backbone", "resnext11"], "There is no backbone 'resnext11'. Did you mean resnext101"),
        (["--reduction", "frab", "--backbone", "r2plus1d_18", "--crops", "0"], "clips, crops and video_frames must be"),
        (["--head", "bert_late"], "takes several pathways"),
        (["--frames", "0"], "data.clip_length must be at least 1, got 0."),
        (["missing.toml"], "missing.toml: there is no such recipe file."),
        (["--paper-tables", "no/such/page.md"], "no/such/page.md: cannot write this table: there is no such file"),
    ],
)
def test_mistakes_are_told(capsys: pytest.CaptureFixture[str], args: list[str], told: str) -> None:
    assert describe.cli(args) == 2
    printed = capsys.readouterr()
    assert told in printed.err
    assert printed.out == ""


def test_the_papers_tables_are_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "kinebert.training.models.sizes.papers.page.TABLES", TABLES[:1]
    )  # all of them take half a minute
    page = tmp_path / "sizes.md"
    assert describe.cli(["--paper-tables", str(page)]) == 0
    assert capsys.readouterr().out == f"table: {page}\n"
    line = "| BERT, FRMB | `resnext101 + frmb + bert` | 47.38 | 47.378 | 38.37 | 38.373 | 38.071 | 77.49 |  |\n"
    assert line in page.read_text()


def test_nothing_slow_is_imported() -> None:
    """Its three seconds are torch's one and a half and no others: no compiler of torch, no cluster."""
    slow = ("ray", "mlflow", "cv2", "numba", "sympy", "torch._dynamo", "matplotlib")
    code = (
        "import sys; from kinebert.pipelines import cli; "
        "sys.argv = ['kinebert', 'describe', '--backbone', 'i3d', '--json']; "
        f"cli.main(); print([name for name in {slow} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    assert json.loads(done.stdout)["parameters"] > 0
