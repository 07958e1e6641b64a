"""The cluster on Kubernetes: what its schemas take, who may speak to whom, and numbers that other files know too."""

import itertools
import json
import re
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from kinebert.training.data.shared_memory import bytes_needed
from tests.helpers.infra_files import CONSTRAINTS, INFRA, checked, documents
from tests.helpers.kubernetes_files import FOLDER, OURS, let, of_files, overlays, pods, problems, rendered

BASE, JOBS = of_files("base"), of_files("jobs")
(CLUSTER,) = (one for one in BASE if one["kind"] == "RayCluster")
POLICIES = [one for one in BASE if one["kind"] == "NetworkPolicy"]
BATCH = 16 * 64 * 224 * 224 * 3
"""Bytes of a micro-batch of I3D, the largest of the papers'."""


def name_of(labels: dict[str, str]) -> str:
    return labels.get("ray.io/node-type") or labels["app.kubernetes.io/name"]


def gigabytes(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)([GT]i)", text).groups()  # type: ignore[union-attr]
    return int(number) * (2**30 if unit == "Gi" else 2**40)


def test_schemas_take_what_stands_in_the_files() -> None:
    assert {"RayCluster", "RayJob", "PodMonitor", "PrometheusRule"} == set(OURS) <= {one["kind"] for one in BASE + JOBS}
    assert [problem for one in BASE + JOBS for problem in problems(one)] == []


@overlays()
def test_schemas_take_what_an_overlay_makes(overlay: str) -> None:
    resources = rendered(overlay)
    assert len(resources) == len(BASE)
    assert [problem for one in resources for problem in problems(one)] == []
    assert {one["metadata"].get("namespace", "kinebert") for one in resources} == {"kinebert"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("spec.headGroupSpec.rayStartParams.num-cpus=0", "0 is not of type 'string'"),
        ("spec.authOptions.mode=tokens", "'tokens' is not one of"),
        ("spec.gcsFaultTolerance=true", "Additional properties are not allowed"),
        ("spec.headGroupSpec.template.spec.container=x", "Additional properties are not allowed"),
    ],
)
def test_schemas_refuse_what_is_wrong(wrong: str, said: str) -> None:
    path, _, value = wrong.partition("=")
    cluster = yaml.safe_load(yaml.safe_dump(CLUSTER))
    *above, last = path.split(".")
    place: Any = cluster
    for key in above:
        place = place[key]
    place[last] = yaml.safe_load(value)
    assert any(said in problem for problem in problems(cluster))


def test_the_token_is_asked_for_everywhere() -> None:
    assert CLUSTER["spec"]["authOptions"] == {"mode": "token", "secretName": "ray-token"}
    assert CLUSTER["spec"]["rayVersion"] == CONSTRAINTS["ray"]


def test_only_what_is_needed_can_be_reached() -> None:
    (everything,) = (one for one in POLICIES if one["spec"]["podSelector"] == {} and "egress" not in one["spec"])
    assert everything["spec"]["policyTypes"] == ["Ingress", "Egress"]
    ports = {8265, 6379, 50000, 8333, 5000, 5432}
    labels = {name_of(labels): labels for labels, _ in pods(BASE + JOBS)}
    open_ways = {
        (one, other, port)
        for (one, a), (other, b), port in itertools.product(labels.items(), labels.items(), ports)
        if let(POLICIES, "egress", a, b, port) and let(POLICIES, "ingress", b, a, port)
    }
    ray = {"head", "worker"}
    within = {(one, other, port) for one in ray for other in ray for port in ports}
    assert open_ways - within == {
        *((one, "s3", 8333) for one in ("head", "worker", "mlflow", "buckets")),
        ("head", "mlflow", 5000),
        ("worker", "mlflow", 5000),
        ("head", "redis", 6379),
        ("submitter", "head", 8265),
        ("mlflow", "postgres", 5432),
    }
    assert within <= open_ways
    stranger = {"app.kubernetes.io/name": "somebody"}
    assert not any(let(POLICIES, "ingress", a, stranger, port) for a in labels.values() for port in ports)


