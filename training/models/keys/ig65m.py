"""Keys of moabitcoin/ig65m-pytorch: R(2+1)D-34 trained on IG-65M, and fine-tuned on Kinetics."""

from training.models.keys import KeyMap

R2PLUS1D = KeyMap(
    "IG-65M R(2+1)D",
    (
        (r"(stem|layer[1-4])\.(.+)", r"backbone.\1.\2"),
        (r"fc\.(weight|bias)", r"classifier.\1"),
    ),
)
