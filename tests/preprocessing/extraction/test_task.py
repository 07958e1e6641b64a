"""A task: one planned shard in, one file and a summary out, whatever its videos do."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kinebert.preprocessing import storage
from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.guard import Attempts, Limits
from kinebert.preprocessing.extraction.task import BuildShard
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.sets.dataset_file import ShardFacts
from kinebert.preprocessing.sets.digests import forget_records, keep_facts
from kinebert.preprocessing.sets.plan import PlannedShard, plan_shards
from kinebert.preprocessing.sets.writer import VideoSummary, read_footer
from kinebert.preprocessing.tvl1 import TvL1Params
from kinebert.preprocessing.video.frames import VideoFrames
from tests.helpers.sets import make_rows

RECIPE = FrameRecipe(width=48, height=32)
FLOW = FlowRecipe(width=48, height=32, tvl1=TvL1Params(warps=1, nscales=1, outer_iterations=1))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[ManifestRow]:
    return make_rows(tmp_path_factory.mktemp("task"), [6, 6, 6, 6])


@pytest.fixture(scope="module")
def shard(rows: list[ManifestRow]) -> PlannedShard:
    """All videos in one."""
    (planned,) = plan_shards(rows, 4)
    return planned


def task(output: Path | str, **options: Any) -> BuildShard:
    given = {"output": str(output), "recipe": RECIPE, "limits": Limits(), "run_id": "job", **options}
    return BuildShard(**given)


class Watched(VideoFrames):
    """Notes which files are opened."""

    opened: list[str] = []  # noqa: RUF012 - shared on purpose

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        self.opened.append(Path(self.path).stem)
        yield from super().__iter__()


def test_every_video_is_reported_and_lies_where_its_summary_says(shard: PlannedShard, tmp_path: Path) -> None:
    told: list[VideoSummary] = []
    made = task(tmp_path)(shard, told.append)
    assert made.videos == tuple(told)
    assert [video.video_id for video in made.videos] == [video.video_id for video in shard.videos]
    assert [video.first_row_group for video in made.videos] == [0, 1, 2, 3]
    assert {(video.num_frames, video.num_images, video.width, video.height) for video in made.videos} == {
        (6, 6, 48, 32)
    }
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [shard.name]
    assert made.timing is None


def test_a_shard_that_is_there_is_reported_and_not_made_again(shard: PlannedShard, tmp_path: Path) -> None:
    first = task(tmp_path)(shard)
    Watched.opened.clear()
    told: list[VideoSummary] = []
    assert task(tmp_path, open_video=Watched)(shard, told.append) == first
    assert tuple(told) == first.videos
    assert Watched.opened == []


def test_a_file_that_was_replaced_makes_it_anew(shard: PlannedShard, tmp_path: Path) -> None:
    task(tmp_path)(shard)
    Watched.opened.clear()
    first, *others = shard.videos
    touched = PlannedShard(shard.name, (replace(first, num_bytes=first.num_bytes + 1), *others))
    made = task(tmp_path, open_video=Watched)(touched)
    assert len(Watched.opened) == 4
    assert made.files == touched.files_digest() != shard.files_digest()


def flip(path: Path, at: float) -> bytes:
    """Change one bit of a file, and return what it held."""
    whole = path.read_bytes()
    data = bytearray(whole)
    data[int(len(data) * at)] ^= 4
    path.write_bytes(data)
    return whole


@pytest.mark.parametrize("at", [0.5, 0.9999])
def test_a_shard_whose_bytes_have_changed_is_made_again(at: float, shard: PlannedShard, tmp_path: Path) -> None:
    """In its pictures, where nobody else would look, or in its footer, where nothing more could be read."""
    first = task(tmp_path)(shard)
    assert not first.was_damaged
    whole = flip(tmp_path / shard.name, at)
    again = task(tmp_path)(shard)
    assert again == replace(first, was_damaged=True)
    assert (tmp_path / shard.name).read_bytes() == whole
    assert task(tmp_path)(shard) == first


def test_a_shard_of_an_earlier_version_is_kept_without_a_digest(shard: PlannedShard, tmp_path: Path) -> None:
    first = task(tmp_path)(shard)
    forget_records(str(tmp_path))
    Watched.opened.clear()
    assert task(tmp_path, open_video=Watched)(shard) == first
    assert Watched.opened == []


def test_a_digest_that_an_earlier_version_wrote_is_looked_at(shard: PlannedShard, tmp_path: Path) -> None:
    first = task(tmp_path)(shard)
    forget_records(str(tmp_path))
    (tmp_path / ".digests").mkdir()
    (tmp_path / ".digests" / f"{shard.name}.sha256").write_text(first.sha256)
    assert task(tmp_path)(shard) == first
    flip(tmp_path / shard.name, 0.5)
    assert task(tmp_path)(shard) == replace(first, was_damaged=True)


def test_a_damaged_record_is_named(shard: PlannedShard, tmp_path: Path) -> None:
    first = task(tmp_path)(shard)
    record = tmp_path / ".digests" / f"{shard.name}.json"
    record.write_text("{")
    with pytest.raises(UserError, match=r"parquet\.json: not the record of a shard. Delete it: the shard is then read"):
        task(tmp_path)(shard)
    record.unlink()
    assert task(tmp_path)(shard) == first


def test_a_store_is_never_asked_for_what_was_written_to_it(
    shard: PlannedShard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for the digest of a new shard, nor at a restart; one of another size is made again all the same."""
    output, opened, before = f"mock:///{tmp_path.name}", [], storage.open_input

    def noted(uri: str) -> Any:
        if uri.endswith(".parquet"):
            opened.append(uri)
        return before(uri)

    monkeypatch.setattr(storage, "open_input", noted)
    storage.make_folder(output)
    first = task(output)(shard)
    assert task(output)(shard) == first
    assert opened == []
    uri = storage.join(output, shard.name)
    assert (first.sha256, first.num_bytes) == (storage.file_digest(uri), storage.file_size(uri))
    storage.write_bytes(uri, storage.read_bytes(uri)[:-1])
    assert task(output)(shard) == replace(first, was_damaged=True)
    assert storage.file_digest(uri) == first.sha256


