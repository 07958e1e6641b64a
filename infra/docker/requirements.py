"""Write what each image needs, from pyproject.toml: cpu.txt, gpu.txt and mlflow.txt in the folder that is named.

python requirements.py FOLDER
"""

import sys
import tomllib
from pathlib import Path

EXTRAS = {"cpu": ("tune",), "gpu": ("gpu", "tune"), "mlflow": ("server",)}
"""Extras of each image."""


def requirements(project: dict) -> dict[str, list[str]]:
    """Return the lines of each image's file; the tracking server needs MLflow, not the project."""
    own = {"mlflow": [line for line in project["dependencies"] if line.startswith("mlflow")]}
    return {
        image: own.get(image, project["dependencies"])
        + [line for extra in extras for line in project["optional-dependencies"][extra]]
        for image, extras in EXTRAS.items()
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for image, lines in requirements(tomllib.loads((folder / "pyproject.toml").read_text())["project"]).items():
        (folder / f"{image}.txt").write_text("".join(f"{line}\n" for line in lines))
