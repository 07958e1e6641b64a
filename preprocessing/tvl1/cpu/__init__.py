"""TV-L1 on a CPU: explicit vectors through numba, one pair per thread."""
