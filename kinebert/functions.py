"""What the programs do, for Python: one function each, with paths as texts or :class:`pathlib.Path`.

Nothing is printed unless ``verbose`` is true: then it is what the program would print while it works. What is wrong is
raised as :class:`kinebert.preprocessing.errors.UserError`, whose text names the file, the value and the way out.
"""

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinebert.orchestration.audience import NOBODY, Audience, Terminal
from kinebert.orchestration.jobs import extraction_requests, requests
from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.config import nested, read_toml, to_plain
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.recipe import RECIPES, FlowRecipe, FrameRecipe

if TYPE_CHECKING:
    from kinebert.orchestration.comparing.comparison import ComparisonResult
    from kinebert.orchestration.jobs.evaluation import Evaluation
    from kinebert.orchestration.jobs.extraction import Extraction
    from kinebert.orchestration.jobs.fusion import FusionResult
    from kinebert.orchestration.jobs.indexing import Index
    from kinebert.orchestration.jobs.prediction import PredictionResult
    from kinebert.orchestration.jobs.training import TrainingResult
    from kinebert.orchestration.search.tuning import TuningResult
    from kinebert.training.recipe.train import TrainRecipe

Location = str | PathLike[str]
"""A local path, or a URI (``s3://``, ``gs://``)."""


def index(
    source: str, *paths: Location, output: Location = "manifest.parquet", verbose: bool = False, **options: Any
) -> "Index":
    """List the videos of a data set, look into each file once, and write the manifest that extractions read.

    Args:
        source: Kind of the data set: ``folder`` (one sub-folder per class), ``csv``, ``hmdb51`` and so on, see
            ``kinebert index --help``.
        paths: Videos and lists, as the source wants them.
        output: The manifest to write. One that is there is replaced.
        verbose: Show progress.
        options: Other fields of :class:`.IndexRequest`: ``split_name``, ``val``, ``test``, ``seed``, ``group_regex``,
            ``same_content``, ``max_problems``, ``timeout_s``, ``num_workers``, ``video_stream``, ``max_pixels``.
    """
    from kinebert.orchestration.jobs import indexing

    request = requests.IndexRequest(source=source, paths=_texts(paths), output=fspath(output), **_plain(options))
    return indexing.index(request, _audience(verbose))


def extract(
    manifest: "Location | Index",
    output: Location,
    *,
    modality: str = "rgb",
    recipe: "FrameRecipe | Mapping[str, Any] | Location | None" = None,
    verbose: bool = False,
    **options: Any,
) -> "Extraction":
    """Make a shard set of frames, poses or flow, or complete one that was begun.

    Args:
        manifest: What :func:`index` wrote, or its result.
        output: Folder of the set.
        modality: ``rgb``, ``flow`` or another that the project knows; says nothing beside a whole recipe.
        recipe: How pictures are made: a recipe, some values of one (``{"width": 170}``), or a TOML file of such (or
            the name of one that comes with the project); None for the defaults.
        verbose: Show progress.
        options: Other fields of :class:`.ExtractionRequest`: ``backend``, ``workers``, ``videos_per_shard`` and so on.
    """
    from kinebert.orchestration.jobs import extraction
    from kinebert.orchestration.jobs.indexing import Index

    location = manifest.manifest if isinstance(manifest, Index) else fspath(manifest)
    request = extraction_requests.ExtractionRequest(
        manifest=location, output=fspath(output), recipe=_frame_recipe(recipe, modality), **_plain(options)
    )
    return extraction.extract(request, _audience(verbose))


def extract_both(
    manifest: "Location | Index",
    frames: Location,
    flow: Location,
    *,
    modality: str = "rgb",
    recipe: "FrameRecipe | Mapping[str, Any] | Location | None" = None,
    flow_recipe: "FrameRecipe | Mapping[str, Any] | Location | None" = None,
    verbose: bool = False,
    **options: Any,
) -> "tuple[Extraction, Extraction]":
    """Make a set of frames and one of flow, or complete them, with one decoding of each video.

    Args:
        manifest: What :func:`index` wrote, or its result.
        frames: Folder of the set of frames.
        flow: Folder of the set of flow.
        modality: What the frames show, ``rgb`` or another that the project knows.
        recipe: How frames are stored, as for :func:`extract`.
        flow_recipe: How flow is computed and stored, as for :func:`extract`; its size may be another.
        verbose: Show progress.
        options: Other fields of :class:`.TwoSetsRequest`: ``backend``, ``workers``, ``videos_per_shard`` and so on.

    Returns:
        The set of frames, and that of flow.
    """
    from kinebert.orchestration.jobs import extraction
    from kinebert.orchestration.jobs.indexing import Index

    of_flow = _frame_recipe(flow_recipe, "flow")
    if not isinstance(of_flow, FlowRecipe):
        raise ConfigError(f"flow_recipe must be one for flow, got one for {of_flow.modality}.")
    request = extraction_requests.TwoSetsRequest(
        manifest=manifest.manifest if isinstance(manifest, Index) else fspath(manifest),
        frames=fspath(frames),
        flow=fspath(flow),
        recipe=_frame_recipe(recipe, modality),
        flow_recipe=of_flow,
        **_plain(options),
    )
    return extraction.extract_both(request, _audience(verbose))


