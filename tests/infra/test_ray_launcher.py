"""Files of Ray's cluster launcher: its own schema takes them, they hold no secret, and the head is no spot machine."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from kinebert.training.data.shared_memory import bytes_needed
from tests.helpers.infra_files import INFRA, documents
from tests.helpers.paths import ROOT
from tests.helpers.requirements import imported, missing

CLUSTERS: dict[str, Any] = {path.stem: documents(path)[0] for path in sorted((INFRA / "ray").glob("*.yaml"))}
each = pytest.mark.parametrize("name", CLUSTERS)


def schema() -> Any:
    spec = importlib.util.find_spec("ray")
    if spec is None or not spec.submodule_search_locations:
        missing("ray", "ray is not installed")
    return json.loads(Path(spec.submodule_search_locations[0], "autoscaler", "ray-schema.json").read_text())


def lines(cluster: Any) -> list[str]:
    """Every command of a cluster."""
    keys = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands")
    of_ray = ("head_start_ray_commands", "worker_start_ray_commands")
    found = [line for key in (*keys, *of_ray) for line in cluster[key]]
    return found + [line for kind in cluster["available_node_types"].values() for line in kind.get(keys[-1], [])]


def test_both_clouds_are_there() -> None:
    assert set(CLUSTERS) == {"aws", "gcp"}


@each
def test_ray_takes_it(name: str) -> None:
    validator = imported("jsonschema", "ray").Draft7Validator(schema())
    cluster = CLUSTERS[name]
    validator.validate(cluster)
    assert not validator.is_valid({**cluster, "max_worker": 3})
    assert cluster["provider"]["type"] == name
    kinds = cluster["available_node_types"]
    assert sum(kind.get("max_workers", 0) for kind in kinds.values()) == cluster["max_workers"]
    assert all(kind.get("min_workers", 0) == 0 for kind in kinds.values()), "idle machines are given back"
    assert [kind for kind in kinds if kinds[kind]["resources"].get("GPU")] == ["gpu"]


@each
def test_workers_are_spot_machines_and_the_head_is_none(name: str) -> None:
    for kind, node in CLUSTERS[name]["available_node_types"].items():
        config = json.dumps(node["node_config"])
        assert bool(re.search('"MarketType": "spot"|"provisioningModel": "SPOT"', config)) == (kind != "head"), kind


@each
def test_every_ray_asks_for_the_token_which_no_line_holds(name: str) -> None:
    cluster = CLUSTERS[name]
    starts = [line for line in lines(cluster) if "ray start" in line]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in line and "--disable-usage-stats" in line for line in starts)
    (asks,) = (line for line in lines(cluster) if "kinebert-ray-token" in line)
    assert asks in cluster["setup_commands"], "every node reads it"
    assert re.search(r"umask 077;.*> ~/\.ray/auth_token\)", asks)
    assert not any("RAY_AUTH_TOKEN=" in line for line in lines(cluster))
    assert "--dashboard-host=127.0.0.1" in starts[0]


@each
def test_what_is_copied_is_public(name: str) -> None:
    copied = CLUSTERS[name]["file_mounts"]
    assert set(copied.values()) == {"constraints.txt", "pyproject.toml", "infra/docker/requirements.py"}
    assert all((ROOT / path).is_file() for path in copied.values())
    assert CLUSTERS[name]["cluster_synced_files"] == []


@each
def test_nodes_with_gpus_get_packages_for_gpus(name: str) -> None:
    cluster = CLUSTERS[name]
    (gpu,) = cluster["available_node_types"]["gpu"]["worker_setup_commands"]
    assert "gpu.txt" in gpu
    assert "whl/cpu" not in gpu
    assert any("cpu.txt" in line for line in cluster["worker_setup_commands"])
    assert all("--constraint ~/packages/constraints.txt" in line for line in lines(cluster) if "pip install" in line)


@each
def test_shared_memory_is_said_and_enough(name: str) -> None:
    text = (INFRA / "ray" / f"{name}.yaml").read_text()
    (half_gb,) = re.findall(r"half of the memory, (\d+) GB", text)
    resources = CLUSTERS[name]["available_node_types"]["gpu"]["resources"]
    loaders = resources["CPU"] // resources["GPU"] - 1
    needed = bytes_needed(loaders, 16 * 64 * 224 * 224 * 3, resources["GPU"])
    assert round(needed / 1e9) == int(re.findall(r"= (\d+) GB", text)[0])
    assert needed + 1e9 < int(half_gb) * 1e9
