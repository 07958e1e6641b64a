"""Keys of artest08/LateTemporalModeling3DCNN, the published implementation of BERT pooling: R(2+1)D networks."""

from training.models.keys import KeyMap


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
"""Of every head, and of the classifier; the networks' layouts differ in the backbone."""

R2PLUS1D = KeyMap(
    "artest08 R(2+1)D",
    (
        (r"features\.0\.(.+)", r"backbone.stem.\1"),
        (r"features\.([1-4])\.(.+)", r"backbone.layer\1.\2"),
        *HEADS,
    ),
)
"""With BERT pooling or without."""
