"""Makes fake_shards importable, in this process and in those it starts."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
