"""What containers are told by files and variables reaches the libraries that need it."""

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.infra_files import INFRA, checked, documents
from tests.helpers.mlflow_servers import postgres
from tests.helpers.object_store import object_store
from tests.helpers.paths import ROOT

READ = """
import sys
from kinebert.preprocessing import storage
fs, path = storage.open_filesystem(sys.argv[1])
with fs.open_input_file(path) as file:
    print(file.read().decode())
"""
(COMPOSE,) = documents(INFRA / "docker" / "compose.yaml")


def secrets(folder: Path) -> Path:
    checked(str(INFRA / "docker" / "make-secrets"), str(folder))
    return folder


def test_a_node_finds_the_store_and_its_keys(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    (bucket / "found.txt").write_text("here")
    given = COMPOSE["services"]["head"]["environment"]
    with object_store(bucket, 0.0) as (query, requests):
        (port,) = re.findall(r"127\.0\.0\.1:(\d+)", query)
        environment = {name: value.replace("s3:8333", f"127.0.0.1:{port}") for name, value in given.items()}
        environment["AWS_SHARED_CREDENTIALS_FILE"] = str(secrets(tmp_path / "secrets") / "s3_kinebert")
        environment |= {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        told = checked(sys.executable, "-c", READ, "s3://kinebert/found.txt", env=environment)
        assert told.strip() == "here"
        assert requests.value > 0


@pytest.mark.slow
def test_mlflow_reaches_the_database_by_the_service_file(tmp_path: Path) -> None:
    """The password is in a file alone; PostgreSQL's library reads it whatever its mode is."""
    made = configparser.ConfigParser()
    file = secrets(tmp_path / "secrets") / "pg_service.conf"
    made.read(file)
    (uri,) = [
        word.partition("=")[2]
        for word in COMPOSE["services"]["mlflow"]["command"]
        if word.startswith("--backend-store-uri=")
    ]
    with postgres() as address:
        (port,) = re.findall(r":(\d+)/", address)
        made["mlflow"].update({"host": "127.0.0.1", "port": port, "user": "kinebert"})
        here = tmp_path / "here.conf"
        with here.open("w") as target:
            made.write(target, space_around_delimiters=False)
        here.chmod(file.stat().st_mode)
        code = (
            "import sys; from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as Store; "
            "print(Store(sys.argv[1], sys.argv[2]).create_experiment('kinebert'))"
        )
        command = [sys.executable, "-c", code, uri, str(tmp_path / "artifacts")]
        environment = {**os.environ, "PGSERVICEFILE": str(here)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)
        assert done.stdout.strip() == "1", done.stderr
        connect = [sys.executable, "-c", "import sqlalchemy, sys; sqlalchemy.create_engine(sys.argv[1]).connect()", uri]
        environment["PGSERVICEFILE"] = str(file)
        other = subprocess.run(connect, env=environment, capture_output=True, text=True, timeout=60)
        assert 'name "postgres"' in other.stderr  # that of the compose file, which is not here
