"""The process that loader processes are forked from, which has imported all that they need."""

import multiprocessing
from multiprocessing import forkserver

from kinebert.preprocessing.machine import environment

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
    with environment(_WITHOUT_THREADS):
        forkserver.ensure_running()
