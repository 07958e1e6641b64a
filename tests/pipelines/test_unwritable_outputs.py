"""An output that cannot be written: one line that names it, before hours are spent, and nothing half-written."""

from pathlib import Path
from typing import Any

import pytest

from kinebert.pipelines import (
    attend,
    average,
    compare,
    evaluate,
    export_frames,
    extract_flow,
    extract_frames,
    fuse,
    index_videos,
    predict,
    show,
    train,
    tune,
)

pytestmark = pytest.mark.slow
LINES: dict[str, tuple[Any, str]] = {
    "index": (index_videos, "folder {w}/videos --output {o}/m.parquet"),
    "extract-frames": (extract_frames, "--manifest {w}/manifest.parquet --output {o}"),
    "extract-flow": (extract_flow, "--manifest {w}/manifest.parquet --output {o}"),
    "train": (train, "{w}/rgb.toml --output {o}"),
    "tune": (tune, "{w}/rgb.toml --output {o} --set tune.trials=1 tune.space.optim.lr.choice=[0.1]"),
    "evaluate": (evaluate, "{w}/runs/rgb/best.pt --part val --output {o}"),
    "average": (average, "{v} --output {o}"),
    "fuse": (fuse, "{s} {s} --output {o}"),
    "compare": (compare, "{w}/runs/rgb {w}/runs/flow --output {o}"),
    "predict": (predict, "{w}/videos/class0/v00.mp4 --checkpoint {w}/runs/rgb/best.pt --output {o}"),
    "attend": (attend, "{w}/runs/rgb/best.pt --video class0/v00 --output {o}/a.png"),
    "show": (show, "{w}/sets/rgb class0/v00 --output {o}/a.png"),
    "export-frames": (export_frames, "{w}/sets/rgb --output {o}"),
}


@pytest.fixture(scope="module")
def scores(work: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores of the RGB stream."""
    folder = tmp_path_factory.mktemp("scores")
    assert evaluate.cli([f"{work}/runs/rgb/best.pt", "--part", "val", "--output", str(folder)]) == 0
    return folder / "scores.parquet"


@pytest.mark.parametrize("where", ["below a file", "where nothing can be made"])
@pytest.mark.parametrize("name", LINES)
def test_an_output_that_cannot_be_written(
    name: str, where: str, kept: Path, scores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program, line = LINES[name]
    (tmp_path / "file").write_text("not a folder")
    output = str(tmp_path / "file" / "out") if where == "below a file" else "/proc/kinebert"
    before = sorted(kept.rglob("*"))
    status = program.cli(line.format(w=kept, s=scores, v=scores.with_name("views.parquet"), o=output).split())
    told = capsys.readouterr().err.splitlines()
    assert status == 2, told
    assert [one for one in told if one.startswith("error: ")] == told[-1:]
    assert output in told[-1]
    assert sorted(kept.rglob("*")) == before
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
