"""A trained network that says what its student should say, and learns nothing.

Axes: N clips, C channels, T frames, H height, W width, F features, K classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.fetching.downloads import is_download
from kinebert.preprocessing.storage import explained, file_digest
from kinebert.training.checkpoints.recognizer import CheckpointInfo, load_recognizer, recipe_difference
from kinebert.training.distillation.students import STUDENTS
from kinebert.training.distillation.views import SCORES, TOKENS, View, exact
from kinebert.training.models import Recognizer, build_recognizer, load_published
from kinebert.training.models.sizes.unallocated import unallocated
from kinebert.training.models.weights.sources import local_weights, located
from kinebert.training.numerics import autocast_dtype
from kinebert.training.recipe.distill import DistillRecipe, TeacherRecipe
from kinebert.training.recipe.train import TrainRecipe
from kinebert.training.shards import Shards


@dataclass(frozen=True, eq=False)
class Teacher:
    """A network in eval mode whose weights nothing changes, and what of it is looked at."""

    network: Recognizer
    view: View
    every: int
    """Images of the student's clip from one that it sees to the next."""
    shape: tuple[int, ...]
    """Of what it gives for a clip."""
    told: str
    """What it is, in words."""

    def on(self, device: torch.device, recipe: TrainRecipe) -> "TeacherOnDevice":
        """Return it ready to work in a process of the training ``recipe``."""
        return TeacherOnDevice(self, device, recipe)


class TeacherOnDevice:
    """A teacher at work.

    Args:
        teacher: Whose network is moved to the device.
        device: Of the student.
        recipe: Says in which numbers both compute.
    """

    def __init__(self, teacher: Teacher, device: torch.device, recipe: TrainRecipe) -> None:
        assert recipe.distill is not None
        self._teacher, self._device = teacher, device
        self._double = recipe.amp == "fp64"
        network = teacher.network.eval().requires_grad_(False).to(device)
        self._network = network.double() if self._double else network
        asked = recipe.distill.dtype
        self._dtype = autocast_dtype(recipe.amp if asked == "auto" else asked, device)

    @property
    def spec(self) -> object:
        """What the network's input must look like."""
        return self._network.spec

    @torch.no_grad()
    def __call__(self, x_NCTHW: Tensor) -> Tensor:
        """Return what it gives for the clips of its student: ``(N, F)``, ``(N, T, F)`` or ``(N, K)``, float32 at least.

        Args:
            x_NCTHW: All images of the student's clips, normalised as :attr:`spec` says.
        """
        seen_NCTHW = x_NCTHW[:, :, :: self._teacher.every]
        seen_NCTHW = seen_NCTHW.double() if self._double else seen_NCTHW
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype is not None):
            return exact(self._teacher.view.of(self._network, seen_NCTHW))


def pinned_teacher(recipe: DistillRecipe, tell: Callable[[str], None] = lambda _: None) -> DistillRecipe:
    """Return ``recipe`` with its teacher's file located and its digest, so that a run goes on with no other teacher.

    Args:
        recipe: Of a training.
        tell: Is told what is being fetched.

    Raises:
        UserError: If the file cannot be found or read, or is not the one that the recipe names by its digest.
    """
    if not recipe.teacher:
        raise UserError(
            "distill.teacher is empty: give a checkpoint (of the training that the recipe names, say), or published "
            "weights with distill.network."
        )
    uri = located(recipe.teacher)
    path = local_weights(uri, recipe.teacher_digest, tell)
    with explained(path, "read the teacher"):
        digest = file_digest(path)
    if recipe.teacher_digest not in ("", digest) and not is_download(uri):
        raise UserError(
            f"{uri}: the digest of this teacher is {digest}, the recipe's distill.teacher_digest is "
            f"{recipe.teacher_digest}. Give the file that the recipe means, or take teacher_digest out of it."
        )
    return replace(recipe, teacher=uri, teacher_digest=digest)


def load_teacher(recipe: TrainRecipe, shards: Shards, classes: Sequence[str]) -> Teacher:
    """Read the teacher of a training, on the CPU.

    Args:
        recipe: Pinned.
        shards: The set whose pictures the teacher sees.
        classes: Names of the student's classes by label.

    Raises:
        UserError: If the file cannot be read, or the teacher does not see such clips, or knows other classes where
            these are compared.
    """
    distill = recipe.distill
    assert distill is not None
    path = local_weights(distill.teacher, distill.teacher_digest)
    view = STUDENTS[distill.method].view
    if distill.network is None:
        network, info = load_recognizer(path)
        _check_made_for(distill.teacher, info, shards, classes if view is SCORES else ())
    else:
        network = _published(distill.network, recipe, shards, len(classes), path, view)
    every = _every(network, recipe)
    config = network.config
    parts = [config["backbone"], *[config["reduction"]] * bool(config["reduction"]), config["head"]]
    told = f"{' + '.join(parts)} on {network.spec.modality}, {distill.teacher}, SHA-256 {distill.teacher_digest}"
    images = _check_clips(network, recipe, every, view)
    return Teacher(network, view, every, view.shape(network, images), told)


