"""A diagnosis as a whole: every part tells of itself, and a part that crashes, fails or hangs is a line."""

import time
from pathlib import Path

import pytest

import kinebert
from kinebert.orchestration.diagnosis import diagnose as module
from kinebert.orchestration.diagnosis.diagnose import diagnose
from kinebert.orchestration.diagnosis.part import PARTS
from kinebert.orchestration.jobs.requests import DiagnosisRequest
from kinebert.preprocessing.errors import ConfigError

CRASH = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules go before those that are installed."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_everything_is_looked_at_and_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    found = kinebert.doctor(tmp_path / "sets", timeout_s=200)
    subjects = [one.subject for one in found.findings]
    expected = "kinebert Python packages optuna cores memory /dev/shm torch GPUs triton libx264 OpenCV numba Ray MLflow"
    assert set(expected.split()) <= set(subjects)
    assert [one.found for one in found.wrong if one.subject in PARTS and one.subject != "torch"] == []
    assert list(tmp_path.iterdir()) == []


def test_what_crashes_or_cannot_be_imported_takes_nothing_else_along(
    broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (broken / "cv2.py").write_text(CRASH)
    (broken / "mlflow.py").write_text("raise ImportError('libssl.so.3: cannot open shared object file')\n")
    monkeypatch.setattr(module, "PARTS", {name: PARTS[name] for name in ("video", "MLflow", "packages")})
    found = diagnose(DiagnosisRequest())
    lines = {one.subject: one for one in found.findings}
    assert lines["decoders"].state == "ok", "what was found before the crash stays"
    assert (lines["video"].state, lines["video"].found) == ("wrong", "crashed by SIGSEGV")
    assert lines["MLflow"].remedy.endswith("python -m kinebert.orchestration.diagnosis.part MLflow")
    assert lines["MLflow"].found == "cannot be used: ImportError: libssl.so.3: cannot open shared object file"
    assert lines["Python"].state == "ok"
    assert {one.subject for one in found.wrong} == {"video", "MLflow"}
    assert all(one.remedy for one in found.wrong)


def test_what_hangs_is_a_line_and_is_ended(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what it has started, and holds its output open."""
    (broken / "torch.py").write_text("import subprocess\nsubprocess.run(['sleep', '600'])\n")
    monkeypatch.setattr(module, "PARTS", {"torch": PARTS["torch"]})
    start = time.monotonic()
    (found,) = diagnose(DiagnosisRequest(timeout_s=2)).findings
    assert time.monotonic() - start < 60
    assert (found.subject, found.state, found.found) == ("torch", "wrong", "no answer within the time limit")


def test_what_libraries_print_is_no_finding(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (broken / "av.py").write_text("import os\nprint('{\"subject\": 1}')\nos.write(1, b'noise')\nraise ValueError\n")
    monkeypatch.setattr(module, "PARTS", {"video": PARTS["video"]})
    (found,) = diagnose(DiagnosisRequest()).findings
    assert found.found == "cannot be used: ValueError"


def test_passwords_in_addresses_are_shown_to_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.setattr(module, "PARTS", {"MLflow": PARTS["MLflow"]})
    found = diagnose(DiagnosisRequest())
    assert "secret" not in repr(found)
    assert "***@127.0.0.1:9: the tracking server does not answer" in found.wrong[0].found


def test_what_cannot_be_meant_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(ConfigError, match="sets: a relative path in a submitted job"):
        diagnose(DiagnosisRequest(folders=("sets",)))
    with pytest.raises(ConfigError, match="--timeout-s must be positive, got 0"):
        DiagnosisRequest(timeout_s=0)