def test_of_a_set_that_was_finished_only_footers_are_read(
    shard: PlannedShard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = f"mock:///{tmp_path.name}"
    storage.make_folder(output)
    first = task(output)(shard)
    forget_records(output)
    facts = ShardFacts(name=first.name, bytes=first.num_bytes, sha256=first.sha256, files=first.files)
    keep_facts(output, [facts])
    monkeypatch.setattr(storage, "file_digest", lambda uri: pytest.fail(f"{uri} is read"))
    assert task(output)(shard) == first


def test_a_shard_of_another_recipe_is_refused(shard: PlannedShard, tmp_path: Path) -> None:
    task(tmp_path)(shard)
    other = replace(RECIPE, jpeg_quality=50)
    with pytest.raises(UserError, match=rf"made by recipe {RECIPE.digest()}, this job has {other.digest()}"):
        task(tmp_path, recipe=other)(shard)


def test_who_killed_a_worker_before_goes_first_and_keeps_its_place(shard: PlannedShard, tmp_path: Path) -> None:
    suspect = shard.videos[2]
    died = Attempts(str(tmp_path), "job").attempt(suspect.video_id)
    died.__enter__()  # and never left
    Watched.opened.clear()
    made = task(tmp_path, open_video=Watched)(shard)
    assert Watched.opened[0] == Path(suspect.path).stem
    assert len(Watched.opened) == 4
    assert [video.video_id for video in made.videos] == [video.video_id for video in shard.videos]
    assert [video.first_row_group for video in made.videos] == [0, 1, 2, 3]


def test_a_problem_of_one_video_is_its_own(shard: PlannedShard, tmp_path: Path) -> None:
    first, second, *others = shard.videos
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    planned = PlannedShard(shard.name, (replace(first, path=str(broken)), replace(second, problem="0 bytes"), *others))
    (tmp_path / "set").mkdir()
    made = task(tmp_path / "set")(planned)
    problems = [video.problem for video in made.videos]
    assert problems[0] is not None
    assert problems[0].startswith("decode: 0 frames, at least 2 are needed; InvalidDataError")
    assert problems[1:] == ["manifest: 0 bytes", None, None]
    assert [video.rejected for video in made.videos] == [True, True, False, False]
    assert [video.first_row_group for video in made.videos[2:]] == [0, 1]


def test_the_solver_is_in_the_footer_and_no_part_of_the_recipe(shard: PlannedShard, tmp_path: Path) -> None:
    digests = set()
    for backend in ("numba", "opencv"):
        (tmp_path / backend).mkdir()
        made = task(tmp_path / backend, recipe=FLOW, solver=FlowSolver(backend=backend))(shard)
        footer = read_footer(str(tmp_path / backend / shard.name))
        assert footer["kinebert.solver"] == made.solver
        assert str(made.solver).startswith(backend)
        assert {video.num_images for video in made.videos} == {5}
        digests.add(footer["kinebert.digest"])
    assert digests == {FLOW.digest()}


def test_time_is_measured_where_that_is_asked_for(shard: PlannedShard, tmp_path: Path) -> None:
    made = task(tmp_path, timed=True)(shard)
    assert made.timing is not None
    assert {"decode", "encode", "write"} <= made.timing.stages.keys()
    assert "solve" not in made.timing.stages
    assert 0 < made.timing.stages["decode"].wall_s < made.timing.end - made.timing.start


def test_a_full_disk_for_temporary_files_is_the_users_to_mend(
    shard: PlannedShard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    class Full:
        write_batch = full

    monkeypatch.setattr("pyarrow.ipc.new_stream", lambda *_: Full())
    with pytest.raises(UserError, match=r"cannot keep a video's images for a while \(TMPDIR\): no space is left"):
        task(tmp_path)(shard)
    assert not (tmp_path / shard.name).exists()


class Replaced(VideoFrames):
    """Somebody puts another video in the place of one that is being read, so many times."""

    other = b""
    times = 0
    in_place = False

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for number, frame in enumerate(super().__iter__()):
            if number == 2 and self.path.endswith("v01.mp4") and type(self).times:
                type(self).times -= 1
                target = Path(self.path)
                if not self.in_place:
                    target.unlink()
                target.write_bytes(self.other)
            yield frame


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("times", [1, 9])
def test_a_file_that_is_replaced_while_it_is_read_is_never_half_old_half_new(
    times: int, in_place: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = make_rows(tmp_path / "videos", [30, 30])
    (planned,) = plan_shards(rows, 2)
    (after,) = make_rows(tmp_path / "other", [9], classes=1)
    for name, value in (("other", Path(after.path).read_bytes()), ("times", times), ("in_place", in_place)):
        monkeypatch.setattr(Replaced, name, value)
    (tmp_path / "set").mkdir()
    made = task(tmp_path / "set", open_video=Replaced)(planned)
    kept, touched = made.videos
    assert (kept.num_frames, kept.rejected) == (30, False)
    if times > 3:
        assert touched.rejected
        assert touched.problem == "read: its file was written to or replaced in each of 3 readings"
    else:
        assert (touched.num_frames, touched.problem) == (9, None)
        assert made.replaced == (touched.video_id,)


def test_a_file_that_was_replaced_since_the_index_is_said(tmp_path: Path) -> None:
    rows = make_rows(tmp_path / "videos", [6, 6])
    (planned,) = plan_shards(rows, 2)
    (after,) = make_rows(tmp_path / "other", [9], classes=1)
    Path(rows[1].path).write_bytes(Path(after.path).read_bytes())
    (tmp_path / "set").mkdir()
    made = task(tmp_path / "set")(planned)
    assert made.replaced == (rows[1].video_id,)
    assert [video.num_frames for video in made.videos] == [6, 9]
    assert task(tmp_path / "set")(planned).replaced == ()  # what is kept was said when it was made
