"""What is said of GPUs, driver and torch, by what each of them tells; there need be no GPU here."""

from dataclasses import replace
from pathlib import Path

import pytest

from kinebert.orchestration.diagnosis import gpus
from kinebert.orchestration.diagnosis.findings import Finding
from kinebert.orchestration.diagnosis.gpus import Gpus, judge, measuring, triton

NONE = Gpus(torch="2.13.0+cpu")
TWO = Gpus(
    on_the_bus=2,
    names=("NVIDIA H100 80GB HBM3",) * 2,
    driver="550.54.15",
    driver_cuda=(12, 4),
    torch="2.13.0+cu126",
    torch_cuda="12.6",
    seen=2,
)


@pytest.mark.parametrize(
    ("facts", "states", "words"),
    [
        (NONE, ["ok", "ok"], "none; networks and flow are computed on cores"),
        (replace(NONE, on_the_bus=1), ["ok", "note"], "the machine has 1 of NVIDIA, but no driver answers"),
        (
            TWO,
            ["ok", "ok"],
            "2 x NVIDIA H100 80GB HBM3; driver 550.54.15 for CUDA 12.4 and older; torch computes on each",
        ),
        (replace(TWO, torch="2.13.0+cpu", torch_cuda=None, seen=0), ["wrong", "ok"], "built for CPUs, beside a GPU"),
        (replace(TWO, driver="470.1", driver_cuda=(11, 4), seen=0), ["ok", "wrong"], "too old for this torch"),
        (replace(TWO, seen=0, visible=""), ["ok", "note"], "CUDA_VISIBLE_DEVICES='' hides them"),
        (replace(TWO, seen=1, visible="1"), ["ok", "note"], "torch sees 1 of them (CUDA_VISIBLE_DEVICES=1)"),
        (replace(TWO, seen=0), ["ok", "wrong"], "torch cannot compute there: torch.cuda.is_available() is false"),
        (replace(TWO, problem="CUDA error: no kernel image is available"), ["ok", "wrong"], "no kernel image"),
        (replace(TWO, names=(), driver=""), ["ok", "ok"], "unnamed; driver unknown for CUDA 12.4 and older"),
    ],
)
def test_each_way_in_which_driver_and_torch_may_not_fit(facts: Gpus, states: list[str], words: str) -> None:
    found = list(judge(facts))
    assert [one.subject for one in found] == ["torch", "GPUs"]
    assert [one.state for one in found] == states
    assert words in " ".join(one.found for one in found)
    assert all(one.remedy for one in found if one.state == "wrong")


@pytest.mark.parametrize(
    ("on_gpus", "version", "compiler", "state"),
    [(False, None, False, "ok"), (True, None, True, "note"), (True, "3.7", False, "note"), (True, "3.7", True, "ok")],
)
def test_triton_is_missed_beside_a_gpu_only_and_needs_a_compiler(
    on_gpus: bool, version: str | None, compiler: bool, state: str
) -> None:
    found = triton(on_gpus, version, compiler)
    assert (found.state, bool(found.remedy)) == (state, state == "note")


def test_how_busy_a_gpu_is_takes_a_package() -> None:
    assert [measuring(*given).state for given in ((True, True), (False, False), (True, False))] == ["ok", "ok", "note"]
    assert "kinebert[gpu]" in measuring(True, False).remedy


def test_the_driver_is_asked_by_its_own_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert gpus.num_gpus() == 0
    program.write_text("#!/bin/sh\necho 'NVIDIA A100, PCIe, 535.1'\necho 'NVIDIA A100, PCIe, 535.1'\n")
    program.chmod(0o755)
    assert gpus._driver() == (("NVIDIA A100, PCIe",) * 2, "535.1")
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed because it could not communicate'\nexit 9\n")
    assert gpus._driver() == ((), "")


def test_a_gpu_on_the_bus_is_known_by_its_vendor_and_class(tmp_path: Path) -> None:
    for name, vendor, kind in (("a", "0x10de", "0x030200"), ("b", "0x10de", "0x0c0330"), ("c", "0x1002", "0x030000")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(f"{vendor}\n")
        (tmp_path / name / "class").write_text(f"{kind}\n")
    assert [gpus._is_gpu(tmp_path / name) for name in "abcd"] == [True, False, False, False]


def test_the_torch_that_is_here_is_told_of() -> None:
    found = {one.subject: one for one in gpus.look()}
    assert set(found) == {"torch", "GPUs", "triton", "nvidia-ml-py"}
    assert isinstance(found["torch"], Finding)
    assert found["torch"].found.startswith("torch 2.")
