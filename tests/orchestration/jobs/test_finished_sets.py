"""A finished set that is asked for again: its bytes are looked at before it is called complete. Without a cluster."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from kinebert.orchestration.audience import Terminal
from kinebert.orchestration.extraction import shard_tasks
from kinebert.orchestration.extraction.shard_tasks import ExtractionResult, extract_set
from kinebert.preprocessing import storage
from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.extraction.guard import Limits
from kinebert.preprocessing.extraction.task import BuildShard
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.dataset_file import ShardFacts, read_dataset_file
from kinebert.preprocessing.sets.digests import changed_shards
from kinebert.preprocessing.sets.plan import PlannedShard
from kinebert.preprocessing.sets.verify import verify_set
from kinebert.preprocessing.sets.writer import ShardSummary
from tests.helpers.sets import make_rows, make_set

RGB = FrameRecipe(resize="none")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[ManifestRow]:
    return make_rows(tmp_path_factory.mktemp("videos"), [5, 4, 3, 6])


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tasks run in this process; the names of the shards that they were given."""
    names: list[str] = []

    def run(shards: Sequence[PlannedShard], build: BuildShard, *_: object) -> list[ShardSummary]:
        names.extend(shard.name for shard in shards)
        return [build(shard) for shard in shards]

    placement = SimpleNamespace(about="", gpus_per_task=0, solver=None)
    monkeypatch.setattr(shard_tasks, "_run", run)
    monkeypatch.setattr(shard_tasks, "_place", lambda *_: placement)
    monkeypatch.setattr(shard_tasks, "watched", nullcontext)
    monkeypatch.setattr(vars(shard_tasks)["_cluster"], "cluster", lambda _: nullcontext())
    return names


def extract(rows: list[ManifestRow], output: Path) -> ExtractionResult:
    build = BuildShard(output=str(output), recipe=RGB, limits=Limits(), run_id="")
    return extract_set(rows, str(output), build, videos_per_shard=2, audience=Terminal())


def flip(path: Path) -> None:
    """Change one bit in the middle, which leaves size and footer as they are."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_what_is_whole_is_left_alone_and_that_is_said(
    rows: list[ManifestRow], made: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_set(rows, tmp_path / "set", RGB)
    assert extract(rows, tmp_path / "set").new_videos == 0
    assert made == []
    assert "2 of 2 shards hold the bytes that were written" in capsys.readouterr().err


def test_a_flipped_bit_makes_its_shard_again(
    rows: list[ManifestRow], made: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_set(rows, tmp_path / "set", RGB)
    first, second = sorted((tmp_path / "set").glob("shard-*"))
    before, untouched = first.read_bytes(), second.stat().st_mtime_ns
    flip(first)
    assert extract(rows, tmp_path / "set").new_videos == 4
    said = capsys.readouterr().err
    assert "1 of 2 shards hold the bytes that were written" in said
    assert f"{first.name}: not the bytes that had been written (1 in all); made again" in said
    assert first.read_bytes() == before
    assert second.stat().st_mtime_ns == untouched
    assert verify_set(str(tmp_path / "set")).problems == ()
    assert extract(rows, tmp_path / "set").new_videos == 0


def test_sizes_are_compared_where_a_set_lies_in_a_store_and_verify_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(storage, "file_digest", lambda uri: pytest.fail(f"{uri} was read back"))
    shard = ShardFacts(name="shard-0.parquet", bytes=1, sha256="0", files="0")
    is_as_written: Callable[..., bool] = vars(shard_tasks)["_is_as_written"]
    assert is_as_written("s3://bucket/set", [shard], Terminal())
    assert "the sizes of 1 shards are right; kinebert verify s3://bucket/set reads their bytes" in (
        capsys.readouterr().out
    )
    assert changed_shards("s3://bucket/set", [shard]) == []


def test_every_shard_that_changed_is_named(rows: list[ManifestRow], tmp_path: Path) -> None:
    make_set(rows, tmp_path / "set", RGB, videos_per_shard=1)
    dataset = read_dataset_file(str(tmp_path / "set"))
    assert dataset is not None
    names = [shard.name for shard in dataset.shards]
    flip(tmp_path / "set" / names[1])
    flip(tmp_path / "set" / names[3])
    told: list[int] = []
    assert changed_shards(str(tmp_path / "set"), dataset.shards, told.append) == [names[1], names[3]]
    assert told == [1, 2, 3, 4]