def test_nothing_is_published() -> None:
    services = [one["spec"] for one in BASE if one["kind"] == "Service"]
    assert services
    assert all(spec.get("type", "ClusterIP") == "ClusterIP" for spec in services)
    assert CLUSTER["spec"]["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert "enableIngress" not in CLUSTER["spec"]["headGroupSpec"]


def test_no_container_is_root_or_may_become_it() -> None:
    for labels, spec in pods(BASE + JOBS):
        assert spec["securityContext"]["runAsNonRoot"] is True, labels
        assert spec["securityContext"]["runAsUser"] > 0
        for container in spec["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False, labels
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, labels
            assert "memory" in container["resources"]["limits"], labels
        if labels.get("ray.io/node-type") != "head":  # whose autoscaler asks Kubernetes
            assert spec["automountServiceAccountToken"] is False, labels


def test_secrets_that_are_used_are_applied(tmp_path: Any) -> None:
    kubectl, seen = tmp_path / "kubectl", tmp_path / "seen"
    kubectl.write_text(f'#!/bin/sh\necho "$@" >> {seen}\n')
    kubectl.chmod(0o755)
    checked(str(FOLDER / "apply-secrets"), str(tmp_path / "secrets"), env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    text = seen.read_text()
    applied = dict(re.findall(r"secret generic (\S+) --namespace kinebert (.*) --dry-run", text))
    keys = {name: set(re.findall(r"--from-file=([^=]+)=", files)) for name, files in applied.items()}
    assert all(
        (tmp_path / "secrets" / path).exists() for path in re.findall(r"/secrets/(\S+)", " ".join(applied.values()))
    )
    used = {
        volume["secret"]["secretName"] for _, spec in pods(BASE) for volume in spec["volumes"] if "secret" in volume
    }
    assert set(applied) == used | {"ray-token"}
    assert keys["ray-token"] == {"auth_token"}  # as KubeRay wants it
    reference = CLUSTER["spec"]["gcsFaultToleranceOptions"]["redisPassword"]["valueFrom"]["secretKeyRef"]
    assert reference["key"] in keys[reference["name"]]
    mounted = {
        (volume["secret"]["secretName"], mount["mountPath"])
        for _, spec in pods(BASE)
        for volume in spec["volumes"]
        if "secret" in volume
        for container in spec["containers"]
        for mount in container["volumeMounts"]
        if mount["name"] == volume["name"]
    }
    files = {f"{path}/{key}" for name, path in mounted for key in keys[name]}
    words = re.findall(r"/run/secrets/[\w./]+\.?\w+", yaml.safe_dump([spec["containers"] for _, spec in pods(BASE)]))
    named = {word for word in words if word not in {path for _, path in mounted}}
    assert named <= files


@overlays()
def test_shared_memory_and_memory_hold_the_loaders(overlay: str) -> None:
    (cluster,) = (one for one in rendered(overlay) if one["kind"] == "RayCluster")
    for group in [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]:
        spec = group["template"]["spec"]
        (container,) = spec["containers"]
        sizes = {
            volume["name"]: gigabytes(volume["emptyDir"]["sizeLimit"])
            for volume in spec["volumes"]
            if "emptyDir" in volume
        }
        gpus = int(container["resources"]["limits"].get("nvidia.com/gpu", 0))
        needed = bytes_needed(12, BATCH, gpus) + int(group["rayStartParams"]["object-store-memory"])
        assert needed < sizes["shm"] < 1.2 * needed + 2**30
        assert sizes["shm"] + gpus * 12 * 0.17e9 + gpus * 5e9 < gigabytes(container["resources"]["limits"]["memory"])
        assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/dev/shm", "/cache"}
        if gpus:
            assert int(container["resources"]["requests"]["cpu"]) >= 13 * gpus


def test_images_are_those_of_the_compose_file() -> None:
    pinned = set(re.findall(r"^\w+_IMAGE=(.*)$", (INFRA / "docker" / "images.env").read_text(), re.MULTILINE))
    used = {container["image"] for _, spec in pods(BASE) for container in spec["containers"]}
    assert {image for image in used if not image.startswith("kinebert-")} <= pinned
    (kustomization,) = yaml.safe_load_all((FOLDER / "base" / "kustomization.yaml").read_text())
    ours = {one["name"]: f"{one['newName']}:{one['newTag']}" for one in kustomization["images"]}
    assert {image for image in used if image.startswith("kinebert-")} == set(ours)
    assert {container["image"] for _, spec in pods(JOBS) for container in spec["containers"]} == {ours["kinebert-cpu"]}


def test_metrics_are_read_where_they_are_given() -> None:
    (monitor,) = (one for one in BASE if one["kind"] == "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert monitor["spec"]["selector"]["matchLabels"] == {"ray.io/cluster": CLUSTER["metadata"]["name"]}
    for labels, spec in pods([CLUSTER]):
        assert endpoint["port"] in {port["name"] for port in spec["containers"][0]["ports"]}, labels


def test_alerts_are_those_of_prometheus_file() -> None:
    """Word for word, and of numbers that bear the labels which they ask for."""
    (rule,) = (one for one in BASE if one["kind"] == "PrometheusRule")
    assert [rule["spec"]] == documents(INFRA / "monitoring" / "alerts.yml"), "copy it anew: sed 's/^/  /'"
    (monitor,) = (one for one in BASE if one["kind"] == "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    given = {one["targetLabel"]: one.get("replacement") for one in endpoint["relabelings"]}
    expressions = " ".join(alert["expr"] for group in rule["spec"]["groups"] for alert in group["rules"])
    assert {*re.findall(r'job="(\w+)"', expressions)} == {given["job"]}
    assert rule["metadata"]["labels"] == monitor["metadata"]["labels"]


def test_schemas_say_where_they_are_from() -> None:
    for kind, path in OURS.items():
        said = json.loads(path.read_text())["$comment"]
        assert re.search(r"(prometheus-operator/prometheus-operator|ray-project/kuberay) .*at [0-9a-f]{12}", said), kind


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"alert": "A", "for": "5m"}, "'expr' is a required property"),
        ({"alert": "A", "expr": "up", "for": "5 minutes"}, "does not match"),
        ({"alert": "A", "expr": "up", "severity": "high"}, "Additional properties are not allowed"),
        ({"alert": "A", "expr": "up", "labels": {"severity": 1}}, "1 is not of type 'string'"),
    ],
)
def test_the_schema_of_alerts_refuses_what_is_wrong(wrong: dict[str, Any], said: str) -> None:
    (rule,) = (one for one in BASE if one["kind"] == "PrometheusRule")
    assert any(said in one for one in problems({**rule, "spec": {"groups": [{"name": "k", "rules": [wrong]}]}}))


def test_jobs_run_on_the_cluster_that_is_there() -> None:
    for job in JOBS:
        assert job["spec"]["clusterSelector"] == {"ray.io/cluster": CLUSTER["metadata"]["name"]}
        assert job["metadata"]["namespace"] == "kinebert"
        assert "shutdownAfterJobFinishes" not in job["spec"]  # the cluster is not theirs
