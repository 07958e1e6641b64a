"""The networks of BODY_25 and COCO-18, whose layers bear the names that they were published under.

A trunk, the first ten convolutions of VGG-19 and two more, gives features F at an eighth of the resolution. Stages of
two branches turn them into part affinity fields and heat maps, each from F and what was found before.

Source: OpenPose's prototxts ``pose/body_25`` and ``pose/coco``.

Axes: N pictures, C channels, H height, W width; maps have H / 8 and W / 8.
"""

import re
from abc import abstractmethod
from typing import cast

import torch
from torch import Tensor, nn

from kinebert.preprocessing.pose.openpose.models import MODELS, ModelName

_VGG = (("1_1", 64), ("1_2", 64), ("2_1", 128), ("2_2", 128), ("3_1", 256), ("3_2", 256), ("3_3", 256), ("3_4", 256),
        ("4_1", 512), ("4_2", 512), ("4_3_CPM", 256), ("4_4_CPM", 128))  # fmt: skip
_POOL_BEFORE = {"2_1", "3_1", "4_1"}
_FEATURES = 128


class PoseNetwork(nn.Module):
    """Pictures ``(N, 3, H, W)``, as :mod:`.pictures` makes them, to heat maps and part affinity fields.

    ``H`` and ``W`` are multiples of 8. Its state dict has the published names and no others.

    Args:
        learnt: Names of the activations whose slopes are learnt, as a regular expression; the others are ReLUs.
    """

    def __init__(self, learnt: str) -> None:
        super().__init__()
        self._learnt = re.compile(learnt)
        channels = 3
        for name, width in _VGG:
            self.add_conv(f"conv{name}", channels, width, 3)
            channels = width

    def add_conv(self, name: str, channels_in: int, channels_out: int, side: int) -> None:
        """Add a convolution that keeps the size, and the slopes of its activation if they are learnt."""
        self.add_module(name, nn.Conv2d(channels_in, channels_out, side, padding=side // 2))
        if self._learnt.fullmatch(prelu := _prelu(name)):
            self.add_module(prelu, nn.PReLU(channels_out))

    def conv(self, name: str, x_NCHW: Tensor) -> Tensor:
        """Run a convolution without activation."""
        return cast(Tensor, self.get_submodule(name)(x_NCHW))

    def activated(self, name: str, x_NCHW: Tensor) -> Tensor:
        """Run a convolution and its activation."""
        x_NCHW = self.conv(name, x_NCHW)
        slopes = self._modules.get(_prelu(name))
        return slopes(x_NCHW) if slopes is not None else x_NCHW.relu_()

    def features(self, x_NCHW: Tensor) -> Tensor:
        """Run the trunk."""
        for name, _ in _VGG:
            if name in _POOL_BEFORE:
                x_NCHW = nn.functional.max_pool2d(x_NCHW, 2)
            x_NCHW = self.activated(f"conv{name}", x_NCHW)
        return x_NCHW

    @abstractmethod
    def forward(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return heat maps ``(N, J + 1, H / 8, W / 8)`` and fields ``(N, 2 L, H / 8, W / 8)``."""


def _prelu(conv: str) -> str:
    return conv.replace("conv", "prelu")


class Coco18(PoseNetwork):
    """The older model: both branches side by side in six stages, the later ones with kernels of 7x7."""

    def __init__(self) -> None:
        super().__init__(learnt="none")
        model = MODELS["coco18"]
        self.branches = {"L1": model.num_fields, "L2": model.num_heat_maps}
        for branch, channels_out in self.branches.items():
            for i in (1, 2, 3):
                self.add_conv(f"conv5_{i}_CPM_{branch}", _FEATURES, 128, 3)
            self.add_conv(f"conv5_4_CPM_{branch}", 128, 512, 1)
            self.add_conv(f"conv5_5_CPM_{branch}", 512, channels_out, 1)
        for stage in range(2, 7):
            for branch, channels_out in self.branches.items():
                channels = sum(self.branches.values()) + _FEATURES
                for i in range(1, 6):
                    self.add_conv(f"Mconv{i}_stage{stage}_{branch}", channels, 128, 7)
                    channels = 128
                self.add_conv(f"Mconv6_stage{stage}_{branch}", 128, 128, 1)
                self.add_conv(f"Mconv7_stage{stage}_{branch}", 128, channels_out, 1)

    def forward(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return heat maps ``(N, 19, H / 8, W / 8)`` and fields ``(N, 38, H / 8, W / 8)``."""
        features_NCHW = self.features(x_NCHW)
        found = [self._branch(f"conv5_{{}}_CPM_{branch}", 5, features_NCHW) for branch in self.branches]
        for stage in range(2, 7):
            before_NCHW = torch.cat([*found, features_NCHW], 1)
            found = [self._branch(f"Mconv{{}}_stage{stage}_{branch}", 7, before_NCHW) for branch in self.branches]
        field_NCHW, heat_NCHW = found
        return heat_NCHW, field_NCHW

    def _branch(self, names: str, layers: int, x_NCHW: Tensor) -> Tensor:
        for i in range(1, layers):
            x_NCHW = self.activated(names.format(i), x_NCHW)
        return self.conv(names.format(layers), x_NCHW)


class Body25(PoseNetwork):
    """The newer model: four stages of fields, then two of heat maps, each of five blocks of three convolutions."""

    def __init__(self) -> None:
        super().__init__(learnt=r"prelu4_2|prelu4_._CPM|Mprelu[1-6]_.*")
        model = MODELS["body25"]
        fields, heats = model.num_fields, model.num_heat_maps
        self._add_stage("stage0_L2", _FEATURES, fields)
        for stage in range(1, 4):
            self._add_stage(f"stage{stage}_L2", _FEATURES + fields, fields)
        self._add_stage("stage0_L1", _FEATURES + fields, heats)
        self._add_stage("stage1_L1", _FEATURES + heats + fields, heats)

    def _add_stage(self, stage: str, channels: int, channels_out: int) -> None:
        width, last = (96, 256) if stage.startswith("stage0") else (128, 512)
        for i in range(1, 6):
            for k in range(3):
                self.add_conv(f"Mconv{i}_{stage}_{k}", channels, width, 3)
                channels = width
            channels = 3 * width
        self.add_conv(f"Mconv6_{stage}", channels, last, 1)
        self.add_conv(f"Mconv7_{stage}", last, channels_out, 1)

    def forward(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return heat maps ``(N, 26, H / 8, W / 8)`` and fields ``(N, 52, H / 8, W / 8)``."""
        features_NCHW = self.features(x_NCHW)
        field_NCHW = self._stage("stage0_L2", features_NCHW)
        for stage in range(1, 4):
            field_NCHW = self._stage(f"stage{stage}_L2", torch.cat((features_NCHW, field_NCHW), 1))
        heat_NCHW = self._stage("stage0_L1", torch.cat((features_NCHW, field_NCHW), 1))
        heat_NCHW = self._stage("stage1_L1", torch.cat((features_NCHW, heat_NCHW, field_NCHW), 1))
        return heat_NCHW, field_NCHW

    def _stage(self, stage: str, x_NCHW: Tensor) -> Tensor:
        for i in range(1, 6):
            parts = []
            for k in range(3):
                x_NCHW = self.activated(f"Mconv{i}_{stage}_{k}", x_NCHW)
                parts.append(x_NCHW)
            x_NCHW = torch.cat(parts, 1)
        return self.conv(f"Mconv7_{stage}", self.activated(f"Mconv6_{stage}", x_NCHW))


NETWORKS: dict[ModelName, type[Body25] | type[Coco18]] = {"body25": Body25, "coco18": Coco18}
"""The networks by the name of their model."""


def unallocated(name: ModelName) -> Body25 | Coco18:
    """Return a network without numbers, on the meta device."""
    with torch.device("meta"):
        return NETWORKS[name]().eval().requires_grad_(False)
