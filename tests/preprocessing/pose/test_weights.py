"""Weights are found by their digest wherever they lie, and never taken for others."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.extraction.pose_finder import PoseFinder
from kinebert.preprocessing.pose.estimator import WeightsFile, installed
from kinebert.preprocessing.pose.weights import (
    FOLDER_VARIABLE,
    digest_of,
    find_weights,
    locate_weights,
    name_weights,
    weights_folders,
)
from kinebert.preprocessing.recipe import PoseRecipe
from tests.helpers.poses import BRIGHT, SHA256, bright_backend, write_weights


@pytest.fixture(autouse=True)
def empty_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own weights are no part of a test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "mine"))


def test_files_are_found_by_their_bytes_in_the_named_folder_and_in_the_cache(tmp_path: Path) -> None:
    mine, cache = weights_folders()
    assert mine == tmp_path / "mine"
    assert find_weights(SHA256) is None
    write_weights(cache, "renamed.bin")
    assert find_weights(SHA256) == str(cache / "renamed.bin")
    (mine / "below").mkdir(parents=True)
    (mine / "other.bin").write_bytes(b"else")
    write_weights(mine, "z.bin")
    assert locate_weights(BRIGHT, {"network": SHA256}) == {"network": str(mine / "z.bin")}


def test_a_path_that_is_given_goes_first_and_one_of_another_machine_is_looked_for(tmp_path: Path) -> None:
    given = write_weights(tmp_path / "here")
    assert locate_weights(BRIGHT, {"network": SHA256}, {"network": str(given)}) == {"network": str(given)}
    kept = write_weights(tmp_path / "mine")
    elsewhere = {"network": "/another/machine/x.bin"}
    assert locate_weights(BRIGHT, {"network": SHA256}, elsewhere) == {"network": str(kept)}


def test_names_come_from_files_and_a_wrong_file_is_refused_with_both_digests(tmp_path: Path) -> None:
    path = write_weights(tmp_path)
    assert name_weights(BRIGHT, {}, {"network": str(path)}) == {"network": SHA256} == {"network": digest_of(str(path))}
    for asked in (name_weights, locate_weights):
        with pytest.raises(UserError, match=rf"its SHA-256 is {SHA256}, expected {'0' * 64}.*leave the digest out"):
            asked(BRIGHT, {"network": "0" * 64}, {"network": str(path)})
    fixed = replace(BRIGHT, files=(WeightsFile(role="network", about="one file", sha256="1" * 64),))
    with pytest.raises(UserError, match=f"expected {'1' * 64}") as refused:
        locate_weights(fixed, {}, {"network": str(path)})
    assert "leave the digest" not in str(refused.value)
    with pytest.raises(ConfigError, match=r"no file of weights of the pose backend bright 'netwrk'.*network"):
        name_weights(BRIGHT, {}, {"netwrk": str(path)})


def test_what_is_missing_is_said_with_the_licence_and_the_way_out() -> None:
    for named in ({}, {"network": SHA256}):
        with pytest.raises(UserError) as refused:
            locate_weights(BRIGHT, named)
        text = str(refused.value)
        assert "\n" not in text
        for part in ("for tests only", "six letters", "--weights network=FILE", FOLDER_VARIABLE, "Write them"):
            assert part in text
        assert (SHA256 in text) == bool(named)


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = write_weights(tmp_path)
    assert digest_of(str(path)) == SHA256
    path.write_bytes(b"bright, but others")
    assert digest_of(str(path)) == hashlib.sha256(b"bright, but others").hexdigest()


def test_a_package_that_is_not_here_is_told_before_anything_starts(tmp_path: Path) -> None:
    write_weights(tmp_path / "mine")
    lacking = replace(BRIGHT, check=installed("bright", "no_such_module", "no-such-package"))
    with bright_backend(lacking):
        recipe = PoseRecipe(backend="bright", weights={"network": SHA256})
        with pytest.raises(UserError, match=r"bright needs no-such-package, .* pip install 'kinebert\[pose\]'"):
            PoseFinder().check(recipe)
    installed("bright", "numpy", "numpy")()
