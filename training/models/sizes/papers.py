"""The papers' tables of parameters and operations, beside our networks'. `kinebert describe --paper-tables FILE`.

ECCVW: "Late temporal modeling in 3D CNN architectures with BERT for action recognition", arXiv:2008.01232. METU: M. E.
Kalfaoglu, "Exploring deep spatio-temporal fusion architectures towards late temporal modeling of human action
recognition", thesis, 2020, https://open.metu.edu.tr/handle/11511/69033. Where a printed figure is not ours, ``cause``
says why, and the printed figure is computed from it; a test compares.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from functools import cached_property
from typing import Any, Literal

from kinebert.training.models.sizes.measure import Sizes, sizes_of

HMDB51_CLASSES = 51
Count = Literal["paper_flops", "macs"]
Network = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a paper's table. Figures are as printed, in millions and in 1e9; empty where there is none."""

    name: str
    networks: tuple[Network, ...]
    """Arguments of ``build_recognizer``; of two streams where the row is both."""
    parameters: str = ""
    operations: str = ""
    count: Count = "paper_flops"
    """Which of our counts the paper's operations are."""
    cause: str = ""
    """Why a printed figure is not ours."""
    cut: bool = False
    """The parameters were cut to the digits that are printed, not rounded."""
    parameters_besides: int = 0
    """Parameters in the printed figure that are not in our network."""
    operations_sum: tuple[str, ...] = ()
    """Printed figures that the printed operations are the sum of."""

    @cached_property
    def sizes(self) -> tuple[Sizes, ...]:
        """Sizes of each network of the row."""
        return tuple(sizes_of(**{"num_classes": HMDB51_CLASSES, **network}) for network in self.networks)

    @property
    def our_parameters(self) -> int:
        """Our parameters, with those that the printed figure holds besides."""
        return sum(sizes.parameters for sizes in self.sizes) + self.parameters_besides

    @property
    def our_operations(self) -> int:
        """Operations in the paper's count."""
        return sum(getattr(sizes, self.count) for sizes in self.sizes)

    @property
    def macs(self) -> int:
        """Multiply-adds of all networks of the row, for one clip each."""
        return sum(sizes.macs for sizes in self.sizes)

    def is_explained(self) -> bool:
        """Whether every printed figure is ours, at its printed precision, or follows from ``cause``."""
        return self._parameters_agree() and self._operations_agree()

    def _parameters_agree(self) -> bool:
        return not self.parameters or printed(self.our_parameters, 6, self.parameters, self.cut) == self.parameters

    def _operations_agree(self) -> bool:
        if self.operations_sum:
            return sum(map(Decimal, self.operations_sum)) == Decimal(self.operations)
        return not self.operations or printed(self.our_operations, 9, self.operations) == self.operations


def printed(value: int, exponent: int, like: str, cut: bool = False) -> str:
    """Write ``value`` in units of ``10 ** exponent`` with as many decimals as ``like`` has."""
    digits = Decimal(like).as_tuple().exponent
    rounding = ROUND_DOWN if cut else ROUND_HALF_UP
    return str((Decimal(value).scaleb(-exponent)).quantize(Decimal(1).scaleb(int(digits)), rounding))


def _network(backbone: str, head: str, frames: int, size: int, reduction: str | None = None, **others: Any) -> Network:
    given = {"backbone": backbone, "reduction": reduction, "head": head, "clip_length": frames, "size": size}
    return {**given, **others}


def _resnext(head: str, reduction: str | None = "frmb", modality: str = "rgb") -> Network:
    return _network("resnext101", head, 64, 112, reduction, modality=modality)


def _i3d(head: str, reduction: str | None = None, modality: str = "rgb") -> Network:
    return _network("i3d", head, 64, 224, reduction, modality=modality)


def _frames(head: str, **others: Any) -> tuple[Network, ...]:
    return (_network("resnet18", head, 16, 224, **others),)


def _fused(backbone: str) -> tuple[Network, ...]:
    return (_network(backbone, "concat", 16, 224, backbone_options={"fusion": "triple"}),)


FOUR_TIMES = "the paper multiplied its rounded figure for 16 frames by 4: 4 x 9.64"
UNUSED_HEAD = "the printed network holds the unused 400-class layer of its backbone, 2304 x 400 + 400 parameters"
CUT = "cut, not rounded"
NO_FIGURE = "we have not the printed figure"
THREE_STAGES = f"{NO_FIGURE}; it is that of a layer over (128 + 256 + 512) x 16 features, as here"
NO_CODE = "not explained: no code of this row is public; a layer over the features of three stages has 0.22 M more"

