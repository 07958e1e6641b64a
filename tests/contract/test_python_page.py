"""docs/python.md: its blocks run, one after the other, on a few generated videos."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import kinebert
from kinebert.preprocessing.errors import UserError
from tests.helpers.paths import ROOT
from tests.helpers.sets import make_videos
from tests.helpers.without_ray import train_here

PAGE = (ROOT / "docs" / "python.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory, ray_cluster: Any) -> Iterator[dict[str, Any]]:
    """What a notebook knows after all blocks of the page, in the folder in which they ran.

    Ray Train trains in the last one, which is about the cluster.
    """
    folder = tmp_path_factory.mktemp("python")
    make_videos(folder / "videos", [9] * 14)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        names: dict[str, Any] = {"folder": folder}
        for block in BLOCKS:
            with pytest.MonkeyPatch.context() as without_ray:
                if block is not BLOCKS[-1]:
                    train_here(without_ray)
                exec(compile(block, "docs/python.md", "exec"), names)
        yield names
    torch.set_num_threads(threads)


def test_every_function_is_on_the_page() -> None:
    assert all(f"kinebert.{name}" in PAGE for name in kinebert.__all__)
    assert set(kinebert.__all__) <= set(dir(kinebert))
    assert all(getattr(kinebert, name).__doc__ for name in kinebert.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        kinebert.trian  # type: ignore[attr-defined] # noqa: B018


def test_the_page_goes_from_videos_to_a_comparison(known: dict[str, Any]) -> None:
    folder: Path = known["folder"]
    assert known["rgb"].dataset["counts"]["images"] == 14 * 9
    assert known["flow"].dataset["counts"]["images"] == 14 * 8
    assert len(known["trained"].summary.history) == 2
    assert known["thought"].recipe == known["trained"].recipe
    assert known["other"].recipe.data.modality == known["other"].modality == "flow"
    assert list(known["fused"].measured) == ["rgb", "flow", "fused"]
    assert known["fused"].weights == (1, 2)
    assert known["tested"].scores.video_ids == known["fused"].scores.video_ids
    assert len(known["compared"].verdict.standings) == 2
    assert known["said"].complete
    for path in (known["trained"].report, known["tested"].table, known["fused"].table, known["compared"].page):
        assert Path(path).is_file(), path
    assert (folder / "runs" / "again" / "best.pt").is_file()


def test_what_is_done_is_not_done_again_and_mistakes_are_sentences(
    known: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    again = kinebert.extract(Path("manifest.parquet"), Path("sets/rgb"), verbose=True)
    assert again.new_videos == 0
    assert capsys.readouterr().out.startswith("extracting rgb of 14 videos to ")
    with pytest.raises(UserError, match="modality must be rgb, .*got 'sound'"):
        kinebert.extract("manifest.parquet", "sets/sound", modality="sound")
    with pytest.raises(UserError, match="no name: say with output where"):
        kinebert.train(known["recipe"])
    with pytest.raises(UserError, match="a recipe in Python: unknown key 'optmi' in TrainRecipe"):
        kinebert.train(known["recipe"], "runs/x", changes={"optmi.lr": 1.0})
    with pytest.raises(UserError, match=r"a recipe in Python: there is no table \[tune\]"):
        kinebert.tune(known["trained"].recipe, "searches/x")
    with pytest.raises(UserError, match="seed: "):
        kinebert.train(known["trained"].recipe, "runs/rgb", changes={"seed": 5})
    assert capsys.readouterr() == ("", "")
