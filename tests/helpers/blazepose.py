"""The two files of BlazePose, where this machine has them."""

import functools
import importlib.util

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.pose.estimator import Means, PoseEstimator, backend_of
from kinebert.preprocessing.pose.weights import locate_weights
from tests.helpers.requirements import missing


def files() -> dict[str, str]:
    """Return the files by role, or do without the test where they or their library are not there."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        missing("pose", "ai-edge-litert is not installed: pip install 'kinebert[pose]'")
    try:
        return locate_weights(backend_of("blazepose"), {})
    except UserError as error:
        missing("pose", str(error))


@functools.cache
def blazepose(**params: object) -> PoseEstimator:
    """Return the estimator with these parameters, one for all tests; whoever takes it lets it begin."""
    backend = backend_of("blazepose")
    return backend.start(backend.params(**params), files(), Means())
