"""Keys of artest08/LateTemporalModeling3DCNN, the BERT papers' own implementation: its heads, ResNeXt and R(2+1)D.

A trunk is ``features`` there, a sequence of the children of the network that it is taken from.
"""

from collections.abc import Mapping
from typing import Any

from kinebert.training.models.inputs import ACTIVITYNET, BYTE_FLOW, FLOW, KINETICS
from kinebert.training.models.weights.keys import Layout, PublishedFile, Shape
from kinebert.training.models.weights.keys.bert.kenshohara import known_options

SOURCE = "artest08/LateTemporalModeling3DCNN"
PAPER = "Late temporal modeling in 3D CNN architectures with BERT for action recognition, arXiv:2008.01232"
LICENCE = "MIT"
URL = "https://github.com/artest08/LateTemporalModeling3DCNN"


_CLASSES = {"hmdb51": 51, "ucf101": 101}


def files(
    model: str, backbone: str, head: str = "tgap", reduction: str | None = None, frames: int = 64, size: int = 112
) -> tuple[PublishedFile, ...]:
    """Return the files that the training program there writes of a model, <k> being the split."""
    modality = model.partition("_")[0]
    return tuple(
        PublishedFile(
            name=f"{data}_{model}_split<k>/model_best.pth.tar",
            backbone=backbone,
            reduction=reduction,
            head=head,
            num_classes=num_classes,
            num_frames=frames,
            crop_size=size,
            modality=modality,
            data=f"as in the paper, then {data.upper()}",
        )
        for data, num_classes in _CLASSES.items()
    )


def bert_rules(published: str = "bert", ours: str = "head") -> tuple[tuple[str, str], ...]:
    """Return the rules of a BERT head that is called ``published`` there and ``ours`` here."""
    block, mine = rf"{published}\.transformer_blocks\.(\d+)\.", rf"{ours}.blocks.\1."
    return (
        (rf"{published}\.clsToken", f"{ours}.token"),
        (rf"{published}\.embedding\.learnedPosition\.pe", f"{ours}.positions"),
        (block + r"attention\.linear_layers\.0\.(weight|bias)", mine + r"attention.query.\2"),
        (block + r"attention\.linear_layers\.1\.(weight|bias)", mine + r"attention.key.\2"),
        (block + r"attention\.linear_layers\.2\.(weight|bias)", mine + r"attention.value.\2"),
        (block + r"attention\.output_linear\.(weight|bias)", mine + r"attention.output.\2"),
        (block + r"feed_forward\.w_1\.(weight|bias)", mine + r"expand.\2"),
        (block + r"feed_forward\.w_2\.(weight|bias)", mine + r"contract.\2"),
        (block + r"input_sublayer\.norm\.a_2", mine + r"norm1.scale"),
        (block + r"input_sublayer\.norm\.b_2", mine + r"norm1.shift"),
        (block + r"output_sublayer\.norm\.a_2", mine + r"norm2.scale"),
        (block + r"output_sublayer\.norm\.b_2", mine + r"norm2.shift"),
    )


HEADS = (
    *bert_rules(),
    (r"NLB\.theta\.(weight|bias)", r"head.block.query.\1"),
    (r"NLB\.phi\.(weight|bias)", r"head.block.key.\1"),
    (r"NLB\.g\.(weight|bias)", r"head.block.value.\1"),
    (r"NLB\.W_z\.0\.(weight|bias)", r"head.block.output.\1"),
    (r"NLB\.W_z\.1\.(.+)", r"head.block.norm.\1"),
    (r"lstm\.((?:weight|bias)_[ih]h_l\d+)", r"head.lstm.\1"),
    (r"linear\.(weight|bias)", r"head.fc.\1"),
    (r"fc_action\.(weight|bias)", r"classifier.\1"),
)
"""Rules for every head and the classifier; the networks' layouts differ in the backbone."""

_RESNEXT = (
    (r"features\.0\.weight", r"backbone.stem.0.weight"),
    (r"features\.1\.(weight|bias|running_.+|num_.+)", r"backbone.stem.1.\1"),
    *(
        (
            rf"features\.{stage + 3}\.(\d+\.(?:conv[1-3]\.weight|bn[1-3]\..+|downsample\.[01]\..+))",
            rf"backbone.layer{stage}.\1",
        )
        for stage in (1, 2, 3, 4)
    ),
    (r"mapper\.((?:conv|bn|downsample).+)", r"backbone.mapper.\1"),
)
"""FRMB's block lies in the fourth stage under the name of the block that it replaces."""

_R2PLUS1D = (
    (r"features\.0\.([0134]\..+)", r"backbone.stem.\1"),
    (r"features\.([1-4])\.(\d+\.(?:conv[12]\.[01]\..+|downsample\.[01]\..+))", r"backbone.layer\1.\2"),
)


def _resnext_options(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any]:
    del shapes
    return known_options({"shortcut": "B", "cardinality": 32}, present)


def _r2plus1d_options(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any]:
    del shapes
    return known_options({"family": "ig65m"}, present)


LAYOUTS = (
    Layout(
        name="artest08_resnext",
        source=f"{SOURCE}, models rgb_ and flow_resneXt3D64f101*",
        paper=PAPER,
        licence=LICENCE,
        url=URL,
        rules=(*_RESNEXT, *HEADS),
        normalization={"rgb": ACTIVITYNET, "flow": BYTE_FLOW, "pose": ACTIVITYNET},
        options=_resnext_options,
        files=(
            *files("rgb_resneXt3D64f101", "resnext101"),
            *files("rgb_resneXt3D64f101_adamw", "resnext101"),
            *files("flow_resneXt3D64f101", "resnext101"),
            *files("rgb_resneXt3D64f101_bert10_FRAB", "resnext101", "bert", "frab"),
            *files("flow_resneXt3D64f101_bert10_FRAB", "resnext101", "bert", "frab"),
            *files("rgb_resneXt3D64f101_bert10_FRMB", "resnext101", "bert", "frmb"),
            *files("flow_resneXt3D64f101_bert10_FRMB", "resnext101", "bert", "frmb"),
            *files("rgb_resneXt3D64f101_FRMB_adamw", "resnext101", "tgap", "frmb"),
            *files("rgb_resneXt3D64f101_concatenation", "resnext101", "concat_fc", "frmb"),
            *files("rgb_resneXt3D64f101_FRMB_NLB_concatenation", "resnext101", "nonlocal_concat_fc", "frmb"),
            *files("rgb_resneXt3D64f101_FRMB_lstm", "resnext101", "lstm", "frmb"),
        ),
    ),
    Layout(
        name="artest08_r2plus1d",
        source=f"{SOURCE}, models rgb_r2plus1d_32f_34* and rgb_r2plus1d_64f_34_bert10",
        paper=PAPER,
        licence=LICENCE,
        url=URL,
        rules=(*_R2PLUS1D, *HEADS),
        normalization={"rgb": KINETICS, "flow": FLOW, "pose": KINETICS},
        options=_r2plus1d_options,
        files=(
            *files("rgb_r2plus1d_32f_34", "r2plus1d_34", frames=32),
            *files("rgb_r2plus1d_32f_34_bert10", "r2plus1d_34", "bert", frames=32),
            *files("rgb_r2plus1d_64f_34_bert10", "r2plus1d_34", "bert", frames=64),
        ),
    ),
)
