"""Errors before the first step: those of the code are told once, others are tried again."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from torch._dynamo.exc import InternalTorchDynamoError

from kinebert.orchestration.ray_train import fit as fitting
from kinebert.orchestration.ray_train.first_step import comes_again, first_step_error
from kinebert.preprocessing.errors import UserError
from kinebert.training.loop.learner import Learner
from tests.helpers.small_training import recipe_with
from tests.orchestration.ray_train.test_fit import recipe, shards  # noqa: F401 - fixtures

WORKER = fitting._worker


@pytest.mark.parametrize(
    "error",
    [
        InternalTorchDynamoError("checkpoint not implemented for NestedUserFunctionVariable context_fn"),
        RuntimeError("CUDA error: no kernel image is available for execution on the device"),
        TypeError("forward() got an unexpected keyword argument"),
    ],
)
def test_errors_of_the_code_come_again(error: Exception) -> None:
    assert comes_again(error)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("the store is gone"),
        OSError(5, "Input/output error"),
        EOFError("Ran out of input"),
        dist.DistNetworkError("the server refused"),
        RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [::1]:5"),
        RuntimeError("DataLoader worker (pid 17) is killed by signal: Killed."),
    ],
)
def test_errors_from_outside_need_not(error: Exception) -> None:
    assert not comes_again(error)


def test_one_line_names_the_cause_and_a_file_the_place(tmp_path: Path) -> None:
    try:
        raise InternalTorchDynamoError("context_fn is unknown.\n\nfrom user code:\n  File x")
    except InternalTorchDynamoError as error:
        plain, compiled = (first_step_error(error, recipe_with(compile=on)) for on in (False, True))
    assert "InternalTorchDynamoError: context_fn is unknown. What to do: report it" in str(plain)
    assert "compile = false does without it" in str(compiled)
    assert "\n" not in str(plain)
    told = str(pickle.loads(pickle.dumps(plain)).kept_in(str(tmp_path)))
    (file,) = tmp_path.glob("error-*.txt")
    assert told == f"{plain} The whole traceback: {file}"
    assert "test_first_step.py" in file.read_text()
    assert "could not be written" in str(plain.kept_in(str(file)))


def breaking(config: dict[str, Any]) -> Any:
    """What a worker does whose first step fails inside torch."""

    def step(*_: Any) -> None:
        raise InternalTorchDynamoError("not implemented")

    Learner.step = step  # type: ignore[assignment,method-assign]
    return WORKER(config)


def test_it_is_not_tried_again(
    ray_cluster: Any,
    recipe: Any,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fitting, "_worker", breaking)
    events: list[Any] = []
    with pytest.raises(UserError, match=r"the first step failed.* InternalTorchDynamoError: not implemented\. What"):
        fitting.fit(replace(recipe, epochs=1), str(tmp_path), events.append, cpus_per_worker=1)
    assert [type(event).__name__ for event in events] == ["Started"]
    (file,) = tmp_path.glob("error-*.txt")
    assert "in step" in file.read_text()
