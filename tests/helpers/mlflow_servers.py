"""An MLflow server over a PostgreSQL of its own, in folders that are thrown away."""

import getpass
import glob
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.helpers.requirements import imported, missing


def postgres_programs() -> Path:
    """Folder of PostgreSQL's programs; skips the test where there is none."""
    found = [shutil.which("initdb") or "", *sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), reverse=True)]
    folders = [Path(os.path.realpath(path)).parent for path in found if path]
    if not folders:
        missing("postgres", "PostgreSQL is not installed (Debian: apt-get install postgresql)")
    imported("psycopg", "postgres")
    return folders[0]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def postgres() -> Iterator[str]:
    """Start a server, and give the URI of an empty database in it."""
    programs, port = postgres_programs(), free_port()
    # PostgreSQL refuses to run as root; its package brings a user of this name
    user = "postgres" if getpass.getuser() == "root" else None
    folder = Path(tempfile.mkdtemp(prefix="kinebert-pg-"))
    if user is not None:
        shutil.chown(folder, user)

    def call(program: str, *args: str) -> None:
        command = [str(programs / program), *args]
        subprocess.run(command, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL, timeout=120)

    data = str(folder / "data")
    try:
        call("initdb", "-D", data, "-U", "kinebert", "-A", "trust", "--no-sync")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        call("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            call("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "kinebert", "mlflow")
            yield f"postgresql+psycopg://kinebert@127.0.0.1:{port}/mlflow"
        finally:
            call("pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def mlflow_server(store: str, artifacts: Path, port: int | None = None) -> Iterator[str]:
    """Start ``mlflow server`` over a database and a folder of artifacts, and give its address."""
    port = port or free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store, "--artifacts-destination", str(artifacts)]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with open(artifacts.with_suffix(".log"), "w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for(f"{address}/health", server)
        yield address
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, 15)
        server.wait(30)


def _wait_for(address: str, server: "subprocess.Popen[bytes]", seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert server.poll() is None, "the MLflow server ended"
        with suppress(OSError), urllib.request.urlopen(address, timeout=5):
            return
        time.sleep(0.5)
    raise TimeoutError(address)
