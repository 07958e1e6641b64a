"""What docs/pose.md says of OpenPose is so."""

import re
from dataclasses import fields

import numpy as np

from kinebert.preprocessing.pose.openpose.settings import OpenPoseParams
from kinebert.preprocessing.pose.skeleton import skeleton_of
from tests.helpers.paths import ROOT

PAGE = (ROOT / "docs" / "pose.md").read_text()


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_every_parameter_is_told_with_its_default() -> None:
    told: dict[str, str] = {}
    for names, defaults in re.findall(r"^\| (`.+?`) \| (.+?) \|", section("OpenPose"), re.MULTILINE):
        told |= zip(re.findall(r"`(\w+)`", names), defaults.replace("`", "").split(", "), strict=True)
    params = OpenPoseParams()
    limits = params.thresholds
    meant = {
        "peak_threshold": limits.peak,
        "point_threshold": limits.point,
        "point_share": limits.share,
        "min_joints": limits.joints,
        "min_score": limits.score,
    }
    expected = {field.name: meant.get(field.name, getattr(params, field.name)) for field in fields(params)}
    assert told == {
        name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in expected.items()
    }


def test_the_example_of_drawing_draws_a_mirrored_arm() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", section("How people are drawn"), re.DOTALL)
    found: dict[str, np.ndarray] = {}
    exec(code, found)
    colours = skeleton_of(found["people"]).bgr
    assert found["picture"][50, 60].tolist() != [0, 0, 0]
    assert found["picture"][45, 90].argmax() == np.argmax(colours[4])
    assert found["mirrored"].shape == found["picture"].shape
    wrist, other = found["picture"][45, 90], found["mirrored"][45, 127 - 90]
    assert wrist.tolist() == [0, 214, 214]  # a right wrist's yellow at 60 %, twice: the limb and the disc over it
    assert other.tolist() == [0, 214, 0]  # a left wrist's green
