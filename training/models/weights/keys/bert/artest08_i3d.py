"""Keys of artest08/LateTemporalModeling3DCNN, the BERT papers' own implementation: I3D.

The trunk is ``features`` there, numbered with its pools; FRMB's block lies in it under the number of the last one.
"""

from kinebert.training.models.inputs import CENTERED, CENTERED_FLOW
from kinebert.training.models.weights.keys import Layout
from kinebert.training.models.weights.keys.bert.artest08 import HEADS, LICENCE, PAPER, SOURCE, URL, files
from kinebert.training.models.weights.keys.bert.pytorch_i3d import MIXED, STEM, mixed_rules, unit_rules

_STEM_PLACES = (0, 2, 3)
_MIXED_PLACES = (5, 6, 8, 9, 10, 11, 12, 14, 15)

LAYOUTS = (
    Layout(
        name="artest08_i3d",
        source=f"{SOURCE}, models rgb_ and flow_I3D64f*",
        paper=PAPER,
        licence=LICENCE,
        url=URL,
        rules=(
            *(
                rule
                for place, ours in zip(_STEM_PLACES, STEM, strict=True)
                for rule in unit_rules(rf"features\.{place}", ours)
            ),
            *(
                rule
                for place, ours in zip(_MIXED_PLACES, MIXED, strict=True)
                for rule in mixed_rules(rf"features\.{place}", ours)
            ),
            *mixed_rules("mapper", "mapper"),
            *HEADS,
        ),
        normalization={"rgb": CENTERED, "flow": CENTERED_FLOW},
        files=tuple(
            file
            for stream in ("rgb", "flow")
            for model, head, reduction in (
                ("I3D64f", "tgap", None),
                ("I3D64f_bert2", "bert", None),
                ("I3D64f_bert2_FRAB", "bert", "frab"),
                ("I3D64f_bert2_FRMB", "bert", "frmb"),
            )
            for file in files(f"{stream}_{model}", "i3d", head, reduction, size=224)
        ),
    ),
)
