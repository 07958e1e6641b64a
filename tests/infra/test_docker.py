"""The images: what they are made of is pinned, what they need is there, and what they need not is not."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.helpers.infra_files import CONSTRAINTS, INFRA, checked, program
from tests.helpers.paths import ROOT
from tests.helpers.requirements import imported, missing

DOCKERFILE = INFRA / "docker" / "Dockerfile"
TEXT = DOCKERFILE.read_text()
STAGES = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", TEXT, re.MULTILINE | re.DOTALL))
PARENTS = {name: parent for parent, name in re.findall(r"^FROM (\S+) AS (\S+)$", TEXT, re.MULTILINE)}
TARGETS = ("cpu", "serve", "gpu", "mlflow")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_hadolint_finds_nothing() -> None:
    checked(program("hadolint"), str(DOCKERFILE))


def test_every_image_from_elsewhere_has_a_digest() -> None:
    lines = re.findall(r"^(?:ARG )?\w+_IMAGE=(.*)$", TEXT + (INFRA / "docker/images.env").read_text(), re.MULTILINE)
    assert len(lines) == 6
    for image in lines:
        assert re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", image), image
    assert set(PARENTS.values()) - set(PARENTS) == {"${PYTHON_IMAGE}"}


def test_the_images_python_is_one_that_is_supported() -> None:
    (minor,) = re.findall(r"^ARG PYTHON_IMAGE=python:(3\.\d+)\.\d+-", TEXT, re.MULTILINE)
    assert f"Programming Language :: Python :: {minor}" in PROJECT["classifiers"]


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_ends_without_a_compiler_and_without_root(target: str) -> None:
    above, name = STAGES[target], target
    while PARENTS[name] in STAGES:
        name = PARENTS[name]
        above = STAGES[name] + above
    assert "gcc" not in above
    assert "build-essential" not in above
    assert re.findall(r"^USER (.*)$", above, re.MULTILINE)[-1] == "1000:1000"
    assert "HEALTHCHECK" in STAGES[target]


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_packages_come_before_sources(target: str) -> None:
    copied = re.findall(r"^COPY (.*)$", STAGES[f"{target}-packages"] + STAGES["build"], re.MULTILINE)
    assert copied == ["pyproject.toml constraints.txt infra/docker/requirements.py ./"]
    assert STAGES[target].index(f"COPY --from={target}-packages") < STAGES[target].index("from=wheel")


def test_what_is_copied_is_there_and_is_not_ignored() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert [path for path in allowed if not (ROOT / path).exists()] == []
    for line in re.findall(r"^COPY (?!--from)(.*) \S+$", TEXT, re.MULTILINE):
        for source in line.split():
            assert source == "." or any(Path(source).is_relative_to(path) for path in allowed), source
    packages = {link.name for link in (ROOT / "kinebert").iterdir() if link.is_symlink()}
    assert packages | {"kinebert"} <= allowed


@pytest.mark.slow
def test_the_wheel_is_made_of_what_docker_is_sent(tmp_path: Path) -> None:
    context = tmp_path / "context"
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        source, target = ROOT / line[1:], context / line[1:]
        if line.startswith("!"):
            target.parent.mkdir(parents=True, exist_ok=True)
            ignored = shutil.ignore_patterns("__pycache__", "secrets")
            shutil.copytree(source, target, symlinks=True, ignore=ignored) if source.is_dir() else shutil.copy(
                source, target
            )
    code = "from setuptools import build_meta as b; b.build_wheel('dist')"
    checked(sys.executable, "-c", code, cwd=context, env={**os.environ, "KINEBERT_COMMIT": "abc1234 clean"})
    (wheel,) = (context / "dist").glob("kinebert-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("kinebert/commit.txt") == b"abc1234 clean\n"
        assert {"kinebert/pipelines/recipes/rgb.toml", "kinebert/preprocessing/storage.py"} <= {*archive.namelist()}


def test_every_requirement_of_an_image_is_constrained(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    checked(sys.executable, str(INFRA / "docker" / "requirements.py"), str(tmp_path))
    named = {}
    for target in ("cpu", "gpu", "mlflow"):
        lines = (tmp_path / f"{target}.txt").read_text().splitlines()
        named[target] = {re.split(r"[\[><=; ]", line)[0] for line in lines}
        assert named[target] <= {name.lower() for name in CONSTRAINTS}, target
    assert {"torch", "ray", "av", "optuna"} <= named["cpu"] < named["gpu"]
    assert named["mlflow"] == {"mlflow", "boto3", "psycopg"}


@pytest.mark.slow  # triton is imported three times
def test_triton_finds_the_helper_where_there_is_no_compiler(tmp_path: Path) -> None:
    imported("triton", "triton")
    if subprocess.run(["which", "gcc"], capture_output=True).returncode:
        missing("system", "gcc is not installed")
    cache = tmp_path / "cache"
    checked(sys.executable, str(INFRA / "docker" / "triton_helper.py"), str(cache))
    (tmp_path / "libcuda.so.1").touch()
    code = "from triton.backends.nvidia.driver import CudaUtils; CudaUtils()"
    environment = {"CC": "/bin/false", "TRITON_LIBCUDA_PATH": str(tmp_path), "HOME": str(tmp_path)}

    def error(folder: Path) -> str:
        given = {**environment, "TRITON_CACHE_DIR": str(folder)}
        return subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True).stderr

    assert "could not be loaded" in error(cache)  # it was found, and wants a driver
    assert "could not be loaded" not in error(tmp_path / "another")