TABLES: Mapping[str, tuple[Row, ...]] = {
    "ECCVW table 1: ResNeXt-101, RGB, 64 frames of 112 x 112": (
        *(
            Row(
                name=f"average pooling, {optimizer}",
                networks=(_resnext("tgap", None),),
                parameters="47.63",
                operations="38.56",
                cause=FOUR_TIMES,
                operations_sum=("9.64",) * 4,
            )
            for optimizer in ("SGD", "AdamW")
        ),
        Row(name="average pooling, FRMB", networks=(_resnext("tgap"),), parameters="44.22", operations="38.36"),
        Row(name="LSTM, FRMB", networks=(_resnext("lstm"),), parameters="47.58", operations="38.37"),
        Row(
            name="non-local, concatenation, FC, FRMB",
            networks=(_resnext("nonlocal_concat_fc"),),
            parameters="47.35",
            operations="38.43",
        ),
        Row(name="concatenation, FRMB", networks=(_resnext("concat"),), parameters="44.30", operations="38.36"),
        Row(name="concatenation, FC, FRMB", networks=(_resnext("concat_fc"),), parameters="47.45", operations="38.36"),
        Row(name="BERT, FRMB", networks=(_resnext("bert"),), parameters="47.38", operations="38.37"),
    ),
    "ECCVW table 3: ResNeXt-101, 64 frames of 112 x 112": (
        Row(
            name="RGB",
            networks=(_resnext("tgap", None),),
            parameters="47.63",
            operations="38.56",
            cause=FOUR_TIMES,
            operations_sum=("9.64",) * 4,
        ),
        Row(
            name="flow",
            networks=(_resnext("tgap", None, "flow"),),
            parameters="47.60",
            operations="34.16",
        ),
        Row(
            name="both",
            networks=(_resnext("tgap", None), _resnext("tgap", None, "flow")),
            operations="72.72",
            cause="the sum of the two rows above",
            operations_sum=("38.56", "34.16"),
        ),
        Row(name="RGB, BERT", networks=(_resnext("bert"),), parameters="47.38", operations="38.37"),
        Row(
            name="flow, BERT",
            networks=(_resnext("bert", modality="flow"),),
            parameters="47.36",
            operations="33.97",
        ),
        Row(name="both, BERT", networks=(_resnext("bert"), _resnext("bert", modality="flow")), operations="72.34"),
    ),
    "ECCVW table 4: I3D, 64 frames of 224 x 224": (
        Row(name="RGB", networks=(_i3d("tgap"),), parameters="12.34", operations="111.33"),
        Row(name="flow", networks=(_i3d("tgap", None, "flow"),), parameters="12.32", operations="102.52"),
        Row(name="both", networks=(_i3d("tgap"), _i3d("tgap", None, "flow")), cause=NO_FIGURE),
        Row(name="RGB, BERT, FRAB", networks=(_i3d("bert", "frab"),), parameters="16.40", operations="111.72"),
        Row(name="flow, BERT, FRAB", networks=(_i3d("bert", "frab", "flow"),), parameters="16.37", operations="102.91"),
        Row(
            name="both, BERT, FRAB",
            networks=(_i3d("bert", "frab"), _i3d("bert", "frab", "flow")),
            cause=NO_FIGURE,
        ),
        Row(name="RGB, BERT", networks=(_i3d("bert"),), parameters="24.95", operations="111.44"),
        Row(name="flow, BERT", networks=(_i3d("bert", None, "flow"),), parameters="24.92", operations="102.63"),
    ),
    "ECCVW table 5: SlowFast-50 8x8, RGB, 64 frames of 224 x 224": (
        Row(
            name="average pooling",
            networks=(_network("slowfast_50", "tgap", 64, 224),),
            parameters="33.76",
            operations="50.72",
        ),
        Row(
            name="early fusion BERT, FRAB",
            networks=(_network("slowfast_50", "bert_early", 64, 224, "frab"),),
            parameters="43.17",
            operations="52.39",
            cause=UNUSED_HEAD,
            parameters_besides=2304 * 400 + 400,
        ),
        Row(
            name="late fusion BERT, FRAB",
            networks=(_network("slowfast_50", "bert_late", 64, 224, "frab"),),
            parameters="42.04",
            operations="52.14",
            cause=UNUSED_HEAD,
            parameters_besides=2304 * 400 + 400,
        ),
    ),
    "ECCVW table 6: R(2+1)D-34, RGB, 32 frames of 112 x 112": (
        Row(
            name="average pooling",
            networks=(_network("r2plus1d_34", "tgap", 32, 112),),
            parameters="63.67",
            operations="152.95",
            cause="the parameters are those with the 359 classes of IG-65M, and cut, not rounded",
            parameters_besides=(359 - HMDB51_CLASSES) * (512 + 1),
            cut=True,
        ),
        Row(
            name="BERT",
            networks=(_network("r2plus1d_34", "bert", 32, 112),),
            parameters="66.67",
            operations="152.97",
        ),
    ),
    "METU table 3.3: ResNet-18 per frame, RGB, 16 frames of 224 x 224": (
        Row(name="no pooling, one frame", networks=(_network("resnet18", "none", 1, 224),), parameters="11.20"),
        Row(name="average pooling", networks=_frames("tgap"), parameters="11.20"),
        Row(name="non-local, average pooling", networks=_frames("nonlocal_tgap"), parameters="12.25"),
        Row(name="concatenation", networks=_frames("concat"), parameters="11.59"),
        Row(
            name="non-local, concatenation",
            networks=_frames("nonlocal_concat"),
            parameters="12.64",
            cause=CUT,
            cut=True,
        ),
        Row(
            name="LSTM, two layers of 512",
            networks=_frames("lstm", num_layers=2, head_width=512),
            parameters="15.40",
            cause=CUT,
            cut=True,
        ),
        Row(name="ConvGRU, 196", networks=_frames("conv_gru", head_width=196), cause=NO_FIGURE),
        Row(name="BERT", networks=_frames("bert"), parameters="14.36"),
    ),
    "METU table 3.5: 2D ResNets, fusion of three stages, concatenation, RGB, 16 frames of 224 x 224": (
        Row(name="ResNet-18", networks=_fused("resnet18"), cause=THREE_STAGES),
        Row(name="ResNet-34", networks=_fused("resnet34"), cause=THREE_STAGES),
        Row(name="ResNet-50", networks=_fused("resnet50"), parameters="26.21", cause=NO_CODE),
        Row(name="ResNet-101", networks=_fused("resnet101"), parameters="45.20", cause=NO_CODE),
    ),
    "METU table 3.8: 3D networks, RGB": (
        Row(
            name="ResNet-101, 16 frames of 112 x 112",
            networks=(_network("resnet3d_101", "tgap", 16, 112),),
            parameters="85.35",
            operations="13.95",
        ),
        Row(
            name="ResNet-101, 64 frames of 112 x 112",
            networks=(_network("resnet3d_101", "tgap", 64, 112),),
            parameters="85.35",
            operations="55.80",
        ),
        Row(
            name="ResNeXt-101, 16 frames of 112 x 112",
            networks=(_network("resnext101", "tgap", 16, 112),),
            parameters="47.63",
            operations="9.64",
        ),
        Row(
            name="ResNeXt-101, 64 frames of 224 x 224",
            networks=(_network("resnext101", "tgap", 64, 224),),
            parameters="47.63",
            operations="153.36",
        ),
    ),
    "SlowFast in other papers, 400 classes; operations are multiply-adds": (
        Row(
            name="SlowFast paper: SlowFast-50 4x16, 32 frames of 256 x 256",
            networks=(
                _network(
                    "slowfast_50", "tgap", 32, 256, num_classes=400, backbone_options={"alpha": 8, "fusion_kernel": 5}
                ),
            ),
            operations="36.1",
            count="macs",
        ),
        Row(
            name="Chen et al., table 6: SlowFast-50 8x8, 32 frames of 256 x 256",
            networks=(_network("slowfast_50", "tgap", 32, 256, num_classes=400),),
            operations="65.7",
            count="macs",
        ),
    ),
}

