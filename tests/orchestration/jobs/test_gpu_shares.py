"""Tasks that hold fractions of a GPU, on a cluster that has one."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.requirements import missing, needs

for name in ("ray", "av"):  # Ray is not imported here: kinebert makes settings before it does
    if importlib.util.find_spec(name) is None:
        missing("ray", f"{name} is not installed")
import kinebert  # noqa: E402 - after what may be missing
from kinebert.preprocessing.datasets.manifest import write_manifest  # noqa: E402
from kinebert.preprocessing.sets.verify import verify_set  # noqa: E402
from kinebert.training.loop.loop import WorkerContext  # noqa: E402
from tests.helpers.sets import make_rows  # noqa: E402
from tests.helpers.small_training import numbers, recipe_with, run  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    needs("gpu", torch.cuda.is_available(), "there is no CUDA device"),
]


def shards_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("shard-*")}


def test_flow_does_not_depend_on_the_share_of_a_task(ray_cluster: Any, tmp_path: Path) -> None:
    write_manifest(f"{tmp_path}/manifest.parquet", make_rows(tmp_path / "videos", [5, 20, 3, 9]))
    recipe = {"resize": "none", "tvl1": {"warps": 1, "nscales": 2}}
    for name, share in (("whole", 1.0), ("quarter", 0.25)):
        kinebert.extract(
            f"{tmp_path}/manifest.parquet",
            tmp_path / name,
            modality="flow",
            recipe=recipe,
            backend="torch",
            gpus_per_task=share,
            videos_per_shard=1,
        )
    assert len(shards_of(tmp_path / "whole")) == 4
    assert shards_of(tmp_path / "quarter") == shards_of(tmp_path / "whole")
    assert verify_set(str(tmp_path / "quarter")).problems == ()


def test_two_trainings_on_one_gpu_are_what_each_is_alone(ray_cluster: Any, tmp_path: Path) -> None:
    import ray

    def train(output: str) -> list[dict[str, Any]]:
        recipe = recipe_with(epochs=1, deterministic=True, amp="off")
        return numbers(run(recipe, Path(output), worker=WorkerContext(device=torch.device("cuda")))[0].history)

    sharing: Any = ray.remote(train)
    sharing = sharing.options(num_gpus=0.5, num_cpus=1)
    found = ray.get([sharing.remote(f"{tmp_path}/{i}") for i in range(2)])
    assert found[0] == found[1]
    assert found[0][0]["train_loss"] == pytest.approx(train(f"{tmp_path}/alone")[0]["train_loss"], rel=1e-4)
