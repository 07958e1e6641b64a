"""Folders whose content is trusted are the user's alone."""

import os
import tempfile
from pathlib import Path

import pytest

from kinebert.preprocessing.private_folder import make_private, user_cache


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def _umask(request: pytest.FixtureRequest):
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_umask")
def test_a_new_one_is_the_users_alone_whatever_the_umask(tmp_path: Path) -> None:
    assert make_private(tmp_path / "parent" / "own")
    assert (tmp_path / "parent" / "own").stat().st_mode & 0o777 == 0o700
    assert make_private(tmp_path / "parent" / "own")


def test_one_that_others_may_write_into_or_that_is_a_link_or_a_file_is_not_taken(tmp_path: Path) -> None:
    for name, mode in (("group", 0o770), ("all", 0o1777)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
        assert not make_private(tmp_path / name)
    (tmp_path / "there").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("there")
    assert not make_private(tmp_path / "link")
    (tmp_path / "file").touch()
    assert not make_private(tmp_path / "file")
    assert not make_private(tmp_path / "file" / "below")
    (tmp_path / "read").mkdir(mode=0o755)
    assert make_private(tmp_path / "read"), "earlier versions made it so"


def test_the_cache_of_a_user_whose_place_is_taken_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert user_cache() == tmp_path / "cache" / "kinebert"
    (tmp_path / "cache" / "kinebert").chmod(0o777)
    shared = tmp_path / f"kinebert-{os.getuid()}"
    assert user_cache() == shared
    shared.chmod(0o777)
    other = user_cache()
    assert other.parent == tmp_path
    assert other not in (shared, user_cache())
    assert other.stat().st_mode & 0o777 == 0o700
