"""What the stages share: their options, their clock, and a file of results that is whole whenever one is cut off."""

import argparse
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch


@dataclass
class Stage:
    """One stage while it runs."""

    seconds: float
    """That it may take."""
    json: Path | None = None
    """Where results go."""
    device: torch.device = field(default_factory=lambda: torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    """That is measured; on a CPU everything is tiny, and only shows that the code runs."""
    results: dict[str, Any] = field(default_factory=dict)
    """Plain values."""
    began: float = field(default_factory=time.monotonic)

    @property
    def is_tiny(self) -> bool:
        """Whether there is nothing to measure."""
        return self.device.type != "cuda"

    def left(self) -> float:
        """Seconds that are left."""
        return self.began + self.seconds - time.monotonic()

    def keep(self, **results: Any) -> None:
        """Add results and write all of them down."""
        self.results.update(results)
        if self.json is not None:
            part = self.json.with_suffix(".part")
            part.write_text(json.dumps(self.results, indent=1))
            os.replace(part, self.json)


def stage_of(description: str | None) -> Stage:
    """Read the command line of a stage."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=540, help="time that it may take")
    parser.add_argument("--json", type=Path, help="write the results to this file as well")
    options = parser.parse_args()
    return Stage(options.seconds, options.json)
