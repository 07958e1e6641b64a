"""``kinebert weights``: what is known, and what becomes of the weights in a file."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kinebert.pipelines import weights
from kinebert.training.models import build_recognizer
from kinebert.training.models.sizes.unallocated import unallocated
from kinebert.training.models.weights.keys import layouts
from kinebert.training.models.weights.known import input_spec, markdown
from tests.helpers.paths import ROOT
from tests.helpers.terminals import Terminal

DOCS = ROOT / "docs" / "weights.md"


@pytest.fixture
def ig65m(tmp_path: Path) -> Path:
    """A small R(2+1)D-34 as the IG-65M files are."""
    net = build_recognizer(backbone="r2plus1d_34", head="tgap", num_classes=7, width=0.125)
    names = {key: key.removeprefix("backbone.").replace("classifier.", "fc.") for key in net.state_dict()}
    torch.save({names[key]: tensor for key, tensor in net.state_dict().items()}, tmp_path / "w.pth")
    return tmp_path / "w.pth"


def test_the_list_says_all_of_every_layout(capsys: pytest.CaptureFixture[str]) -> None:
    assert weights.cli([]) == 0
    text = capsys.readouterr().out
    for layout in layouts():
        assert f"{layout.name}: {layout.source}" in text
        assert layout.licence in text
        assert layout.url in text
        assert all(file.name in text for file in layout.files)
    assert weights.cli(["--layout", "ig65m"]) == 0
    assert "kenshohara" not in capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_fits_a_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("COLUMNS", str(width))
    assert weights.cli([]) == 0
    lines = screen.screen()
    to_copy = {file.name for layout in layouts() for file in layout.files} | {layout.url for layout in layouts()}
    assert {line.strip() for line in lines if len(line) > width} <= to_copy, "words that cannot be broken"
    assert all(file.name in lines for layout in layouts() for file in layout.files)


def test_it_says_what_is_found_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own, hub = tmp_path / "own", tmp_path / "torch" / "hub" / "checkpoints"
    split = own / "hmdb51_rgb_I3D64f_split2" / "model_best.pth.tar"
    name = "r2plus1d_34_clip8_ig65m_from_scratch-9bae36ae.pth"
    for path in (split, hub / name):
        path.parent.mkdir(parents=True)
        path.touch()
    monkeypatch.setenv("KINEBERT_WEIGHTS", str(own))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert weights.cli([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("    found here:")] == [
        f"    found here: {split}",
        f"    found here: {hub / name}",
    ]
    assert lines[lines.index(name) + 2] == f"    found here: {hub / name}"
    assert f"KINEBERT_WEIGHTS ({own})" in lines[-2]
    assert weights.cli(["--check", "lost.pth"]) == 2
    assert f"not in the folders KINEBERT_WEIGHTS ({own})" in capsys.readouterr().err


def test_the_list_as_json_builds_the_networks(capsys: pytest.CaptureFixture[str]) -> None:
    assert weights.cli(["--json", "--layout", "ig65m"]) == 0
    (layout,) = json.loads(capsys.readouterr().out)
    (file, *_) = layout["files"]
    assert file["input"]["mean"] == [0.43216, 0.394666, 0.37645]
    with unallocated():
        assert build_recognizer(**file["network"]).classifier.out_features == file["classes"] == 487


def test_every_known_file_is_of_a_network_that_can_be_built_and_of_its_input() -> None:
    done = set()
    for layout in layouts():
        for file in layout.files:
            spec, arguments = input_spec(layout, file), file.arguments()
            key = json.dumps({**arguments, "num_classes": 1}, sort_keys=True)
            if key in done:
                continue
            done.add(key)
            with unallocated():
                model = build_recognizer(**{**arguments, "width": 0.125})
            assert (model.spec.modality, model.spec.num_frames) == (spec.modality, spec.num_frames)
            assert len(model.spec.mean) == len(spec.mean)


def test_the_page_of_the_docs_is_as_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert weights.cli(["--table", str(tmp_path / "weights.md")]) == 0
    assert (tmp_path / "weights.md").read_text() == markdown(layouts())
    assert DOCS.read_text() == markdown(layouts()), "write it again: kinebert weights --table docs/weights.md"
    assert "--table docs/weights.md" in DOCS.read_text()


def test_a_file_is_checked_against_the_network_that_is_named(ig65m: Path, capsys: pytest.CaptureFixture[str]) -> None:
    narrow = ["--backbone", "r2plus1d_34", "--check", str(ig65m)]
    assert weights.cli([*narrow, "--num-classes", "7"]) == 1  # the file is an eighth as wide
    text = capsys.readouterr().out
    assert "network: backbone r2plus1d_34, reduction none, head tgap, modality rgb, num_classes 7" in text
    assert "refused: something is unaccounted for" in text
    assert "in the file, " in text
    assert weights.cli([*narrow, "--allow", "*", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["report"]
    assert report["layout"] == "ig65m"
    assert report["missing"]


def test_the_network_of_a_file_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = build_recognizer(backbone="resnet18", head="tgap", num_classes=7)
    stem = {"backbone.stem.0": "conv1", "backbone.stem.1": "bn1", "backbone.": "", "classifier": "fc"}
    state = {}
    for key, tensor in net.state_dict().items():
        for ours, theirs in stem.items():
            if key.startswith(ours):
                state[theirs + key.removeprefix(ours)] = tensor
                break
    torch.save(state, tmp_path / "w.pth")
    assert weights.cli(["--check", str(tmp_path / "w.pth")]) == 0
    text = capsys.readouterr().out
    assert "network: backbone resnet18, reduction none, head tgap, modality rgb, num_classes 7" in text
    assert "layout: torchvision_2d" in text
    assert "w.pth: every weight is accounted for" in text
    torch.save({**state, "strange.thing": torch.zeros(1)}, tmp_path / "w.pth")
    assert weights.cli(["--check", str(tmp_path / "w.pth")]) == 1
    text = capsys.readouterr().out
    assert "layout: torchvision_2d" in text
    assert "unexpected: 1\n  strange.thing\n" in text
    assert weights.cli(["--check", str(tmp_path / "w.pth"), "--allow", "strange.*"]) == 0
    assert "unexpected: 1\n  strange.thing\n" in capsys.readouterr().out


def test_own_checkpoints_say_what_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = build_recognizer(backbone="resnet18", head="bert", num_classes=2, clip_length=4, width=0.125)
    torch.save({"config": net.config, "state_dict": net.state_dict()}, tmp_path / "best.pt")
    assert weights.cli(["--check", str(tmp_path / "best.pt")]) == 0
    assert "layout: kinebert" in capsys.readouterr().out


def test_what_is_no_file_of_weights_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert weights.cli(["--check", str(tmp_path / "lost.pth")]) == 2
    assert "there is no such file" in capsys.readouterr().err
    torch.save({"x": torch.zeros(1)}, tmp_path / "w.pth")
    assert weights.cli(["--check", str(tmp_path / "w.pth")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no known file has such names" in line


def test_a_reader_who_has_seen_enough_sees_no_traceback() -> None:
    program = "import sys, kinebert.pipelines.cli; sys.exit(kinebert.pipelines.cli.main())"
    with subprocess.Popen(
        [sys.executable, "-c", program, "weights"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
