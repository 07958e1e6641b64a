"""What finds poses. Backends draw with OpenCV, which may be broken: so this is a part of its own."""

from collections.abc import Iterator
from pathlib import Path

from kinebert.orchestration.diagnosis.findings import Finding, note, ok
from kinebert.orchestration.diagnosis.packages import installed, optional
from kinebert.preprocessing.pose.estimator import all_backends
from kinebert.preprocessing.pose.weights import find_weights


def look() -> Iterator[Finding]:
    """Look for what finds poses: the packages that run networks, and the files that may be fetched."""
    for name, backend in (("ai-edge-litert", "blazepose"), ("onnxruntime", "onnx")):
        yield optional(name, installed(name), f"the pose backend {backend} needs it: pip install 'kinebert[pose]'.")
    for one in all_backends():
        if one.wheel is not None:
            found = {find_weights(file.sha256) for file in one.files}
            where = None if None in found else ", ".join(sorted({str(Path(str(path)).parent) for path in found}))
            finding = ok(f"files of {one.name}", f"in {where}") if where else None
            yield finding or note(f"files of {one.name}", "not here", f"kinebert pose-weights {one.name} fetches them.")
