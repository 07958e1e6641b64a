"""Where things lie: this checkout, and the folder of real clips beside it."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
