"""Keys of artest08/LateTemporalModeling3DCNN, the BERT papers' own implementation: SlowFast.

PySlowFast's network is ``model`` there, whole: with BERT its classifier of 400 classes is of no use. FRMB's blocks have
two names, in the network and beside it, and the later one counts.
"""

from collections.abc import Mapping
from typing import Any

from kinebert.training.models.inputs import SLOWFAST
from kinebert.training.models.weights.keys import Layout, Shape
from kinebert.training.models.weights.keys.bert.artest08 import LICENCE, PAPER, SOURCE, URL, bert_rules, files
from kinebert.training.models.weights.keys.libraries.pyslowfast import shape_options, trunk_rules

_BLOCK = r"\.((?:conv[1-3]|bn[1-3]|downsample\.[01])\..+)"
_HEADS = (
    *bert_rules("bert", "head.bert"),
    *bert_rules("bert_slow", "head.slow"),
    *bert_rules("bert_fast", "head.fast"),
    (r"fc_action\.(weight|bias)", r"classifier.\1"),
)
_UNUSED = (r"model\.head\.projection\.(weight|bias)",)
_LAST = {"slow": "model.s5.pathway0_res2.branch2.a.weight", "fast": "model.s5.pathway1_res2.branch2.a.weight"}

_options = shape_options(
    "model.s1_fuse.conv_f2s.weight", "model.s1.pathway0_stem.conv.weight", "model.s1.pathway1_stem.conv.weight"
)


def _replaced_options(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the options of a network whose last slow block was replaced; None where it is the usual one."""
    return None if _LAST["slow"] in shapes else _options(shapes, present)


def _rules(slow: str, fast: str) -> tuple[tuple[str, str], ...]:
    """Return the rules of a layout whose reducing blocks are ``slow`` and ``fast`` here."""
    return (
        *trunk_rules(r"model\."),
        (r"mapper(?:_slow)?" + _BLOCK, rf"backbone.{slow}.\1"),
        (r"mapper_fast" + _BLOCK, rf"backbone.{fast}.\1"),
        *_HEADS,
    )


LAYOUTS = (
    Layout(
        name="artest08_slowfast",
        source=f"{SOURCE}, models rgb_slowfast64f_50 and rgb_slowfast64f_50_bert10_FRAB_*",
        paper=PAPER,
        licence=LICENCE,
        url=URL,
        rules=_rules("mapper.slow", "mapper.fast"),
        ignored=_UNUSED,
        normalization={"rgb": SLOWFAST},
        options=_options,
        files=(
            *files("rgb_slowfast64f_50", "slowfast_50", size=224),
            *files("rgb_slowfast64f_50_bert10_FRAB_early", "slowfast_50", "bert_early", "frab", size=224),
            *files("rgb_slowfast64f_50_bert10_FRAB_late", "slowfast_50", "bert_late", "frab", size=224),
        ),
    ),
    Layout(
        name="artest08_slowfast_frmb",
        source=f"{SOURCE}, models rgb_slowfast64f_50_bert10_FRMB_*",
        paper=PAPER,
        licence=LICENCE,
        url=URL,
        rules=(
            (r"model\.s5\.pathway0_res2" + _BLOCK, r"backbone.slow.res5.2.\1"),
            (r"model\.s5\.pathway1_res2" + _BLOCK, r"backbone.fast.res5.2.\1"),
            *_rules("slow.res5.2", "fast.res5.2"),
        ),
        ignored=_UNUSED,
        shared=True,
        normalization={"rgb": SLOWFAST},
        options=_replaced_options,
        files=(
            *files("rgb_slowfast64f_50_bert10_FRMB_early", "slowfast_50", "bert_early", "frmb", size=224),
            *files("rgb_slowfast64f_50_bert10_FRMB_late", "slowfast_50", "bert_late", "frmb", size=224),
        ),
    ),
)
