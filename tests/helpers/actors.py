"""Extractions by actors that hold shares of GPUs which are not there, on a cluster of its own; FOLDER/found.json tells.

python -m tests.helpers.actors FOLDER
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from kinebert.orchestration.extraction import shard_tasks
from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.guard import Limits
from kinebert.preprocessing.extraction.task import BuildShard
from kinebert.preprocessing.recipe import FlowRecipe
from kinebert.preprocessing.tvl1 import TvL1Params
from tests.helpers import faults
from tests.helpers.listening import Heard
from tests.helpers.sets import make_rows

ray: Any = vars(shard_tasks)["ray"]  # imported by nobody before its settings are made
FLOW = FlowRecipe(resize="none", tvl1=TvL1Params(warps=1, nscales=2))
OPENCV = FlowSolver(backend="opencv")


def extract(rows: list[ManifestRow], output: Path, gpus: float | None, **options: Any) -> dict[str, Any]:
    """Run one extraction and tell what happened."""
    build = BuildShard(output=str(output), recipe=FLOW, limits=Limits(stall_limit_s=2), run_id="", solver=OPENCV)
    build = replace(build, timed=True, **options)
    heard = Heard()
    said = heard.said
    try:
        result = shard_tasks.extract_set(
            rows, str(output), build, videos_per_shard=1, gpus_per_task=gpus, audience=heard
        )
    except Exception as error:
        return {"error": type(error).__name__, "text": str(error), "said": said}
    workers = [shard.timing.worker for shard in result.shards if shard.timing]
    return {"dataset": result.dataset, "said": said, "shards": len(workers), "workers": len(set(workers))}


def main(folder: Path) -> None:
    """Run everything on two nodes, of which one has GPUs."""
    from ray.cluster_utils import Cluster

    quiet = {"object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 0, **quiet})
    cluster.add_node(num_cpus=2, num_gpus=1, object_store_memory=100 * 2**20)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    ray.cloudpickle.register_pickle_by_value(faults)
    rows = make_rows(folder / "videos", [5, 20, 3, 9, 2, 12])
    found = {
        "actors": extract(rows, folder / "actors", 0.5, open_video=faults.OnAGpuNode),
        "deadly": extract(rows, folder / "deadly", 0.5, open_video=faults.Deadly),
        "user": extract(rows, folder / "user", 0.5, open_video=faults.Refusing),
        "bug": extract(rows, folder / "bug", 0.5, open_video=faults.Buggy),
        "no torch": extract(rows, folder / "no torch", None, solver=FlowSolver()),
        "too much": extract(rows, folder / "too much", 2.0),
    }
    (folder / "found.json").write_text(json.dumps(found))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
