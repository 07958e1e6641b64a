"""The image that serves: its command line, run here, answers for videos by a model's name."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.pipelines import register
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.training.recipe.train import ProtocolRecipe
from tests.helpers.checkpoints import make_checkpoint
from tests.helpers.infra_files import INFRA
from tests.helpers.mlflow_servers import free_port
from tests.helpers.paths import ROOT
from tests.helpers.sets import make_rows, make_set

(STAGE,) = re.findall(r"^FROM cpu AS serve\n(.*?)^FROM ", (INFRA / "docker/Dockerfile").read_text(), re.DOTALL | re.M)
PING, COMMAND = (re.findall(rf"^ *{word} (\[.*\])$", STAGE, re.MULTILINE) for word in ("CMD", "ENTRYPOINT"))


def answer(url: str, body: bytes | None = None) -> str:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=100) as got:
        text: str = got.read().decode()
    return text


@pytest.mark.slow
def test_a_registered_model_answers_by_its_name(tmp_path: Path) -> None:
    shards = make_set(make_rows(tmp_path / "videos", [9, 12]), tmp_path / "set", FrameRecipe(resize="none"))
    make_checkpoint(tmp_path / "run" / "best.pt", shards, ProtocolRecipe(clips="multi"))
    uri, port = f"sqlite:///{tmp_path}/mlflow.db", free_port()
    tracker = Tracker.start(uri, "kinebert", "run", {})
    tracker.address.save(str(tmp_path / "run"))
    tracker.end("FINISHED")
    assert register.cli([str(tmp_path / "run" / "best.pt"), "--name", "kinebert", "--alias", "champion"]) == 0

    health, model = map(json.loads, PING)
    words = [word.replace("0.0.0.0", "127.0.0.1").replace("8080", str(port)) for word in json.loads(COMMAND[0]) + model]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    log = (tmp_path / "log").open("w")
    server = subprocess.Popen([sys.executable, "-m", *words], env=environment, stderr=log, start_new_session=True)
    try:
        ping, until = health[-1].replace("8080", str(port)), time.monotonic() + 200
        while time.monotonic() < until and server.poll() is None:
            with suppress(OSError):
                answer(ping)
                break
            time.sleep(1)
        videos = sorted(str(path) for path in (tmp_path / "videos").rglob("*.*"))
        asked = {"dataframe_split": {"columns": ["video"], "data": [[path] for path in videos]}}
        told = json.loads(answer(ping.replace("/ping", "/invocations"), json.dumps(asked).encode()))["predictions"]
    except OSError as error:
        pytest.fail(f"{error}: {(tmp_path / 'log').read_text()[-2000:]}")
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        log.close()
    assert [row["video"] for row in told] == videos
    assert {row["label"] for row in told} <= {*shards.classes}
