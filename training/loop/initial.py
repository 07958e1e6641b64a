"""The recognizer that a training starts with: fresh, or with published weights in it."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.fetching.downloads import is_download
from kinebert.preprocessing.storage import explained, file_digest
from kinebert.training.distillation.teacher import pinned_teacher
from kinebert.training.models import Recognizer, build_recognizer, load_published
from kinebert.training.models.streams import StreamHeads
from kinebert.training.models.weights.files import own_classes, read_content
from kinebert.training.models.weights.sources import local_weights, located
from kinebert.training.recipe.train import ModelRecipe, StreamRecipe, TrainRecipe
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
    streams = {name: _pinned(one, f"model.streams.{name}", tell) for name, one in model.streams.items()}
    return replace(recipe, model=replace(_pinned(model, "model", tell), streams=streams))


Weighted = TypeVar("Weighted", ModelRecipe, StreamRecipe)


def _pinned(model: Weighted, where: str, tell: Callable[[str], None]) -> Weighted:
    if not model.weights:
        return model
    uri = located(model.weights)
    path = local_weights(uri, model.weights_digest, tell)
    with explained(path, "read the weights"):
        digest = file_digest(path)
    if is_download(uri):
        return replace(model, weights_digest=digest)
    if model.weights_digest not in ("", digest):
        raise UserError(
            f"{uri}: the digest of these weights is {digest}, the recipe's {where}.weights_digest is "
            f"{model.weights_digest}. Give the file that the recipe means, or take weights_digest out of it."
        )
    return replace(model, weights=uri, weights_digest=digest)


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
    told = _load(model, recipe.model, ()) if recipe.model.weights else []
    for name, stream in recipe.model.streams.items():
        if stream.weights:
            one = model.stream(name)
            alone = isinstance(model.head, StreamHeads)
            # what takes all streams together has no weights of one
            told += [f"{name}: {word}" for word in _load(one, stream, () if alone else ("head.*", "classifier.*"))]
            if alone:
                _check_classes(stream, shards)
            model.put_stream(name, one)
    return model, told


def _check_classes(stream: StreamRecipe, shards: Shards) -> None:
    """Make sure that the scores of a stream's checkpoint, if it has as many, are of the classes of a set."""
    known = own_classes(read_content(local_weights(stream.weights, stream.weights_digest)))
    if len(known) == len(shards.classes) and known != list(shards.classes):
        first = next(i for i, (ours, theirs) in enumerate(zip(known, shards.classes, strict=True)) if ours != theirs)
        raise UserError(
            f"{stream.weights}: its class {first} is {known[first]!r}, that of {shards.uri} is "
            f"{shards.classes[first]!r}: scores of other classes are not fused. Give a checkpoint of the same classes, "
            "or let model.head be bert_tokens, which takes the backbone alone."
        )


def _load(model: Recognizer, given: ModelRecipe | StreamRecipe, allow: tuple[str, ...]) -> list[str]:
    """Load the weights that a recipe gives, and say what became of them."""
    report = load_published(model, given.weights, allow=(*given.weights_allow, *allow), digest=given.weights_digest)
    counts = [
        f"{len(names)} {kind}"
        for kind in ("loaded", "adapted", "reinitialized", "missing", "unexpected")
        if (names := getattr(report, kind))
    ]
    return [f"weights of {given.weights}, read as {report.layout}: {', '.join(counts)}", *report.notes]