def check_lesson(model: Recognizer, teacher: Teacher, recipe: TrainRecipe) -> None:
    """Make sure that what a student answers can be compared with what its teacher gives.

    Raises:
        ConfigError: If the sizes are not the same, and are not joined.
    """
    distill = recipe.distill
    assert distill is not None
    kind = STUDENTS[distill.method]
    kind.check(model)
    ours, theirs = kind.view.shape(model, recipe.data.clip_length), teacher.shape
    if ours == theirs or (distill.projection and ours[:-1] == theirs[:-1]):
        return
    told = f"{' x '.join(map(str, theirs))} {teacher.view.name}, the student {' x '.join(map(str, ours))}"
    out = "Take a teacher or a student with as many"
    if ours[:-1] != theirs[:-1]:
        out += ", or another distill.every or data.clip_length, which decide the time steps"
    elif teacher.view is not SCORES:
        out += " (model.reduction frmb or frab leaves 512), or distill.projection = true, which learns to join them"
    raise ConfigError(f"distill: the teacher gives {told}. {out}.")


def unallocated_teacher(teacher: Teacher) -> Recognizer:
    """Return its network without its weights, to be reckoned with."""
    with unallocated():
        return build_recognizer(**teacher.network.config)


def _check_made_for(uri: str, info: CheckpointInfo, shards: Shards, classes: Sequence[str]) -> None:
    if info.spec.modality != shards.modality:
        raise UserError(
            f"{uri}: this teacher takes {info.spec.modality}, {shards.uri} holds {shards.modality}. Give its set as "
            "distill.shards, or another teacher."
        )
    if info.digest != shards.digest:
        raise UserError(
            f"{uri}: this teacher was trained on shards of another recipe than those of {shards.uri} (teacher != set): "
            f"{recipe_difference(info, shards)}. Extract with the teacher's recipe, or train a teacher on this set."
        )
    if classes and list(info.classes) != list(classes):
        raise UserError(
            f"{uri}: this teacher tells {len(info.classes)} classes apart, which are not the {len(classes)} of "
            f'{shards.uri}, or in another order: distill.method = "logits" compares them. Take another method.'
        )


def _published(
    of: TeacherRecipe, recipe: TrainRecipe, shards: Shards, num_classes: int, path: str, view: View
) -> Recognizer:
    assert recipe.distill is not None
    if of.modality not in ("", shards.modality):
        raise UserError(
            f"distill.network.modality is {of.modality}, {shards.uri} holds {shards.modality}. Give its set as "
            "distill.shards."
        )
    network = build_recognizer(
        **of.arguments(),
        modality=shards.modality,
        num_classes=of.num_classes or num_classes,
        clip_length=of.clip_length or recipe.data.clip_length,
        size=recipe.data.crop_size,
        frame_interval=of.frame_interval or recipe.data.frame_interval,
    )
    report = load_published(network, path, of.layout or None, allow=of.allow, digest=recipe.distill.teacher_digest)
    unused = ("classifier.", "head.") if view is TOKENS else ("classifier.",) if view is not SCORES else ()
    fresh = [name for name in (*report.reinitialized, *report.missing) if not name.startswith(unused or "\0")]
    if fresh:
        raise UserError(
            f"{path}: as a teacher these weights lack {fresh[0]} ({len(fresh)} in all), which would teach what was "
            "drawn at random. Give weights that have it, or the network that they are of in distill.network."
        )
    return network.eval()


def _every(network: Recognizer, recipe: TrainRecipe) -> int:
    assert recipe.distill is not None
    theirs, ours = network.spec.frame_interval, recipe.data.frame_interval
    if recipe.distill.every:
        return recipe.distill.every
    if theirs % ours:
        raise ConfigError(
            f"distill: the teacher sees every {theirs}th stored image and the student every {ours}th, of which it "
            "cannot have its own. Give distill.every, or another data.frame_interval."
        )
    return theirs // ours


def _check_clips(network: Recognizer, recipe: TrainRecipe, every: int, view: View) -> int:
    """Return how many images of a clip a teacher sees, after a look at whether it takes them."""
    data, spec = recipe.data, network.spec
    for name, theirs, ours in (
        ("crop_size", spec.crop_size, data.crop_size),
        ("flow_stack", spec.flow_stack, data.flow_stack),
    ):
        if theirs != ours:
            raise ConfigError(f"distill: the teacher's {name} is {theirs}, data.{name} is {ours}. Both see one crop.")
    images = -(-data.clip_length // every)
    channels = len(spec.mean)
    x_NCTHW = torch.empty((1, channels, images, data.crop_size, data.crop_size), device="meta")
    if view.whole:
        network.check_input(x_NCTHW)
    else:
        network.backbone.check_input(*x_NCTHW.shape[1:])
    return images