_ABOUT = """# Sizes: the papers' and ours

Made by `kinebert describe --paper-tables docs/sizes.md`. Parameters are in millions, operations and GMac in 1e9, for
one clip, and 51 classes (HMDB51) unless a title says otherwise. *Paper* is as printed, *ours* is our network in the
same count. A note stands where the two are not the same at the printed precision.

- **Operations** are the BERT papers' own count, that of ptflops 0.5.2: the multiply-adds of convolutions and linear
  layers, their biases, 2 per element out of a batch norm, 1 per element out of an `nn.ReLU` and 1 per element into a
  pooling layer. Matrix products and functional calls are not in it. Nor does the tool see an LSTM, but the papers'
  figure holds theirs, and so does this count.
- What the tool saw of the *published* code is counted. An average over the picture is a pooling layer there, wherever
  we write a mean. I3D's ReLUs and padded pools are not in it: the former are functions, the latter a class of their
  own. SlowFast's pools of size 1 after its first stage are in it, though they do nothing and our network has none.
- **GMac** are the multiply-adds of convolutions, linear and recurrent layers and all matrix products.

Left out: METU table 4.1, whose figures we do not have, and of table 3.10 MFNet, Rep-Flow-50, TSM-50 and Modified
ResNet-50, networks that are not here, and the only ones of that table whose figures we have.
"""
_HEADER = """
| | network | parameters: paper | ours | operations: paper | ours | GMac | |
|---|---|---|---|---|---|---|---|
"""


def markdown() -> str:
    """Return the tables as a page of documentation."""
    tables = (f"\n## {title}\n{_HEADER}" + "".join(map(_line, rows)) for title, rows in TABLES.items())
    return _ABOUT + "".join(tables)


def _line(row: Row) -> str:
    parameters = sum(sizes.parameters for sizes in row.sizes)
    note = row.cause
    if row.parameters_besides:
        note += f"; with them {row.our_parameters / 1e6:.3f}"
    cells = (
        row.name,
        " and ".join(map(_spelt, row.networks)),
        row.parameters,
        f"{parameters / 1e6:.3f}",
        row.operations,
        f"{row.our_operations / 1e9:.3f}",
        f"{row.macs / 1e9:.3f}",
        note,
    )
    return f"| {' | '.join(cells)} |\n"


def _spelt(network: Network) -> str:
    parts = [network[key] for key in ("backbone", "reduction", "head") if network[key] is not None]
    return f"`{' + '.join(parts)}`" + (" flow" if network.get("modality") == "flow" else "")
