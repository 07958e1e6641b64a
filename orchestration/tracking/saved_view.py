"""The view "accuracy" of an experiment's runs, which MLflow's page offers under "Views".

By itself the list shows no metric, and groups of charts come in the order of their names. A view is a tag of the
experiment, as the page writes it when somebody saves one; a page of another version passes over what it does not know.
"""

import base64
import json
import time
import zlib
from typing import Any

from kinebert.orchestration.tracking.metric_names import MEAN_CLASS, SUMMARY, TOP1, TOP5

NAME = "accuracy"
KEY = "kinebert-accuracy"
"""In an address, as ``viewStateShareKey``: it opens the view."""
TAG = f"mlflow.sharedViewState.{KEY}"
OFFERED = "kinebert.view"
"""Tag of an experiment that was given the view once: whoever deletes it there does not get it again."""
_FIRST = "Model metrics"
_SECTIONS = {_FIRST: True, "epoch": True, "step": False, "epoch/optim": False, "epoch/speed": False}
_SECTIONS |= {"System metrics": False}
"""Groups of charts in their order, and whether they are open; further ones follow."""


def view_tags() -> dict[str, str]:
    """Return the tags of an experiment that is given the view now."""
    now_ms = int(time.time() * 1000)
    packed = base64.b64encode(zlib.compress(json.dumps(_state()).encode())).decode()
    view = {"name": NAME, "createdAt": now_ms, "updatedAt": now_ms, "state": f"deflate;{packed}"}
    return {TAG: json.dumps(view), OFFERED: NAME}


def _state() -> dict[str, Any]:
    columns = [*(f"metrics.`{name}`" for name in SUMMARY), "tags.`protocol`", "tags.`modality`"]
    return {
        "searchFilter": "",
        "orderByKey": f"metrics.`{TOP1}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "columnOrder": columns,
        "hideEmptyCharts": True,
        "isAccordionReordered": True,
        "compareRunSections": [
            {"uuid": f"{KEY}-{name}", "name": name, "display": is_open, "isReordered": name == _FIRST}
            for name, is_open in _SECTIONS.items()
        ],
        "compareRunCharts": [_bars(name) for name in (TOP1, TOP5, MEAN_CLASS)],
    }


def _bars(metric: str) -> dict[str, Any]:
    return {
        "uuid": f"{KEY}-{metric}",
        "type": "BAR",
        "metricKey": metric,
        "displayName": metric,
        "metricSectionId": f"{KEY}-{_FIRST}",
        "runsCountToCompare": 10,
        "isGenerated": True,
        "deleted": False,
    }
