"""Keys of piergiaj/representation-flow-cvpr19."""

from kinebert.training.models.inputs import INVERTED
from kinebert.training.models.weights.keys import Layout, PublishedFile

_FLOW = {
    "img_grad": "image_x",
    "img_grad2": "image_y",
    "f_grad": "flow_x",
    "f_grad2": "flow_y",
    "div": "divergence_x",
    "div2": "divergence_y",
    "t": "theta",
    "l": "attachment",
    "a": "tau",
    r"bottleneck\.weight": "reduce.weight",
    r"unbottleneck\.weight": "expand.weight",
}
_LAYERS = {1: ("conv1.weight", "2", "bn1"), 5: ("conv2.weight", "6", "bn2"), 8: ("conv3.weight", "9", "bn3")}
"""Our convolution, their norm and ours, by their convolution's place."""


def _rules() -> tuple[tuple[str, str], ...]:
    rules = [(r"stem\.weight", "backbone.stem.0.weight"), (r"bn1\.(.+)", r"backbone.stem.1.\1")]
    rules += [(rf"rep_flow\.{theirs}", f"backbone.flow.{ours}") for theirs, ours in _FLOW.items()]
    rules.append((r"rep_flow\.bn\.(.+)", r"backbone.flow.norm.\1"))
    for stage in (1, 2, 3, 4):
        theirs, ours = rf"res{stage + 1}\.blocks\.(\d+)\.", rf"backbone.layer{stage}.\1."
        for place, (convolution, norm, our_norm) in _LAYERS.items():
            rules.append((rf"{theirs}layers\.{place}\.weight", ours + convolution))
            rules.append((rf"{theirs}layers\.{norm}\.(.+)", rf"{ours}{our_norm}.\2"))
        rules.append((rf"{theirs}shortcut\.1\.weight", f"{ours}downsample.0.weight"))
        rules += [(rf"{theirs}shortcut\.{i + 1}\.(.+)", rf"{ours}downsample.{i}.\2") for i in (1, 2)]
    return (*rules, (r"classify\.(weight|bias)", r"classifier.\1"))


LAYOUTS = (
    Layout(
        name="repflow",
        source="piergiaj/representation-flow-cvpr19",
        paper="Representation flow for action recognition, arXiv:1810.01455",
        licence="none stated",
        url="https://github.com/piergiaj/representation-flow-cvpr19",
        rules=_rules(),
        normalization={"rgb": INVERTED},
        files=(
            PublishedFile(name="rep_flow.pt", backbone="repflow_50", num_classes=400, num_frames=32, crop_size=224),
        ),
    ),
)
