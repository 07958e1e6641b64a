"""Files in a store that is throttled, ill or out of reach: whole or not there, for a while or for ever."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.one_video import extract_video
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.plan import PlannedVideo
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.sets.verify import verify_set
from kinebert.preprocessing.stores import limits, uploads
from kinebert.preprocessing.stores.answers import StorageError, StoreAwayError
from kinebert.preprocessing.video.frames import VideoFrames
from kinebert.preprocessing.video.probe import probe_video, probe_videos
from tests.helpers.object_store import KEYS
from tests.helpers.s3_server import BUCKET, Way, s3_server, unfinished_uploads, way_to
from tests.helpers.sets import make_rows, make_set
from tests.helpers.videos import moving_texture, write_video

FEW = 4
"""Times that a request is tried here, where nobody wants to wait for a minute."""
FOR_EVER = float("inf")


def slow(what: int | str) -> Any:
    return pytest.param(what, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        with s3_server() as found:
            yield found


@pytest.fixture
def store(port: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Way, str, str]]:
    """The way to a store, a folder in it of this test's own, and what stands behind that one's question mark."""
    monkeypatch.setattr(limits, "TRIES", FEW)
    limits.opened.cache_clear()
    with way_to(port) as (way, query):
        folder = f"s3://{BUCKET}/{abs(hash(request.node.nodeid))}?{query}"
        storage.make_folder(folder)
        yield way, folder, query
    limits.opened.cache_clear()


@pytest.mark.parametrize("what", [503, slow(500), slow("reset"), "lost"])
def test_what_passes_is_waited_for(store: tuple[Way, str, str], what: int | str) -> None:
    """Each request of a file's life goes wrong twice, whichever it is."""
    way, folder, _ = store
    uri = storage.join(folder, "file")
    failed: set[tuple[str, str]] = set()

    def twice(method: str, path: str) -> int | str | None:
        for time in ("first", "second"):
            if (time, f"{method} {path}") not in failed:
                failed.add((time, f"{method} {path}"))
                return what
        return None

    way.fault = twice
    storage.write_bytes(uri, b"content")
    assert (storage.read_bytes(uri), storage.file_size(uri)) == (b"content", 7)
    assert storage.list_files(folder) == ["file"]
    assert storage.exists(uri)
    storage.move_file(uri, storage.join(folder, "other"))
    assert storage.list_files(folder) == ["other"]
    storage.delete_file(storage.join(folder, "other"))
    assert storage.list_files(folder) == []
    assert sum(count for name, count in way.seen.items() if name.endswith(str(what))) >= 16
    assert storage.modified_at(uri) is None


def test_half_an_answer_is_asked_for_again(store: tuple[Way, str, str]) -> None:
    way, folder, _ = store
    uri = storage.join(folder, "file")
    storage.write_bytes(uri, os.urandom(1 << 20))
    whole = storage.read_bytes(uri)
    way.fails(2, "half", "GET")
    assert storage.read_bytes(uri) == whole


@pytest.mark.parametrize("what", [503, slow(500), slow("reset")])
def test_there_is_a_limit_and_then_one_line(store: tuple[Way, str, str], what: int | str) -> None:
    way, folder, _ = store
    uri = storage.join(folder, "file")
    storage.write_bytes(uri, b"before")
    asks = [
        lambda: storage.write_bytes(uri, b"after"),
        lambda: storage.read_bytes(uri),
        lambda: storage.exists(uri),
        lambda: storage.file_size(uri),
        lambda: storage.list_files(folder),
        lambda: storage.move_file(uri, storage.join(folder, "other")),
        lambda: storage.check_writable(folder),
    ]
    way.fails(FOR_EVER, what)
    for ask in asks:
        with pytest.raises(
            StoreAwayError, match=r"s3://.*: the store does not answer as it should.*same command"
        ) as error:
            ask()
        assert "\n" not in str(error.value)
    assert str(what) in str(error.value) or "eset" in str(error.value), "it says what the store said"
    way.fails(0, what)
    assert storage.read_bytes(uri) == b"before"
    assert storage.list_files(folder) == ["file"]


def test_how_often_it_is_asked(store: tuple[Way, str, str]) -> None:
    way, folder, _ = store
    storage.exists(folder)
    way.seen.clear()
    way.fails(FOR_EVER, 503)
    with pytest.raises(StoreAwayError):
        storage.open_input(storage.join(folder, "file"))
    assert way.seen["HEAD 503"] == FEW


def test_a_file_that_goes_after_it_was_opened(store: tuple[Way, str, str]) -> None:
    """Which is no trouble of the store, though pyarrow has no room for its answer."""
    way, folder, _ = store
    uri = storage.join(folder, "file")
    storage.write_bytes(uri, b"x")
    with storage.open_input(uri) as file:
        storage.delete_file(uri)
        way.seen.clear()
        with pytest.raises(FileNotFoundError):
            file.read()
    assert way.seen["GET"] <= 2


def test_what_is_refused_is_not_asked_again(store: tuple[Way, str, str]) -> None:
    way, folder, _ = store
    storage.write_bytes(storage.join(folder, "file"), b"x")
    way.seen.clear()
    way.fails(FOR_EVER, 403)
    with pytest.raises(StorageError, match="the store refuses: ACCESS_DENIED.*keys in the environment") as error:
        storage.read_bytes(storage.join(folder, "file"))
    assert not isinstance(error.value, StoreAwayError)
    assert way.seen["HEAD 403"] == 1
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in str(error.value)


