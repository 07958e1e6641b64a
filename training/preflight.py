"""What can be found out about a training before any process of it is started."""

import torch

from preprocessing.errors import UserError
from training.data import Shards, check_videos
from training.initial import initial_recognizer
from training.optim import freeze
from training.recipe import TrainRecipe
from training.stages import carry_weights
from training.state import about, check_continues, load_state


def check_training(recipe: TrainRecipe, shards: Shards, output: str) -> list[str]:
    """Look for what would end a training early; return sentences about what is unusual but allowed.

    Raises:
        UserError: If the shards hold another modality than the recipe's, a part is empty, the network cannot be built,
            or ``output`` holds another training.
    """
    if recipe.data.modality not in ("", shards.modality):
        raise UserError(
            f"{shards.uri}: holds {shards.modality}, the recipe's data.modality is {recipe.data.modality}. "
            f"Give a set of {recipe.data.modality} with data.shards, or a recipe of the {shards.modality} stream."
        )
    notes, before = [], None
    for stage in recipe.in_stages():
        for part in (stage.data.train_part, stage.data.val_part):
            notes += check_videos(shards, stage.data, part)[1]
        with torch.device("meta"):  # shapes only: the real weights are made where they are trained
            model, about_weights = initial_recognizer(stage, shards)
            freeze(model, stage.optim.frozen)
            if before is not None:
                carry_weights(dict(before.state_dict()), model)
        notes, before = [*notes, *about_weights], model
    state = load_state(output)
    if state is not None:
        check_continues(state, recipe.identity(), about(shards), output)
    return list(dict.fromkeys(notes))
