"""All parts of ``infra/docker/compose.yaml`` but Grafana, on loopback and without Docker: its own command lines.

What a container has of its own and a process has not is put in its place: names of hosts, ports, paths of secrets and
volumes. Nothing else of the commands and of their environments is changed.
"""

import configparser
import getpass
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

from tests.helpers.infra_files import INFRA, checked, documents, program
from tests.helpers.mlflow_servers import free_port, postgres_programs
from tests.helpers.parts import Part
from tests.helpers.paths import ROOT
from tests.helpers.processes import Program
from tests.helpers.requirements import imported

(COMPOSE,) = documents(INFRA / "docker" / "compose.yaml")
SERVICES: dict[str, Any] = COMPOSE["services"]
SECRETS: dict[str, Any] = COMPOSE["secrets"]
WORKER_IP = "127.0.0.2"
_PORTS = ("s3", "mlflow", "gcs", "page", "postgres", "prometheus", "master", "volume", "filer")
_IMAGE = {"RAY_USAGE_STATS_ENABLED": "0", "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONUNBUFFERED": "1"}
"""What the images have in their environment."""
_HERE = {
    "PYTHONPATH": str(ROOT),  # the package is this checkout's
    "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/",  # nobody is told
    "RAY_metrics_report_interval_ms": "1000",  # not 10 s: nothing here takes long
    "RAY_worker_niceness": "0",  # the machine does other work too
}