def train(
    recipe: "TrainRecipe | Mapping[str, Any] | Location",
    output: Location | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    verbose: bool = False,
    **options: Any,
) -> "TrainingResult":
    """Train a recognizer, or go on with what the folder holds.

    Args:
        recipe: The whole training: a recipe, its values as nested dictionaries, a TOML file, or the name of a recipe
            that comes with the project, such as ``"rgb"`` (``kinebert recipes`` lists them).
        output: Folder of the run; by default ``runs/`` and the last part of the file's or recipe's name.
        changes: Values to take instead of the recipe's: ``{"optim.lr": 0.001}``.
        verbose: Show progress and notes.
        options: Other fields of :class:`.TrainingRequest`: ``experiment``, ``tracking_uri``, ``device`` and so on.
    """
    from kinebert.orchestration.jobs import training

    request = requests.TrainingRequest(**_of_recipe(recipe, changes, output, "runs"), **_plain(options))
    return training.train(request, _audience(verbose))


def evaluate(
    checkpoint: Location,
    *,
    part: str = "test",
    views: str | int | None = None,
    output: Location | None = None,
    verbose: bool = False,
    **options: Any,
) -> "Evaluation":
    """Score every video of one part of a split with a trained recognizer.

    Args:
        checkpoint: ``best.pt`` of a training.
        part: ``train``, ``val`` or ``test``.
        views: Clips of each video: ``single``, ``multi``, ``eccv2020``, or a number; by default the recipe's.
        output: Folder for the scores and the report; by default one beside the checkpoint.
        verbose: Show progress and notes.
        options: Other fields of :class:`.EvaluationRequest`: ``crops``, ``split``, ``shards``, ``device``, ``workers``
            and so on.
    """
    from kinebert.orchestration.jobs import evaluation

    request = requests.EvaluationRequest(
        checkpoints=(fspath(checkpoint),),
        part=part,
        views=None if views is None else str(views),
        output=None if output is None else fspath(output),
        **_plain(options),
    )
    (result,) = evaluation.evaluate(request, _audience(verbose))
    return result


def fuse(
    *scores: "Location | Evaluation",
    output: Location = "fused",
    weights: Sequence[float] | None = None,
    fit: "Sequence[Location | Evaluation]" = (),
    **options: Any,
) -> "FusionResult":
    """Combine the scores of two or more streams, and measure every subset of them.

    Args:
        scores: ``scores.parquet`` of each stream, or what :func:`evaluate` returned.
        output: Folder for fused scores and the report.
        weights: One per stream; by default all 1.
        fit: Scores of the same streams on a validation part: the weights best there are taken.
        options: Other fields of :class:`.FusionRequest`: ``method``, ``experiment``, ``tracking_uri``.
    """
    from kinebert.orchestration.jobs import fusion

    request = requests.FusionRequest(
        scores=_tables(scores),
        output=fspath(output),
        weights=None if weights is None else tuple(weights),
        fit=_tables(fit),
        **_plain(options),
    )
    return fusion.fuse(request)


def compare(*runs: "Location | TrainingResult | Evaluation | FusionResult", **options: Any) -> "ComparisonResult":
    """Put two or more runs side by side: what differs between them, and whether it matters.

    Args:
        runs: Folders of trainings, ``scores.parquet`` files, ids or names of MLflow runs, or what :func:`train`,
            :func:`evaluate` and :func:`fuse` returned; the first is the baseline. None takes all of ``experiment``.
        options: Fields of :class:`.ComparisonRequest`: ``on``, ``baseline``, ``anyway``, ``output``, ``experiment``,
            ``tracking_uri``.
    """
    from kinebert.orchestration.comparing import comparison
    from kinebert.orchestration.jobs.training import TrainingResult

    places = tuple(run.folder if isinstance(run, TrainingResult) else _table(run) for run in runs)
    return comparison.compare(requests.ComparisonRequest(runs=places, **_plain(options)))


