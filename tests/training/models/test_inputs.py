"""What the input of a network must look like."""

from dataclasses import replace
from typing import Any

import pytest

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.modalities import MODALITIES
from kinebert.training.models import inputs
from kinebert.training.models.inputs import FLOW, InputSpec, Normalization, num_channels

SPEC = InputSpec(modality="flow", num_frames=8, crop_size=32, mean=FLOW.mean, std=FLOW.std)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": (0.5,) * 3}, r"flow has 2 channels, got 3 means and 2 deviations"),
        ({"std": (0.2,)}, r"flow has 2 channels, got 2 means and 1 deviations"),
        ({"flow_stack": 3}, r"flow has 6 channels, got 2 means and 2 deviations"),
        ({"std": (0.2, 0.0)}, r"std must be positive, got \(0\.2, 0\.0\)"),
        ({"num_frames": 0}, r"num_frames must be positive, got 0"),
        ({"crop_size": -1}, r"crop_size must be positive, got -1"),
        ({"frame_interval": 0}, r"frame_interval must be positive, got 0"),
        ({"size": (171, 0)}, r"size must be a width and a height in pixels, got \(171, 0\)"),
        ({"modality": "flwo"}, r"'flwo'"),
        ({"channel_order": "bgr"}, r"channel_order is rgb, or bgr of three channels; got bgr for 2 channels"),
        ({"channel_order": "grb"}, r"got grb for 2 channels"),
    ],
)
def test_a_wrong_input_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(SPEC, **changes)


def test_stacked_fields_come_one_after_another() -> None:
    one = Normalization(mean=(1.0, 2.0), std=(3.0, 4.0), value_range=(0.0, 255.0))
    assert one.stacked(1) == one
    assert one.stacked(3) == Normalization(mean=(1, 2, 1, 2, 1, 2), std=(3, 4, 3, 4, 3, 4), value_range=(0, 255))
    stacked = FLOW.stacked(5)
    assert replace(SPEC, mean=stacked.mean, std=stacked.std, flow_stack=5).flow_stack == 5


def test_only_flow_is_stacked() -> None:
    assert [num_channels("rgb"), num_channels("flow"), num_channels("flow", 10), num_channels("pose")] == [3, 2, 20, 3]
    for modality in ("rgb", "pose"):
        with pytest.raises(ConfigError, match=f"flow_stack is 2, but only flow is stacked, and this is {modality}"):
            num_channels(modality, 2)
    with pytest.raises(ConfigError, match="flow_stack must be positive, got 0"):
        num_channels("flow", 0)


def test_every_normalisation_has_the_channels_of_a_modality_and_leaves_values_around_zero() -> None:
    known = {name: value for name, value in vars(inputs).items() if isinstance(value, Normalization)}
    assert {"IMAGENET", "KINETICS", "FLOW"} <= known.keys()
    for name, one in known.items():
        assert len(one.mean) == len(one.std), name
        assert len(one.mean) in {modality.channels for modality in MODALITIES.values()}, name
        low, high = sorted(one.value_range)  # black may be the largest
        assert all(low <= mean < high for mean in one.mean), name
        assert len(one.mean) == (2 if "FLOW" in name else 3), name
