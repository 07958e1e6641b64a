"""Whose a folder is while a set is made in it, and when the set is finished."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.sets.dataset_file import CLAIM, DATASET_FILE, FlowFacts, read_dataset_file
from kinebert.preprocessing.sets.folder import (
    claim_output,
    content_digest,
    describe_flow,
    is_finished,
    labels_digest,
)
from kinebert.preprocessing.sets.plan import plan_shards
from kinebert.preprocessing.tvl1 import TvL1Params
from tests.helpers.sets import make_rows, make_set

RECIPE = FrameRecipe(width=48, height=32)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[ManifestRow]:
    return make_rows(tmp_path_factory.mktemp("folder") / "videos", [6, 6, 6, 6])


@pytest.fixture(scope="module")
def made(rows: list[ManifestRow], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("folder") / "set"
    make_set(rows, output, RECIPE)
    return output


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "set")
    return tmp_path / "set"


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_plan_is_kept_whatever_the_next_job_would_plan(copy: Path, rows: list[ManifestRow]) -> None:
    first = plan_shards(rows, 2)
    kept = claim_output(str(copy), RECIPE, plan_shards(rows, 1))
    assert kept == first
    assert len(plan_shards(rows, 1)) == 4


def test_a_claim_of_nothing_binds_nobody(rows: list[ManifestRow], tmp_path: Path) -> None:
    claim_output(str(tmp_path), RECIPE, plan_shards(rows, 2))
    other = replace(RECIPE, width=64)
    assert claim_output(str(tmp_path), other, plan_shards(rows[:2], 1)) == plan_shards(rows[:2], 1)
    assert json.loads((tmp_path / CLAIM).read_text())["recipe"]["width"] == 64


def test_another_recipe_list_or_owner_is_refused(copy: Path, rows: list[ManifestRow], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"made with another recipe \(here != there\): width: 64 != 48"):
        claim_output(str(copy), replace(RECIPE, width=64), plan_shards(rows, 2))
    with pytest.raises(ConfigError, match=r"another list of videos \(4 there, 3 here; only in one: class1/v03\)"):
        claim_output(str(copy), RECIPE, plan_shards(rows[:3], 2))
    (copy / CLAIM).write_text("[]")
    with pytest.raises(ConfigError, match=r"\.claim\.json: not a claim of this version\. Choose another output folder"):
        claim_output(str(copy), RECIPE, plan_shards(rows, 2))
    (copy / CLAIM).unlink()
    with pytest.raises(ConfigError, match=r"holds Parquet files that are no shard set \(index\.parquet\)"):
        claim_output(str(copy), RECIPE, plan_shards(rows, 2))


def test_a_file_that_was_replaced_changes_the_plans_digest(copy: Path, rows: list[ManifestRow]) -> None:
    shards = plan_shards(rows, 2)
    assert is_finished(str(copy), rows, shards)
    touched = [replace(rows[0], bytes=rows[0].bytes + 1), *rows[1:]]
    plan = claim_output(str(copy), RECIPE, plan_shards(touched, 2))
    assert [shard.name for shard in plan] == [shard.name for shard in shards]
    assert not is_finished(str(copy), touched, plan)


def test_a_set_is_finished_while_nothing_is_missing(copy: Path, rows: list[ManifestRow]) -> None:
    shards = plan_shards(rows, 2)
    relabelled = [replace(row, label=1 - row.label) for row in rows]
    assert not is_finished(str(copy), relabelled, shards)
    (copy / shards[0].name).rename(copy / "elsewhere")
    assert not is_finished(str(copy), rows, shards)
    (copy / "elsewhere").rename(copy / shards[0].name)
    assert is_finished(str(copy), rows, shards)
    (copy / "index.parquet").unlink()
    assert not is_finished(str(copy), rows, shards)


def test_what_says_that_a_set_is_complete_is_checked(copy: Path) -> None:
    path = copy / DATASET_FILE
    before = read_dataset_file(str(copy))
    assert before is not None
    assert before.counts.stored == 4
    change(path, format=7)
    with pytest.raises(UserError, match=r"dataset\.json: format 7, this version reads 1\. Extract the set again"):
        read_dataset_file(str(copy))
    path.write_text("{}")
    with pytest.raises(UserError, match=r"dataset\.json: not a dataset\.json of this program"):
        read_dataset_file(str(copy))
    path.unlink()
    assert read_dataset_file(str(copy)) is None


def test_the_labels_digest_sees_labels_and_splits_and_no_pixels(rows: list[ManifestRow]) -> None:
    before = labels_digest(rows)
    assert labels_digest([replace(row, path="/elsewhere", bytes=1, group="g") for row in rows]) == before
    assert labels_digest([replace(rows[0], splits={"split1": "test"}), *rows[1:]]) != before
    assert labels_digest([replace(rows[0], label_name="other"), *rows[1:]]) != before


def test_the_content_digest_sees_every_byte_and_row() -> None:
    row: dict[str, Any] = {"video_id": "a", "label": 0, "splits": {"b": "train", "a": "val"}}
    before = content_digest(["01", "02"], [row])
    assert content_digest(["01", "02"], [{**row, "splits": [("a", "val"), ("b", "train")]}]) == before
    assert content_digest(["02", "01"], [row]) != before
    assert content_digest(["01", "02"], [{**row, "label": 1}]) != before


def test_who_solved_the_flow_is_told_in_a_line(rows: list[ManifestRow], tmp_path: Path) -> None:
    assert describe_flow(None) is None
    flow = FlowFacts(preset="fast", solvers={"torch 2.9": 7, "numba 0.6": 3})
    assert describe_flow(flow) == "TV-L1, preset fast, solved by numba 0.6 (3 fields), torch 2.9 (7 fields)"
    recipe = FlowRecipe(width=48, height=32, tvl1=TvL1Params(warps=1, nscales=1, outer_iterations=1))
    found = make_set(rows[:2], tmp_path / "flow", recipe)
    line = describe_flow(found.dataset.flow)
    assert line is not None
    assert line.startswith("TV-L1, own parameters, solved by numba ")
    assert line.endswith(" (10 fields)")