@pytest.mark.parametrize("broken", ["partNumber=2", "POST .*uploadId", slow("PUT .*/file[?]?[^/]*$"), slow("DELETE")])
def test_a_large_file_that_breaks_off_is_not_there(store: tuple[Way, str, str], port: int, broken: str) -> None:
    """In the middle of its bytes, at their end, when it takes its name, and when its first name goes."""
    way, folder, _ = store
    uri, size = storage.join(folder, "file"), 22 << 20  # parts have 10 MiB
    storage.write_bytes(uri, b"before")
    way.fails(FOR_EVER, 503, broken)
    with pytest.raises(StoreAwayError):
        storage.write_bytes(uri, bytes(size))
    assert any(name.endswith("503") for name in way.seen), "it was such a request"
    way.fails(0, 503)
    assert storage.file_size(uri) in ((6, size) if broken == "DELETE" else (6,)), "whole, either way"
    storage.sweep_partials(folder)
    assert storage.list_files(folder) == ["file"]
    storage.write_bytes(uri, bytes(size))
    assert storage.file_size(uri) == size
    assert unfinished_uploads(port) <= 4


def test_an_answer_that_is_lost_at_the_end_of_a_large_file(store: tuple[Way, str, str]) -> None:
    """The store has put it together, and does not know that upload any more when it is asked again."""
    way, folder, _ = store
    uri, data = storage.join(folder, "file"), os.urandom(12 << 20)
    way.fails(1, "lost", "POST .*uploadId")
    storage.write_bytes(uri, data)
    assert way.seen["POST lost"] == 1
    assert storage.read_bytes(uri) == data


def test_a_file_that_is_too_large_to_be_renamed_is_refused(
    store: tuple[Way, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder, _ = store
    monkeypatch.setattr(uploads, "LARGEST", 4)
    with pytest.raises(UserError, match="S3 renames files of up to"):
        storage.write_bytes(storage.join(folder, "file"), b"12345")
    assert storage.list_files(folder) == []


def test_a_video_in_a_store_that_is_away_is_not_rejected(store: tuple[Way, str, str], tmp_path: Path) -> None:
    """Neither as one that cannot be read, nor as one that ends early."""
    way, folder, _ = store
    local = write_video(tmp_path / "v.mp4", moving_texture(60, 320, 240))
    uri = storage.join(folder, "v.mp4")
    storage.write_bytes(uri, local.read_bytes())
    video, recipe = PlannedVideo("v", uri, local.stat().st_size, None), FrameRecipe(width=32, height=32)

    def extract() -> int:
        return extract_video(video, recipe, VideoFrames, lambda: None, FlowSolver())[0].num_frames

    assert extract() == 60
    assert probe_video(uri).problem is None
    for when in ("HEAD", "GET"):
        way.fails(2, 503, when)
        assert extract() == 60
        way.fails(FOR_EVER, 503, when)
        with pytest.raises(StoreAwayError):
            extract()
        with pytest.raises(StoreAwayError):
            probe_video(uri)
    way.fails(FOR_EVER, 403)
    assert "ACCESS_DENIED" in str(probe_video(uri).problem), "this one is told of the video"


@pytest.mark.slow
def test_a_set_in_a_store_that_fails(store: tuple[Way, str, str], tmp_path: Path) -> None:
    """It is made and read by the same bytes, and what cannot be read is not called damaged."""
    way, folder, _ = store
    rows, recipe = make_rows(tmp_path / "videos", [40, 20, 30]), FrameRecipe(width=48, height=32)
    near = make_set(rows, tmp_path / "set", recipe)
    count = [0]

    def some(method: str, path: str) -> int | None:
        count[0] += 1
        return (503, 500, None, None, None)[count[0] % 5]

    way.fault = some
    far = make_set(rows, folder, recipe)
    assert far.dataset == near.dataset
    for entry, there in zip(far.videos, near.videos, strict=True):
        assert far.read_jpegs(entry, range(20)) == near.read_jpegs(there, range(20))
    assert verify_set(folder).problems == ()
    far = ShardSet.open(folder)
    way.fails(FOR_EVER, 503)
    with pytest.raises(StoreAwayError):
        far.read_jpegs(far.videos[0], range(20))
    way.fails(FOR_EVER, 503, "shard-")
    with pytest.raises(StoreAwayError):
        verify_set(folder)


@pytest.mark.slow
def test_an_index_of_a_store_that_is_away_is_not_made(port: int, tmp_path: Path) -> None:
    """With the limits as they are, in the processes that look into videos: a minute."""
    local = write_video(tmp_path / "v.mp4", moving_texture(60, 320, 240))
    with way_to(port) as (way, query):
        uri = f"s3://{BUCKET}/index/v.mp4?{query}"
        storage.write_bytes(uri, local.read_bytes())
        assert [facts.problem for facts in probe_videos([uri])] == [None]
        way.fails(FOR_EVER, 503, "GET")
        with pytest.raises(StoreAwayError, match="asked 12 times in a minute"):
            probe_videos([uri], timeout_s=10)
        assert way.seen["GET 503"] == 12
