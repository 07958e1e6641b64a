"""``python -m kinebert``, which is ``kinebert``."""

import sys

from kinebert.pipelines.cli import main

if __name__ == "__main__":
    sys.exit(main())
