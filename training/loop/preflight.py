"""What can be found out about a training before any process of it is started."""

from dataclasses import dataclass

from kinebert.preprocessing import storage
from kinebert.preprocessing.config import differences, parse_toml, to_plain, to_toml
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.modalities import streams_of
from kinebert.training.checkpoints.state import TrainState, check_continues, load_state
from kinebert.training.data.parts import check_videos
from kinebert.training.distillation.lesson import student_of
from kinebert.training.distillation.pictures import pictures_of
from kinebert.training.distillation.students import Student
from kinebert.training.distillation.teacher import load_teacher
from kinebert.training.loop.fits import check_fits, check_reached, unfit
from kinebert.training.loop.initial import initial_recognizer
from kinebert.training.loop.stages import Stage, carry_weights, check_shapes, plan_stages
from kinebert.training.models import Recognizer
from kinebert.training.models.sizes.unallocated import unallocated
from kinebert.training.optim.groups import freeze, parameter_groups
from kinebert.training.recipe.train import TrainRecipe
from kinebert.training.run_folder import RECIPE_FILE, STATE_FILE
from kinebert.training.shards import Shards, check_swappable


def check_training(recipe: TrainRecipe, shards: Shards, output: str, new: bool = False) -> list[str]:
    """Look for what would end a training early; return sentences about what is unusual but allowed.

    Args:
        recipe: Of the training.
        shards: The set that it names, opened.
        output: Its folder.
        new: Whether ``output`` must not hold a training yet.

    Raises:
        UserError: If the shards hold another modality than the recipe's, a part is empty, the network cannot be built,
            or ``output`` holds another training, or any with ``new``.
    """
    if recipe.data.modality not in ("", shards.modality):
        way = f"Give a set of {recipe.data.modality} with data.shards, or a recipe of the {shards.modality} stream."
        if len(streams_of(recipe.data.modality)) > 1:
            way = "Give data.shards and data.beside in this order, one set for each."
        raise UserError(
            f"{shards.uri}: holds {shards.modality}, the recipe's data.modality is {recipe.data.modality}. {way}"
        )
    notes, networks, students = list[str](), list[Recognizer](), list[Student | None]()
    pictures = pictures_of(recipe, shards)
    num_videos = len(check_videos(pictures.read, recipe.data, recipe.data.train_part)[0])
    for stage in recipe.in_stages():
        if stage.data.flip_swaps_sides and stage.data.flip:
            check_swappable(shards)
        for part, read in ((stage.data.train_part, pictures.read), (stage.data.val_part, shards)):
            notes += check_videos(read, stage.data, part)[1]
        with unallocated():  # shapes only: the real weights are made where they are trained
            model, about_weights = initial_recognizer(stage, shards)
            freeze(model, stage.optim.frozen)
            parameter_groups(model, stage.optim)
            check_shapes(model, stage)
            if networks:
                carry_weights(dict(networks[-1].state_dict()), model)
        notes += about_weights
        networks.append(model)
        students.append(None)
        if stage.distill is not None:
            teacher = load_teacher(stage, pictures.taught, shards.classes)
            students[-1] = student_of(model, teacher, stage)
            notes.append(f"the teacher is {teacher.told}")
    state = load_state(output)
    if state is not None:
        check_continues(state, recipe.identity(), pictures.about(), output)
        trained = list(zip(networks, students, strict=True))
        _check_state(state, plan_stages(recipe, num_videos), trained, storage.join(output, STATE_FILE))
        told = _what_is_there(state, recipe, output)
        if new:
            raise UserError(f"{told}. With --new it is left alone: choose another output folder.")
        notes.append(told)
    return list(dict.fromkeys(notes))


def _check_state(
    state: TrainState, stages: list[Stage], trained: list[tuple[Recognizer, Student | None]], uri: str
) -> None:
    """Make sure that a state stands within the stages of a training, and fits the network of its stage."""
    check_reached(state, stages, uri)
    if state.optimizer:
        network, student = trained[state.stage]
        check_fits(state, stages[state.stage].recipe, network, uri, student.projected if student else ())
    elif state.stage == 0:
        raise unfit(uri, "it has no state of an optimizer.")


@dataclass(frozen=True)
class Begun:
    """A training that a folder holds, as far as it has come."""

    epochs: int
    """Epochs that are done."""
    is_over: bool
    """Whether nothing is left to train."""


def begun(recipe: TrainRecipe, output: str) -> Begun | None:
    """Return how far the training of ``recipe`` in the folder ``output`` has come; None if no state was saved there.

    Raises:
        UserError: If the saved states are damaged.
    """
    state = load_state(output)
    return None if state is None else Begun(state.epoch, _is_over(state, recipe))


def _is_over(state: TrainState, recipe: TrainRecipe) -> bool:
    return state.epoch >= recipe.epochs or _is_stopped(state, recipe)


def _is_stopped(state: TrainState, recipe: TrainRecipe) -> bool:
    """Whether ``early_stop`` has ended a training."""
    waited = state.epoch - state.best["epoch"] if state.best else 0
    return 0 < recipe.early_stop <= waited and not recipe.stages


def _what_is_there(state: TrainState, recipe: TrainRecipe, output: str) -> str:
    """Say that a folder is not new: how far its training has come, and which settings it goes on with are others."""
    if state.epoch >= recipe.epochs:
        told = f"{output}: holds this training, whose {state.epoch} epochs are over; nothing is trained again"
    elif _is_stopped(state, recipe):
        told = (
            f"{output}: holds this training, which early_stop = {recipe.early_stop} has ended after epoch "
            f"{state.epoch}; nothing is trained again"
        )
    else:
        at = f"epoch {state.epoch + 1} of {recipe.epochs}" + f", after {state.step} steps" * (state.step > 0)
        told = f"{output}: holds this training, begun earlier; going on in {at}"
    before = storage.join(output, RECIPE_FILE)
    if storage.exists(before):
        try:
            plain = parse_toml(storage.read_bytes(before), before)
        except (OSError, ConfigError):  # it is there for people
            return told
        found = differences(plain, parse_toml(to_toml(to_plain(recipe)).encode(), before))
        if found:
            told += f", with other settings than before (before != now): {'; '.join(found)}"
    return told
