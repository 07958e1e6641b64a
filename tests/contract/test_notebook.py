"""docs/notebooks: its cells run, one after the other; what it shows is what came of them."""

import json
import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

import kinebert
from tests.helpers.paths import ROOT

NOTEBOOK = json.loads((ROOT / "docs" / "notebooks" / "first_look.ipynb").read_text())
CELLS = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
CODE = ["".join(cell["source"]) for cell in CELLS]


def test_it_shows_pictures_and_numbers_and_nothing_of_the_machine_that_ran_it() -> None:
    kinds = [kind for cell in CELLS for output in cell["outputs"] for kind in output.get("data", {})]
    assert kinds.count("image/png") == 4
    assert [cell["execution_count"] for cell in CELLS] == list(range(1, len(CELLS) + 1))
    texts = ["".join(output.get("text", "")) for cell in CELLS for output in cell["outputs"]]
    assert not [text for text in texts if re.search(r"(^|\s)/\w|Traceback|Warning", text)]


def test_its_functions_are_those_that_there_are() -> None:
    used = {name for code in CODE for name in re.findall(r"\bkinebert\.([a-z]\w+)\(", code)}
    assert used <= set(kinebert.__all__)
    assert {"index", "extract_both", "show", "train", "attend", "compare"} <= used


@pytest.mark.slow
def test_every_cell_runs_and_flow_learns_what_the_text_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for code in CODE:
        exec(compile(code, "docs/notebooks/first_look.ipynb", "exec"), names)
    plt.close("all")
    by_rgb, by_flow = (result.scores.metrics().top[1] for result in names["tested"])
    assert by_flow > 0.9
    assert by_flow > by_rgb + 0.2
    assert max(names["compared"].verdict.p_values.values()) < 0.05
