"""The process that loader processes are forked from, which has imported all that they need."""

import multiprocessing
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import forkserver

_PRELOADED = ["kinebert.training.data.loader"]
_WITHOUT_THREADS = {
    "OPENBLAS_NUM_THREADS": "1",  # of NumPy, and of OpenCV, which brings its own
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""Libraries start threads when they are imported. A fork would find the locks that those hold held for ever."""


def start_server() -> None:
    """Start the server, unless this process has it already."""
    multiprocessing.set_forkserver_preload(_PRELOADED)
    with _environment(_WITHOUT_THREADS):
        forkserver.ensure_running()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
