"""Resources of infra/kubernetes: read, put together, judged by their schemas, and who may speak to whom."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.helpers.infra_files import INFRA, checked, documents, program
from tests.helpers.requirements import imported

FOLDER = INFRA / "kubernetes"
OVERLAYS = sorted(path.name for path in (FOLDER / "overlays").iterdir())
OURS = {
    json.loads(path.read_text())["properties"]["kind"]["const"]: path for path in (FOLDER / "schemas").glob("*.json")
}
"""Schemas of what Kubernetes itself does not know, by kind."""
VERSION = "1.34.0"
"""Of Kubernetes."""
Resource = dict[str, Any]


def of_files(folder: str) -> list[Resource]:
    """Resources of a folder's files, as they stand there."""
    files = sorted((FOLDER / folder).glob("*.yaml"))
    return [found for file in files if file.name != "kustomization.yaml" for found in documents(file)]


def rendered(overlay: str) -> list[Resource]:
    """What an overlay makes of the base."""
    text = checked(program("kubectl", "kubectl"), "kustomize", str(FOLDER / "overlays" / overlay))
    return [*yaml.safe_load_all(text)]


def problems(resource: Resource) -> list[str]:
    """What the schema of a resource's kind has against it."""
    validate = imported("kubernetes_validate", "infra")
    if resource["kind"] not in OURS:
        try:
            validate.validate(resource, VERSION, strict=True)
        except validate.ValidationError as error:
            return [f"{resource['kind']} {resource['metadata']['name']}: {error.message}"]
        return []
    jsonschema, referencing = imported("jsonschema", "infra"), imported("referencing", "infra")
    folder = Path(str(validate.__file__)).parent / "kubernetes-json-schema" / f"v{VERSION}-local-strict"
    kubernetes = referencing.Resource.from_contents(json.loads((folder / "_definitions.json").read_text()))
    registry = kubernetes @ referencing.Registry()
    schema = json.loads(OURS[resource["kind"]].read_text())
    errors = jsonschema.Draft202012Validator(schema, registry=registry).iter_errors(resource)
    return [f"{resource['kind']} {error.json_path}: {error.message}" for error in errors]


def pods(resources: Iterable[Resource]) -> Iterator[tuple[dict[str, str], Mapping[str, Any]]]:
    """Labels and specification of every pod that resources ask for, with what KubeRay adds to labels."""
    for resource in resources:
        spec = resource.get("spec", {})
        if resource["kind"] == "RayCluster":
            cluster = {"ray.io/cluster": resource["metadata"]["name"]}
            groups = [("head", spec["headGroupSpec"]), *((one["groupName"], one) for one in spec["workerGroupSpecs"])]
            for name, group in groups:
                role = {"ray.io/node-type": "head" if name == "head" else "worker", "ray.io/group": name}
                yield (
                    cluster | role | group["template"].get("metadata", {}).get("labels", {}),
                    group["template"]["spec"],
                )
        elif resource["kind"] == "RayJob":
            template = spec["submitterPodTemplate"]
            yield template["metadata"]["labels"], template["spec"]
        elif resource["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield spec["template"]["metadata"]["labels"], spec["template"]["spec"]


def selected(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a selector of labels takes these."""
    named = selector.get("matchLabels", {}).items() <= labels.items()
    assert all(one["operator"] == "In" for one in selector.get("matchExpressions", []))
    return named and all(labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", []))


def let(policies: Iterable[Resource], way: str, labels: Mapping[str, str], other: Mapping[str, str], port: int) -> bool:
    """Whether policies let pods with ``labels`` speak to others (``egress``), or be spoken to, within the namespace."""
    mine = [one["spec"] for one in policies if selected(one["spec"]["podSelector"], labels)]
    concerned = [spec for spec in mine if way.capitalize() in spec["policyTypes"]]
    if not concerned:
        return True  # nobody has forbidden anything
    peers = "to" if way == "egress" else "from"
    return any(
        ("ports" not in rule or port in [one["port"] for one in rule["ports"]])
        and any(
            "namespaceSelector" not in peer and "ipBlock" not in peer and selected(peer["podSelector"], other)
            for peer in rule.get(peers, [{"podSelector": {}}])
        )
        for spec in concerned
        for rule in spec.get(way, [])
    )


def overlays() -> Any:
    """Parametrize a test by the overlays."""
    return pytest.mark.parametrize("overlay", OVERLAYS)