class WholeCluster:
    """Its parts, each of which may be killed and started again, and what a person has at hand."""

    def __init__(self, folder: Path) -> None:
        imported("boto3", "infra")  # MLflow's server has its files in S3
        self.folder, self._jobs = folder, list[Program]()
        self.secrets = folder / "secrets"
        checked(str(INFRA / "docker" / "make-secrets"), str(self.secrets))
        self.ports = {name: free_port() for name in _PORTS}
        self._binaries = postgres_programs()
        self._weed, self._prometheus = program("weed"), program("prometheus", "promtool")
        self._places = {
            **{f"/run/secrets/{name}": str(self.secrets / Path(at["file"]).name) for name, at in SECRETS.items()},
            "/run/secrets/pg_service": self._service_file(),
            "s3:8333": self._at("s3"),
            "mlflow:5000": self._at("mlflow"),
            "head:6379": self._at("gcs"),
            "0.0.0.0": "127.0.0.1",
            "-ip=s3": "-ip=127.0.0.1",
            "-dir=/data": f"-dir={self._made('objects')}",
            "/cache": str(self._made("cache")),
        }
        self.submitter = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.secrets / "ray_token")}
        """What whoever submits has in the environment, as infra/README.md says."""
        self.page, self.mlflow_address = f"http://{self._at('page')}", f"http://{self._at('mlflow')}"
        self.s3, self.postgres = self._s3(), self._postgres()
        self.mlflow, self.prometheus = self._mlflow(), self._prometheus_part()
        self.head = self._node("head", "127.0.0.1", "--num-cpus=0", f"--dashboard-port={self.ports['page']}")
        self.worker = self._node("worker", WORKER_IP, "--num-cpus=2")
        self.parts = (self.s3, self.postgres, self.mlflow, self.head, self.worker, self.prometheus)

    def start(self) -> None:
        """Start all parts, in the order in which they wait for each other."""
        for part in (self.s3, self.postgres):
            part.begin()
        self.s3.wait_until_ready()
        self._make_buckets()
        self.postgres.wait_until_ready()
        for part in (self.mlflow, self.head):
            part.begin()
        self.head.wait_until_ready()
        self.worker.begin()
        self.mlflow.wait_until_ready()
        self.worker.wait_until_ready()
        self.prometheus.start()

    def end(self) -> None:
        """Kill all parts, and whoever follows a job."""
        for job in self._jobs:
            job.tidy_up()
        for part in reversed(self.parts):
            part.kill()

    def person(self, **env: str) -> dict[str, str]:
        """Environment of whoever has the token, and nothing else of this cluster; ``env`` goes over it."""
        ours = ("RAY_", "MLFLOW_", "AWS_", "KINEBERT_")
        return {**{k: v for k, v in os.environ.items() if not k.startswith(ours)}, **self.submitter, **env}

    def kinebert(self, *words: str) -> Program:
        """Submit a program with ``kinebert submit``, and follow it."""
        args, folder = ["--address", self.page, "--", *words], self.folder / f"job{len(self._jobs)}"
        self._jobs.append(Program("submit", args, folder, **self.submitter))
        return self._jobs[-1]

    def done(self, *words: str, timeout_s: float = 600) -> str:
        """Run a program as a job to its end, and return what it printed."""
        job = self.kinebert(*words)
        assert job.wait(timeout_s) == 0, job.stdout_file.read_text() + job.errors()
        return job.stdout_file.read_text()

    def store(self, whose: str = "s3_kinebert") -> pafs.S3FileSystem:
        """The store of objects, with somebody's keys."""
        keys = configparser.ConfigParser()
        keys.read(self.secrets / whose)
        return pafs.S3FileSystem(
            access_key=keys["default"]["aws_access_key_id"],
            secret_key=keys["default"]["aws_secret_access_key"],
            endpoint_override=self._at("s3"),
            scheme="http",
            region="us-east-1",
        )

    def objects(self, prefix: str, whose: str = "s3_kinebert") -> dict[str, bytes]:
        """All files below a folder of a bucket, by their names in it."""
        store = self.store(whose)
        found = store.get_file_info(pafs.FileSelector(prefix, recursive=True, allow_not_found=True))
        files = [info.path for info in found if info.type == pafs.FileType.File]
        return {path.removeprefix(f"{prefix}/"): store.open_input_file(path).read() for path in files}

    def asked(self, query: str) -> dict[str, float]:
        """What Prometheus answers: values by the label ``output``."""
        words = urllib.parse.urlencode({"query": query})
        with urllib.request.urlopen(f"http://{self._at('prometheus')}/api/v1/query?{words}", timeout=10) as answer:
            found = json.load(answer)["data"]["result"]
        return {one["metric"].get("output", one["metric"].get("instance", "")): float(one["value"][1]) for one in found}

    def passwords(self) -> dict[str, bytes]:
        """Whatever must be seen nowhere, by what it is."""
        found = {name: (self.secrets / name).read_bytes() for name in ("ray_token", "postgres_password")}
        for identity in json.loads((self.secrets / "s3.json").read_text())["identities"]:
            found[f"s3 of {identity['name']}"] = identity["credentials"][0]["secretKey"].encode()
        return found

    def _made(self, name: str) -> Path:
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        return self.folder / name

    def _at(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name]}"

    def _told(self, text: str) -> str:
        text = re.sub(r"\$\{\w+:-(\w+)\}", r"\1", text)
        for place in sorted(self._places, key=len, reverse=True):
            text = text.replace(place, self._places[place])
        return text

    def _words(self, service: str) -> list[str]:
        return [self._told(word) for word in SERVICES[service]["command"]]

    def _environment(self, service: str) -> dict[str, str]:
        ours = ("RAY_", "MLFLOW_", "AWS_", "PG", "PYTHONPATH", "KINEBERT_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        inherited["PATH"] = f"{Path(sys.executable).parent}:{inherited['PATH']}"
        told = {name: self._told(value) for name, value in SERVICES[service].get("environment", {}).items()}
        return {**inherited, **_IMAGE, **_HERE, "HOME": str(self._made("home")), **told}

    def _node(self, name: str, ip: str, *options: str) -> Part:
        """A node of Ray; of an option that is given twice Ray takes the last."""
        agent = free_port()
        mine = [f"--node-ip-address={ip}", f"--temp-dir={self.folder}/r", "--object-store-memory=150000000"]
        mine += [f"--dashboard-agent-listen-port={agent}", f"--metrics-export-port={free_port()}", *options]
        mine += [f"--port={self.ports['gcs']}"] if name == "head" else []
        health = f"http://{ip}:{agent}/api/local_raylet_healthz"  # as the images' health check asks
        command = [*self._words(name), *mine]
        return Part(name, command, self._environment(name), self._made(name), lambda: _answers(health))

    def _s3(self) -> Part:
        mine = [f"-{name}.port={self.ports[name]}" for name in ("s3", "master", "volume", "filer")]
        mine += [f"-{name}.port.grpc={free_port()}" for name in ("s3", "master", "volume", "filer")]
        health = f"http://{self._at('s3')}/healthz"
        command = [self._weed, *self._words("s3"), *mine]
        return Part("s3", command, self._environment("s3"), self._made("s3"), lambda: _answers(health))

    def _make_buckets(self) -> None:
        _, script, *buckets = SERVICES["buckets"]["command"]
        words = [sys.executable, str(INFRA / "docker" / Path(script).name), *buckets]
        checked(*words, env=self._environment("buckets"))

    def _postgres(self) -> Part:
        """PostgreSQL with the image's user, database and password, as its first start makes them."""
        port, data = self.ports["postgres"], self._made("postgres") / "data"
        user = "postgres" if getpass.getuser() == "root" else None  # it refuses to run as root
        password = data.with_name("password")
        shutil.copy(self.secrets / "postgres_password", password)
        if user is not None:
            shutil.chown(password, user)
            shutil.chown(data.parent, user)

        def call(name: str, *words: str, told: str = "") -> bool:
            command = [str(self._binaries / name), *words]
            done = subprocess.run(command, input=told, user=user, cwd=data.parent, capture_output=True, text=True)
            return done.returncode == 0

        given = SERVICES["postgres"]["environment"]
        who = ["--username", given["POSTGRES_USER"], "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync"]
        assert call("initdb", "--pgdata", str(data), *who)
        create = f"create database {given['POSTGRES_DB']}"
        assert call("postgres", "--single", "-D", str(data), "postgres", told=f"{create}\n")
        listening = ["-p", str(port), "-k", str(data.parent), "-c", "listen_addresses=127.0.0.1"]
        _, check, *words = SERVICES["postgres"]["healthcheck"]["test"]
        command, environment = [str(self._binaries / "postgres"), "-D", str(data), *listening], {"LC_ALL": "C"}
        ready = partial(call, check, *words, f"--port={port}")
        return Part("postgres", command, environment, data.parent, ready, user)

    def _service_file(self) -> str:
        """The service file of the secrets, with the address that PostgreSQL has here."""
        file, made = self.folder / "pg_service.conf", configparser.ConfigParser()
        made.read(self.secrets / file.name)
        made["mlflow"].update({"host": "127.0.0.1", "port": str(self.ports["postgres"])})
        with file.open("w") as target:
            made.write(target, space_around_delimiters=False)
        return str(file)

    def _mlflow(self) -> Part:
        health = f"{self.mlflow_address}/health"
        command = [*self._words("mlflow"), f"--port={self.ports['mlflow']}"]
        environment = self._environment("mlflow")
        return Part("mlflow", command, environment, self._made("mlflow"), lambda: _answers(health))

    def _prometheus_part(self) -> Part:
        """As infra/README.md starts it on a head; it looks every second, for the test's sake."""
        text = (INFRA / "monitoring" / "prometheus-head.yml").read_text()
        assert "scrape_interval: 15s" in text
        assert "[/tmp/ray/" in text
        text = text.replace("scrape_interval: 15s", "scrape_interval: 1s")
        text = text.replace("[/tmp/ray/", f"[{self.folder}/r/")
        text = text.replace("[alerts.yml]", f"[{INFRA / 'monitoring' / 'alerts.yml'}]")
        config = self.folder / "prometheus.yml"
        config.write_text(text)
        command = [self._prometheus, f"--config.file={config}", f"--web.listen-address={self._at('prometheus')}"]
        command += [f"--storage.tsdb.path={self._made('prometheus') / 'data'}"]
        health = f"http://{self._at('prometheus')}/-/ready"
        environment = {"PATH": os.environ["PATH"]}
        return Part("prometheus", command, environment, self._made("prometheus"), lambda: _answers(health))


def _answers(address: str) -> bool:
    """Whether there is an answer without an error; raises OSError if nobody answers."""
    with urllib.request.urlopen(address, timeout=5):
        return True


@contextmanager
def whole_cluster() -> Iterator[WholeCluster]:
    """Start all of it; it ends with the block."""
    # not pytest's folder: names of Ray's sockets are short, and PostgreSQL's user must get in
    folder = Path(tempfile.mkdtemp(prefix="kbt-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        cluster = WholeCluster(folder)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
