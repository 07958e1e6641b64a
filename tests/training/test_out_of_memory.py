"""Memory that ran out is told from other errors, in every way that torch and numpy say it."""

import numpy as np
import pytest
import torch

from kinebert.preprocessing.errors import UserError
from kinebert.training.out_of_memory import LOWER_BATCH, memory_explained, ran_out


def test_what_the_machine_and_a_gpu_say() -> None:
    with pytest.raises(UserError, match=r"can't allocate memory.* lower --batch"), memory_explained(LOWER_BATCH):
        torch.empty(2**60, dtype=torch.uint8)
    with pytest.raises(UserError, match=r"Unable to allocate .* lower --batch"), memory_explained(LOWER_BATCH):
        np.empty(2**60, np.uint8)
    with pytest.raises(UserError, match=r"CUDA out of memory\. Tried.* lower --batch"), memory_explained(LOWER_BATCH):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")


def test_other_errors_stay_what_they_are() -> None:
    assert not ran_out(RuntimeError("shapes cannot be multiplied"))
    assert not ran_out(ValueError("not enough memory"))
    with pytest.raises(RuntimeError, match="shapes"), memory_explained(LOWER_BATCH):
        raise RuntimeError("shapes cannot be multiplied")
