"""Two programs in one folder."""

from pathlib import Path

import pytest

from kinebert.orchestration.holding import held
from kinebert.preprocessing.errors import UserError


def test_a_second_program_is_refused_and_the_next_one_is_not(tmp_path: Path) -> None:
    with (
        held(str(tmp_path), "train"),
        pytest.raises(UserError, match=r"another kinebert train works here\. Wait for its end"),
        held(str(tmp_path), "train"),
    ):
        raise AssertionError("two at once")
    with held(str(tmp_path), "train"):
        pass
    with held("s3://bucket/run", "train"):
        pass
    with pytest.raises(UserError, match="absent: cannot write to this folder"), held(f"{tmp_path}/absent", "train"):
        raise AssertionError("nowhere")
