"""The weights that golden files stand for are drawn here as they were when their answers were made."""

import importlib.util

import pytest
import torch

from tests.helpers import golden
from tests.helpers.paths import SHARED
from tests.helpers.requirements import missing

SMALL = 20_000_000
"""Parameters that are drawn soon enough for the fast tests."""
NAMES = [
    pytest.param(name, marks=pytest.mark.slow if golden.facts(name)["params"] > SMALL else ())
    for name in golden.names()
]


@pytest.mark.parametrize("name", NAMES)
def test_weights_and_input_add_up_to_what_the_file_says(name: str) -> None:
    file, state = golden.arrays(name), golden.state(name)
    sums = [float(tensor.double().sum()) for tensor in state.values()]
    sizes = [float(tensor.double().abs().sum()) for tensor in state.values()]
    assert sum(sums) == pytest.approx(float(file["weights_sum"]), rel=1e-12)
    assert sum(sizes) == pytest.approx(float(file["weights_abssum"]), rel=1e-12)
    assert float(golden.given(name).double().sum()) == pytest.approx(float(file["input_sum"]), rel=1e-9)


def test_every_file_is_in_the_index() -> None:
    assert golden.names() == sorted(path.stem for path in golden.FOLDER.glob("*.npz"))
    assert len(golden.names()) == 53


def test_shapes_are_those_of_the_weights() -> None:
    name = "kenshohara_r3d18"
    assert golden.shapes(name) == {key: tuple(tensor.shape) for key, tensor in golden.state(name).items()}
    assert golden.shapes(name)["bn1.num_batches_tracked"] == ()
    assert [*golden.unallocated(name)] == [*golden.state(name)]


def test_one_entry_by_hand() -> None:
    assert golden.seeded("a.num_batches_tracked", ()).dtype == torch.long
    kernels = golden.seeded("conv.weight", (64, 32, 3, 3, 3))
    assert float(kernels.std()) == pytest.approx((2 / (32 * 27)) ** 0.5, rel=0.01)
    scales = golden.seeded("norm.weight", (4000,))
    assert 0.75 <= float(scales.min()) < 0.76
    assert 1.24 < float(scales.max()) <= 1.25
    assert float(golden.seeded("norm.running_mean", (4000,)).std()) == pytest.approx(0.1, rel=0.05)
    assert float(golden.seeded("norm.bias", (4000,)).std()) == pytest.approx(0.02, rel=0.05)


def test_the_error_is_the_largest_over_the_deviation() -> None:
    theirs = golden.answer("kenshohara_r3d18")
    ours = torch.from_numpy(theirs.astype("float64"))
    assert golden.relative_error(ours, theirs) == 0
    ours[0, 3] += 2 * float(ours.std(correction=0))
    assert golden.relative_error(ours, theirs) == pytest.approx(2)


@pytest.mark.parametrize("name", ["kenshohara_r3d18", "artest08_part_BERT5_512x4", "pyslowfast_slowfast_8x8_r50"])
def test_they_are_those_of_the_script_that_made_the_answers(name: str) -> None:
    script = SHARED / "golden" / "golden.py"
    if not script.exists():
        missing("script", f"{script} is not there")
    spec = importlib.util.spec_from_file_location("golden_script", script)
    assert spec is not None
    assert spec.loader is not None
    theirs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    ours = golden.state(name)
    for key, tensor in theirs.reference_state(name).items():
        assert torch.equal(ours.pop(key), tensor), key
    assert not ours
    assert torch.equal(golden.given(name), theirs.reference_input(name))
