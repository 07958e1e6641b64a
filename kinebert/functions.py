"""What the programs do, for Python: one function each, with paths as texts or :class:`pathlib.Path`.

Nothing is printed unless ``verbose`` is true: then it is what the program would print while it works. What is wrong is
raised as :class:`kinebert.preprocessing.errors.UserError`, whose text names the file, the value and the way out.
"""

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from kinebert.arguments import Location, audience, of_recipe, plain, several, table, tables, texts
from kinebert.orchestration.jobs import requests

if TYPE_CHECKING:
    from kinebert.orchestration.comparing.comparison import ComparisonResult
    from kinebert.orchestration.diagnosis.diagnose import Diagnosis
    from kinebert.orchestration.jobs.averaging import Averaged
    from kinebert.orchestration.jobs.evaluation import Evaluation
    from kinebert.orchestration.jobs.fusion import FusionResult
    from kinebert.orchestration.jobs.prediction import PredictionResult
    from kinebert.orchestration.jobs.training import TrainingResult
    from kinebert.orchestration.search.tuning import TuningResult
    from kinebert.orchestration.tracking.registration import Registered
    from kinebert.training.recipe.train import TrainRecipe


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

    request = requests.TrainingRequest(**of_recipe(recipe, changes, output, "runs"), **plain(options))
    return training.train(request, audience(verbose))


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
        **plain(options),
    )
    (result,) = evaluation.evaluate(request, audience(verbose))
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
        scores=tables(scores),
        output=fspath(output),
        weights=None if weights is None else tuple(weights),
        fit=tables(fit),
        **plain(options),
    )
    return fusion.fuse(request)


def average(tables_of_scores: "Location | Evaluation | Sequence[Any]", **options: Any) -> "Averaged":
    """Average stored scores anew, without running a model: over other views, in another way, or over several splits.

    Args:
        tables_of_scores: One ``views.parquet`` of :func:`evaluate`, which gives new scores of videos and a report; or
            tables of several splits, of which only the mean is taken.
        options: Other fields of :class:`.AveragingRequest`: ``average``, ``clips``, ``crops``, ``output``.
    """
    from kinebert.orchestration.jobs import averaging

    alone = isinstance(tables_of_scores, str | PathLike) or not isinstance(tables_of_scores, Sequence)
    given = tables((tables_of_scores,) if alone else tables_of_scores)  # type: ignore[arg-type]
    return averaging.average_anew(requests.AveragingRequest(tables=given, **plain(options)))


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

    places = tuple(run.folder if isinstance(run, TrainingResult) else table(run) for run in runs)
    return comparison.compare(requests.ComparisonRequest(runs=places, **plain(options)))


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
        videos=several(videos),
        checkpoint=several(checkpoints),
        output=fspath(output),
        views=None if views is None else str(views),
        **plain(options),
    )
    return prediction.predict(request, audience(verbose))


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

    request = requests.TuningRequest(**of_recipe(recipe, changes, output, "searches"), **plain(options))
    return tuning.tune(request, audience(verbose))


def register(checkpoint: Location | Sequence[Location], name: str, **options: Any) -> "Registered":
    """Register a checkpoint, or several fused, as a new version of a model in MLflow, to be loaded elsewhere by name.

    Args:
        checkpoint: ``best.pt`` of a training, or of one per stream.
        name: Of the model.
        options: ``alias``, such as ``"champion"``; ``method`` and ``weights`` of several; ``tracking_uri`` and
            ``experiment`` say where a run is made for a checkpoint that has none beside it.
    """
    from kinebert.orchestration.tracking import registration

    return registration.register(several(checkpoint), name, **plain(options))


def doctor(*folders: Location, **options: Any) -> "Diagnosis":
    """Look over this machine, its packages and the servers that the environment names; nothing is changed.

    Args:
        folders: Folders or URIs where sets or runs are to go, beside the present folder.
        options: Other fields of :class:`.DiagnosisRequest`: ``timeout_s``.
    """
    from kinebert.orchestration.diagnosis import diagnose

    return diagnose.diagnose(requests.DiagnosisRequest(folders=texts(folders), **plain(options)))
