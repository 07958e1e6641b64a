"""TV-L1 on a CPU: explicit vectors through numba, one pair per thread."""

from pathlib import Path

from kinebert.preprocessing.tvl1.cache import own_cache

with own_cache(Path(__file__).parent):
    import kinebert.preprocessing.tvl1.cpu.solver  # noqa: F401 - defines every function that is compiled
