"""Keys of artest08/LateTemporalModeling3DCNN, the published implementation of BERT pooling: R(2+1)D networks."""

from training.models.keys import KeyMap

_BLOCK = r"bert\.transformer_blocks\.(\d+)\."
_OURS = r"head.blocks.\1."

R2PLUS1D = KeyMap(
    "artest08 R(2+1)D",
    (
        (r"features\.0\.(.+)", r"backbone.stem.\1"),
        (r"features\.([1-4])\.(.+)", r"backbone.layer\1.\2"),
        (r"bert\.clsToken", r"head.token"),
        (r"bert\.embedding\.learnedPosition\.pe", r"head.positions"),
        (_BLOCK + r"attention\.linear_layers\.0\.(weight|bias)", _OURS + r"attention.query.\2"),
        (_BLOCK + r"attention\.linear_layers\.1\.(weight|bias)", _OURS + r"attention.key.\2"),
        (_BLOCK + r"attention\.linear_layers\.2\.(weight|bias)", _OURS + r"attention.value.\2"),
        (_BLOCK + r"attention\.output_linear\.(weight|bias)", _OURS + r"attention.output.\2"),
        (_BLOCK + r"feed_forward\.w_1\.(weight|bias)", _OURS + r"expand.\2"),
        (_BLOCK + r"feed_forward\.w_2\.(weight|bias)", _OURS + r"contract.\2"),
        (_BLOCK + r"input_sublayer\.norm\.a_2", _OURS + r"norm1.scale"),
        (_BLOCK + r"input_sublayer\.norm\.b_2", _OURS + r"norm1.shift"),
        (_BLOCK + r"output_sublayer\.norm\.a_2", _OURS + r"norm2.scale"),
        (_BLOCK + r"output_sublayer\.norm\.b_2", _OURS + r"norm2.shift"),
        (r"fc_action\.(weight|bias)", r"classifier.\1"),
    ),
)
"""With BERT pooling or without."""
