"""``kinebert doctor``: what people and programs read, and its exit status."""

import json

import pytest

from kinebert.orchestration.diagnosis import diagnose as module
from kinebert.orchestration.diagnosis.diagnose import Diagnosis
from kinebert.orchestration.diagnosis.findings import Finding, note, ok, wrong
from kinebert.orchestration.jobs.requests import DiagnosisRequest
from kinebert.pipelines import doctor
from tests.helpers.terminals import Terminal

GOOD = (ok("cores", "8"), note("triton", "not installed", "pip install triton."))
BAD = (*GOOD, wrong("GPUs", "2 x A100: too old for this torch " + "and so on " * 12, "Install a newer driver."))


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What the next diagnosis finds."""
    findings: list[Finding] = []
    monkeypatch.setattr(module, "diagnose", lambda request: Diagnosis(tuple(findings)))
    return findings


def test_the_exit_status_says_whether_anything_is_wrong(
    found: list[Finding], capsys: pytest.CaptureFixture[str]
) -> None:
    found += GOOD
    assert doctor.cli([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "ok    cores   8",
        "note  triton  not installed",
        "              what to do: pip install triton.",
    ]
    assert lines[3] == "nothing is wrong, 1 note"
    found += BAD[2:]
    assert doctor.cli([]) == 1
    said = capsys.readouterr().out
    assert "\n1 wrong, 1 note\n" in said
    assert "what to do: Install a newer driver." in said


@pytest.mark.parametrize("columns", ["80", "120"])
def test_it_fits_a_terminal_and_needs_no_colours(
    columns: str, found: list[Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    found += BAD
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr("sys.stdout", terminal)
    doctor.cli([])
    screen = terminal.screen()
    assert max(map(len, screen)) <= int(columns)
    assert "\x1b" not in terminal.getvalue()
    (at,) = [i for i, line in enumerate(screen) if line.startswith("wrong")]
    assert screen[at + 1].startswith(" " * 14), "a long line goes on below its own column"


def test_programs_read_json(found: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    found += BAD
    assert doctor.cli(["--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["wrong"], said["notes"]) == (1, 1)
    assert said["findings"][0] == {"subject": "cores", "state": "ok", "found": "8", "remedy": ""}


def test_names_of_the_environment_do_no_harm(found: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    found += [wrong("MLflow's store", "\x1b[2Jhttp://x/\u202e"), ok("Ray", "a\nb")]
    for args in ([], ["--json"]):
        doctor.cli(args)
        said = capsys.readouterr().out
        assert "\x1b" not in said
        assert "\u202e" not in said


def test_options_become_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[DiagnosisRequest] = []

    def diagnose(request: DiagnosisRequest) -> Diagnosis:
        asked.append(request)
        return Diagnosis(())

    monkeypatch.setattr(module, "diagnose", diagnose)
    assert doctor.cli(["/data/sets", "s3://b/runs", "--timeout-s", "5"]) == 0
    assert asked == [DiagnosisRequest(folders=("/data/sets", "s3://b/runs"), timeout_s=5.0)]
    assert doctor.cli(["--timeout-s", "0"]) == 2