def predict(
    videos: Location | Sequence[Location],
    checkpoints: Location | Sequence[Location],
    *,
    output: Location = "predictions",
    views: str | int | None = None,
    verbose: bool = False,
    **options: Any,
) -> "PredictionResult":
    """Say what happens in new videos: with one trained recognizer, or with several streams fused.

    Args:
        videos: Video files, or folders of them.
        checkpoints: ``best.pt`` of a training, or of one per stream.
        output: Folder for ``predictions.json`` and ``predictions.csv``.
        views: Clips of each video, as for :func:`evaluate`.
        verbose: Show progress, and what is said of each video.
        options: Other fields of :class:`.PredictionRequest`: ``weights``, ``annotate``, ``top``, ``device`` and so on.
    """
    from kinebert.orchestration.jobs import prediction

    request = requests.PredictionRequest(
        videos=_several(videos),
        checkpoint=_several(checkpoints),
        output=fspath(output),
        views=None if views is None else str(views),
        **_plain(options),
    )
    return prediction.predict(request, _audience(verbose))


def tune(
    recipe: "TrainRecipe | Mapping[str, Any] | Location",
    output: Location | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    verbose: bool = False,
    **options: Any,
) -> "TuningResult":
    """Search over the fields that the recipe's table ``tune`` names, or go on with what the folder holds.

    Args:
        recipe: As for :func:`train`, with a table ``tune``.
        output: Folder of the search; by default ``searches/`` and the file's name.
        changes: Values to take instead of the recipe's: ``{"tune.trials": 40}``.
        verbose: Show progress and the outcome of each trial.
        options: Other fields of :class:`.TuningRequest`: ``experiment``, ``tracking_uri``, ``cpus_per_worker``,
            ``gpus_per_worker``.
    """
    from kinebert.orchestration.search import tuning

    request = requests.TuningRequest(**_of_recipe(recipe, changes, output, "searches"), **_plain(options))
    return tuning.tune(request, _audience(verbose))


def _audience(verbose: bool) -> Audience:
    return Terminal() if verbose else NOBODY


def _texts(locations: Sequence[Location]) -> tuple[str, ...]:
    return tuple(fspath(each) for each in locations)


def _several(given: Location | Sequence[Location]) -> tuple[str, ...]:
    return (fspath(given),) if isinstance(given, str | PathLike) else _texts(given)


def _table(given: Any) -> str:
    """Where scores are: a location, or that of a result."""
    return fspath(given) if isinstance(given, str | PathLike) else str(given.table)


def _tables(given: Sequence[Any]) -> tuple[str, ...]:
    return tuple(_table(each) for each in given)


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fspath(value) if isinstance(value, PathLike) else value for name, value in options.items()}


def _frame_recipe(given: "FrameRecipe | Mapping[str, Any] | Location | None", modality: str) -> FrameRecipe:
    if isinstance(given, FrameRecipe):
        return given
    if modality not in RECIPES:
        raise ConfigError(f"modality must be {', '.join(RECIPES)}, got {modality!r}.")
    values, where = _values({} if given is None else given)
    return from_mapping(RECIPES[modality], nested(RECIPES[modality], values), where)


def _of_recipe(
    given: "TrainRecipe | Mapping[str, Any] | Location",
    changes: Mapping[str, Any] | None,
    output: Location | None,
    beside: str,
) -> dict[str, Any]:
    """What requests of trainings and searches have in common: the recipe, where it is from, and where results go."""
    from kinebert.training.recipe.train import TrainRecipe

    if output is None:
        if not isinstance(given, str | PathLike):
            raise ConfigError("a recipe that is no file has no name: say with output where the results are to go.")
        output = f"{beside}/{Path(given).stem}"
    values, where = _values(to_plain(given) if isinstance(given, TrainRecipe) else given)
    for key, value in (changes or {}).items():
        values = _changed(values, key.split("."), value)
    return {"recipe": from_mapping(TrainRecipe, values, where), "source": where, "output": fspath(output)}


def _values(given: Mapping[str, Any] | Location) -> tuple[dict[str, Any], str]:
    """A recipe's values, with paths as texts, and where they are from."""
    if isinstance(given, str | PathLike):
        return read_toml(fspath(given)), fspath(given)
    plain = {key: _values(each)[0] if isinstance(each, Mapping) else each for key, each in _plain(given).items()}
    return plain, "a recipe in Python"


def _changed(values: Mapping[str, Any], keys: Sequence[str], value: Any) -> dict[str, Any]:
    """The same values but for one, which is below ``keys``."""
    first, *rest = keys
    inner = values.get(first)
    if not rest:
        return {**values, first: fspath(value) if isinstance(value, PathLike) else value}
    return {**values, first: _changed(inner if isinstance(inner, Mapping) else {}, rest, value)}
