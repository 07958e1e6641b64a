"""Scripts that a shell runs: linted, and those of infra/docker do what their first lines say."""

import configparser
import json
import os
import re
import stat
import subprocess
from pathlib import Path

from tests.helpers.infra_files import INFRA, checked, program, shell_scripts
from tests.helpers.paths import ROOT

DOCKER = INFRA / "docker"


def make(folder: Path) -> dict[str, str]:
    checked(str(DOCKER / "make-secrets"), str(folder))
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_shellcheck_finds_nothing() -> None:
    scripts = shell_scripts()
    assert {ROOT / ".ci" / "run", DOCKER / "make-secrets", DOCKER / "pin-images"} <= {*scripts}
    checked(program("shellcheck"), *map(str, scripts))


def test_scripts_can_be_run() -> None:
    assert [path for path in shell_scripts() if path.is_relative_to(INFRA) and not os.access(path, os.X_OK)] == []


def test_nobody_else_gets_at_secrets(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    before = os.umask(0)
    try:
        make(folder)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o444}


def test_secrets_are_random_and_made_once(tmp_path: Path) -> None:
    first, other = make(tmp_path / "first"), make(tmp_path / "other")
    assert all(first[name] != other[name] for name in first)
    assert all(re.fullmatch("[0-9a-f]{64}", first[name]) for name in ("ray_token", "grafana_password"))
    assert make(tmp_path / "first") == first
    (tmp_path / "first" / "ray_token").unlink()
    again = make(tmp_path / "first")
    assert again.pop("ray_token") != first.pop("ray_token")
    assert again == first


def test_what_belongs_together_agrees(tmp_path: Path) -> None:
    made = make(tmp_path)
    service = configparser.ConfigParser()
    service.read_string(made["pg_service.conf"])
    assert service["mlflow"]["password"] == made["postgres_password"]
    assert made["redis.conf"] == f"requirepass {made['redis_password']}\n"
    identities = {one["name"]: one for one in json.loads(made["s3.json"])["identities"]}
    assert set(identities) == {"admin", "kinebert", "mlflow"}
    for name, identity in identities.items():
        profile = configparser.ConfigParser()
        profile.read_string(made[f"s3_{name}"])
        (keys,) = identity["credentials"]
        assert profile["default"]["aws_access_key_id"] == keys["accessKey"]
        assert profile["default"]["aws_secret_access_key"] == keys["secretKey"]
    for name in ("kinebert", "mlflow"):  # neither sees the other's bucket
        assert {action.partition(":")[2] for action in identities[name]["actions"]} == {name}


def test_images_without_a_digest_get_one(tmp_path: Path) -> None:
    digest = "sha256:" + "a" * 64
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\n[ "${{6#}}" = postgres:99 ] && echo {digest} || echo unknown\n')
    docker.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    file = tmp_path / "images.env"
    kept = f"# of others\nARG PYTHON_IMAGE=python:3@sha256:{'b' * 64}\n"
    file.write_text(kept + "POSTGRES_IMAGE=postgres:99\n")
    checked(str(DOCKER / "pin-images"), str(file), env=environment)
    assert file.read_text() == f"{kept}POSTGRES_IMAGE=postgres:99@{digest}\n"

    wrong = "POSTGRES_IMAGE=postgres:100\n"
    file.write_text(wrong)
    done = subprocess.run([DOCKER / "pin-images", file], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "postgres:100: expected a digest, got 'unknown'" in done.stderr
    assert file.read_text() == wrong
    assert sorted(path.name for path in tmp_path.iterdir()) == ["docker", "images.env"]
