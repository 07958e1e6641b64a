"""Let Triton compile its helper for NVIDIA's driver into a cache, where there is a compiler but no driver.

python triton_helper.py CACHE

Triton finds it there by a digest of its source, wherever the cache is brought. The helper is linked against a library
that bears the driver's name and holds nothing: where it runs, the driver is there.
"""

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path


def main(cache: str) -> None:
    """Compile the helper into the folder ``cache``."""
    with tempfile.TemporaryDirectory() as folder:
        driver = Path(folder) / "libcuda.so.1"
        empty = ["-shared", "-Wl,-soname,libcuda.so.1", "-x", "c", "/dev/null"]
        subprocess.run(["gcc", *empty, "-o", str(driver)], check=True)
        os.environ |= {"TRITON_CACHE_DIR": cache, "TRITON_LIBCUDA_PATH": folder}
        from triton.backends.nvidia.driver import CudaUtils

        with suppress(ImportError):  # it is loaded once it is compiled, which fails for want of the driver's functions
            CudaUtils()
    if not list(Path(cache).rglob("cuda_utils*.so")):
        sys.exit(f"{cache}: triton compiled nothing there: it is another version than this was written for")


if __name__ == "__main__":
    main(sys.argv[1])
