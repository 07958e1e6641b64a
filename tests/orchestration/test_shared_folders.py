"""What a driver sees is looked for where its work is done; here both are this process, and what is there changes."""

import json
import pickle
from pathlib import Path

import pytest

from kinebert.orchestration import shared_folders
from kinebert.orchestration.shared_folders import Shared
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.folder_lock import RUNNING_FILE, held
from kinebert.preprocessing.sets.plan import PlannedShard, PlannedVideo


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_folders, "_PATIENCE_S", 0.2)
    monkeypatch.setattr(shared_folders, "_POLL_S", 0.02)


def test_a_folder_of_the_same_path_is_another_without_the_drivers_mark(tmp_path: Path) -> None:
    folder = str(tmp_path)
    with held(folder, "extract"):
        shared: Shared = pickle.loads(pickle.dumps(Shared.seen_here([folder])))
        shared.check()
        mark = json.loads((tmp_path / RUNNING_FILE).read_text())
        (tmp_path / RUNNING_FILE).write_text(json.dumps({**mark, "token": "of another program"}))
        with pytest.raises(
            UserError, match=rf"{folder}: the node \S+ does not see the folder .* but another one\. Put it"
        ):
            shared.check()
        (tmp_path / RUNNING_FILE).unlink()
        tmp_path.rename(f"{folder}-gone")
        with pytest.raises(UserError, match="but nothing"):
            shared.check()
        Path(f"{folder}-gone").rename(folder)


def test_a_file_is_known_by_its_size(tmp_path: Path) -> None:
    file = tmp_path / "dataset.json"
    file.write_text("1234")
    shared = Shared.seen_here(files=[str(file)])
    shared.check()
    file.write_text("12")
    with pytest.raises(
        UserError, match=rf"{file}: the node \S+ sees another file of 2 bytes, not 4\. Put it on storage"
    ):
        shared.check()
    file.unlink()
    with pytest.raises(UserError, match="sees no such file"):
        shared.check()


def test_of_videos_only_folders_are_asked_for(tmp_path: Path) -> None:
    """A video that goes meanwhile is left out by itself, as ever."""
    paths = [tmp_path / f"class{i}" / "v.mp4" for i in range(3)]
    for path in paths[:2]:
        path.parent.mkdir()
        path.write_bytes(b"x")
    videos = [PlannedVideo(str(i), str(path), 1, None) for i, path in enumerate(paths)]
    far = PlannedVideo("far", "s3://bucket/v.mp4", 1, None)
    shards = [PlannedShard(str(i), (video,)) for i, video in enumerate([*videos, far])]
    shared = Shared.seen_here(videos=shards)
    assert shared.folders == (str(tmp_path / "class0"),), "what is not here is not looked for; a store is everywhere"
    paths[0].unlink()
    shared.check()
    paths[0].parent.rmdir()
    with pytest.raises(UserError, match=r"class0: the node \S+ sees no such folder of videos\. Put it on storage"):
        shared.check()


def test_what_comes_late_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As over NFS, which shows new files after a while."""
    file = tmp_path / "dataset.json"
    file.write_text("1234")
    shared = Shared.seen_here(files=[str(file)])
    file.unlink()
    monkeypatch.setattr(shared_folders, "_PATIENCE_S", 30.0)
    monkeypatch.setattr("time.sleep", lambda _: file.write_text("1234"))
    shared.check()


def test_nobody_holds_it(tmp_path: Path) -> None:
    """As for a caller that works without a lock: then there is nothing to look for."""
    Shared.seen_here([str(tmp_path)], [str(tmp_path / "absent")]).check()
