"""Clusters that start nodes when somebody needs them: how far they go, and how they are asked."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from kinebert.orchestration import cluster

# isort: split
import ray
from ray.autoscaler.sdk import request_resources
from ray.experimental.internal_kv import _internal_kv_get

_STATUS = "__autoscaling_status"
"""Where Ray's autoscaler writes what it sees, and ``ray status`` reads it. A cluster that was put together by hand has
one as well, which starts nothing and has a kind of its own for every node."""
_BY_HAND = "node_"
"""Beginning of such a kind; the node's id follows."""


def may_grow_to() -> cluster.Node | None:
    """Return the most CPUs and GPUs that the cluster's autoscaler goes to; None where nothing starts nodes.

    Infinite where an autoscaler does not say: few do.
    """
    if cluster.is_private():
        return None
    state: Any = ray._private.state.state
    most = state.get_max_resources_from_cluster_config()
    if most is not None:
        return cluster.Node(float(most.get("CPU", 0)), float(most.get("GPU", 0)))
    return cluster.Node(math.inf, math.inf) if _is_scaled() else None


def _is_scaled() -> bool:
    from ray.autoscaler.v2.utils import is_autoscaler_v2  # a second, which few need

    if is_autoscaler_v2():  # whoever has set up an autoscaler chooses between its versions
        return True
    try:
        report = json.loads(_internal_kv_get(_STATUS) or b"{}").get("autoscaler_report") or {}
    except ValueError:
        return False
    kinds = [kind for name in ("active_nodes", "idle_nodes", "pending_launches") for kind in report.get(name) or {}]
    return any(not kind.startswith(_BY_HAND) for kind in kinds)


@contextmanager
def asked_for(bundles: Sequence[dict[str, float]]) -> Iterator[None]:
    """Ask the cluster's autoscaler for room for all ``bundles`` (resources by Ray's names) until the block ends.

    The wish is the cluster's one and only: it takes the place of another program's, and is taken back at the end. What
    has come stays as long as it is used, and some minutes longer.
    """
    request_resources(bundles=list(bundles))
    try:
        yield
    finally:
        with suppress(Exception):  # the cluster may be gone
            request_resources(bundles=[])
