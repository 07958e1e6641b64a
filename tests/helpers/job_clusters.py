"""A cluster of this machine that takes jobs, as ``docs/clusters.md`` says that one is started."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.mlflow_servers import free_port
from tests.helpers.paths import ROOT

PAGE = (ROOT / "docs" / "clusters.md").read_text()
COMMANDS = [
    line for block in re.findall(r"^```\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]
HEAD = shlex.split(next(line for line in COMMANDS if line.startswith("ray start --head")))
JOIN = shlex.split(next(line for line in COMMANDS if line.startswith("ray start --address")))
RAY = ("-m", "ray.scripts.scripts")


def end_all(mark: str) -> None:
    """End the processes of this cluster, and no other on this machine: ``ray stop`` would end them all."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for _ in range(20):
            ours = []
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    if mark.encode() in (folder / "environ").read_bytes():
                        ours.append(int(folder.name))
                except OSError:
                    continue
            for pid in ours:
                os.kill(pid, number)
            if not ours:
                return
            time.sleep(0.5)


@contextmanager
def job_cluster(home: Path, mode: str, python: str = sys.executable) -> Iterator[dict[str, str]]:
    """Start a cluster of two CPUs on loopback; gives the environment in which its job server is known.

    Args:
        home: Folder that its processes take for the user's.
        mode: ``token`` or ``disabled``.
        python: That runs it and its jobs.
    """
    mark, port, page = uuid.uuid4().hex, free_port(), free_port()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PYTHONPATH"))}
    env |= {
        "PATH": f"{Path(python).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "KINEBERT_TEST": mark,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/",
        "RAY_AUTH_MODE": mode,
        "RAY_AUTH_TOKEN": uuid.uuid4().hex,
        "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{page}",
    }
    if mode == "disabled":
        del env["RAY_AUTH_TOKEN"]
    temp = tempfile.mkdtemp(prefix="kbt-", dir="/tmp")
    options = [f"--port={port}", f"--dashboard-port={page}", "--num-cpus=2", f"--temp-dir={temp}"]
    options += [f"--dashboard-agent-listen-port={free_port()}"]  # other clusters of this machine have the usual one
    options += ["--object-store-memory=200000000", "--dashboard-host=127.0.0.1"]
    try:
        # the page's own command; of an option that is given twice Ray takes the last
        subprocess.run([python, *RAY, *HEAD[1:], *options], env=env, check=True, capture_output=True, cwd=home)
        yield env
    finally:
        end_all(mark)
        shutil.rmtree(temp, ignore_errors=True)
