"""Keys of this program's own checkpoints, so that a training can start from another one's result."""

from kinebert.training.models.weights.keys import Layout

LAYOUTS = (
    Layout(
        name="kinebert",
        source="KineBERT",
        paper="",
        licence="as the weights that its training started from",
        url="best.pt and last.pt of a training",
        rules=((r"(?:backbone|head|classifier)\..+", r"\g<0>"),),
    ),
)
