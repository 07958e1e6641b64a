"""The recognizer that a training starts with: fresh, or with published weights in it."""

from collections.abc import Callable
from dataclasses import replace

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.fetching.downloads import is_download
from kinebert.preprocessing.storage import explained, file_digest
from kinebert.training.distillation.teacher import pinned_teacher
from kinebert.training.models import Recognizer, build_recognizer, load_published
from kinebert.training.models.weights.sources import local_weights, located
from kinebert.training.recipe.train import TrainRecipe
from kinebert.training.shards import Shards


def pinned(recipe: TrainRecipe, tell: Callable[[str], None] = lambda _: None) -> TrainRecipe:
    """Return ``recipe`` with its files of weights located and their digests, so that a run goes on from no others.

    They are those that it starts from, and those of its teacher.

    An address on the web stays: each node fetches the file for itself.

    Args:
        recipe: Of a training.
        tell: Is told what is being fetched.

    Raises:
        UserError: If a file cannot be found or read, or is not the one that the recipe names by its digest.
    """
    if recipe.distill is not None:
        recipe = replace(recipe, distill=pinned_teacher(recipe.distill, tell))
    model = recipe.model
    if not model.weights:
        return recipe
    uri = located(model.weights)
    path = local_weights(uri, model.weights_digest, tell)
    with explained(path, "read the weights"):
        digest = file_digest(path)
    if is_download(uri):
        return replace(recipe, model=replace(model, weights_digest=digest))
    if model.weights_digest not in ("", digest):
        raise UserError(
            f"{uri}: the digest of these weights is {digest}, the recipe's model.weights_digest is "
            f"{model.weights_digest}. Give the file that the recipe means, or take weights_digest out of it."
        )
    return replace(recipe, model=replace(model, weights=uri, weights_digest=digest))


def initial_recognizer(recipe: TrainRecipe, shards: Shards) -> tuple[Recognizer, list[str]]:
    """Build the recognizer of ``recipe`` for ``shards`` and load its weights; the seed is the caller's.

    Returns:
        The recognizer, and sentences about what became of the weights.

    Raises:
        UserError: If it cannot be built, or the weights do not fit it.
    """
    model = build_recognizer(
        **recipe.model.arguments(),
        modality=shards.modality,
        num_classes=len(shards.classes),
        clip_length=recipe.data.clip_length,
        size=recipe.data.crop_size,
        frame_interval=recipe.data.frame_interval,
        flow_stack=recipe.data.flow_stack,
    )
    if not recipe.model.weights:
        return model, []
    report = load_published(
        model, recipe.model.weights, allow=recipe.model.weights_allow, digest=recipe.model.weights_digest
    )
    counts = [
        f"{len(names)} {kind}"
        for kind in ("loaded", "adapted", "reinitialized", "missing", "unexpected")
        if (names := getattr(report, kind))
    ]
    return model, [f"weights of {recipe.model.weights}, read as {report.layout}: {', '.join(counts)}", *report.notes]
