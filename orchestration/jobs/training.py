"""A training as a job: check all that can be checked, train on the cluster, keep what comes of it, and tell MLflow."""

from contextlib import suppress
from dataclasses import dataclass

from kinebert.orchestration.cluster import check_workers

# isort: split
from kinebert.orchestration.audience import NOBODY, Audience
from kinebert.orchestration.jobs.clip_sheets import ClipSheets
from kinebert.orchestration.jobs.requests import TrainingRequest
from kinebert.orchestration.jobs.training_log import TrainingLog
from kinebert.orchestration.ray_train.fit import FitResult, fit
from kinebert.orchestration.ray_train.workers import check_device
from kinebert.orchestration.reports.publishing import publish_report, report_data
from kinebert.orchestration.reports.run_files import load_recipe, save_history
from kinebert.orchestration.tracking.lifecycle import open_run, running
from kinebert.orchestration.tracking.logged_models import keep_models
from kinebert.orchestration.tracking.metric_names import (
    LAST_EPOCH,
    LAST_STEP,
    VAL_TOP1,
    epoch_metrics,
    summary_of_validation,
)
from kinebert.orchestration.tracking.mirrors import check_mirrors
from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.orchestration.tracking.run_params import usual, varied
from kinebert.orchestration.tracking.run_tags import describe_training, training_tags
from kinebert.orchestration.tracking.store import choose_store
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.orchestration.watched_metrics import Exporter
from kinebert.preprocessing import storage
from kinebert.preprocessing.config import flatten, to_plain
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.folder_lock import held
from kinebert.training.aligned import OpenedSet, open_shards
from kinebert.training.checkpoints.state import load_state
from kinebert.training.checkpoints.stretching import stretch
from kinebert.training.data.parts import split_cautions
from kinebert.training.evaluation.evaluate import VideoScores
from kinebert.training.loop.initial import pinned
from kinebert.training.loop.loop import TrainSummary
from kinebert.training.loop.preflight import Begun, begun, check_training
from kinebert.training.recipe.train import TrainRecipe
from kinebert.training.run_folder import LAST_FILE, REPORT_FOLDER, kept_recognizers


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """What came of a training."""

    folder: str
    """The run's folder."""
    recipe: TrainRecipe
    """The recipe with everything in it settled: absolute locations, the bytes of the initial weights."""
    modality: str
    """Of the pictures that were trained on."""
    summary: TrainSummary
    """Every epoch's numbers, and the best one's checkpoint."""
    scores: VideoScores
    """Of the best checkpoint on the validation part, one centre clip per video."""
    report: str
    """Path or URI of the report."""
    tracking_uri: str
    """MLflow store that holds the run."""
    run_id: str
    """The run's id there."""
    recorded: bool = True
    """Whether MLflow has taken all that there is to know; what it did not take was said when it happened."""

    @property
    def checkpoint(self) -> str:
        """Path or URI to evaluate: the best epoch's, or the last one's where the test part chose the best."""
        chosen_on_test = self.recipe.data.val_part == "test"
        return storage.join(self.folder, LAST_FILE) if chosen_on_test else self.summary.checkpoint


@dataclass(frozen=True)
class Checked:
    """A training that nothing speaks against."""

    request: TrainingRequest
    recipe: TrainRecipe
    shards: OpenedSet
    folder: str


def train(request: TrainingRequest, audience: Audience = NOBODY) -> TrainingResult:
    """Train, or go on with what the folder holds; a training that has ended gives its result again.

    Raises:
        UserError: If the training is refused (nothing has been written then), another program works in the folder, or
            workers hung or were killed again and again.
        RuntimeError: If they broke off in another way again and again.
    """
    checked = check(request, audience)
    store = choose_store(request.tracking_uri, checked.folder)
    storage.check_writable(checked.folder)
    tags = training_tags("train", checked.recipe, checked.shards, checked.folder)
    with held(checked.folder, "train"):  # first: who is refused must leave no run open in MLflow
        gone_on_with = begun(checked.recipe, checked.folder)
        before = RunAddress.load(checked.folder)
        tracker = open_run(checked.folder, store, request.experiment, tags, continues=gone_on_with is not None)
        if before is not None and gone_on_with is None:
            audience.say(f"note: an earlier start has saved nothing (MLflow run {before.run_id}); this is a new run")
        return _train(checked, tracker, tags, gone_on_with, audience)


def check(request: TrainingRequest, audience: Audience) -> Checked:
    """Look for all that would end a training early, and say what is unusual but allowed; nothing is written.

    Raises:
        UserError: If the training is refused.
    """
    recipe = request.recipe.with_absolute_shards()
    folder = storage.resolve_uri(request.output)
    check_workers(recipe.workers, "workers")
    check_mirrors(request.mirror, folder)
    shards = open_shards(recipe.data.shards, recipe.data.beside)
    recipe = pinned(recipe, audience.say)
    if request.stretch_schedule:
        recipe = _stretched(recipe, folder, audience)
    check_device(recipe, request.device)
    for note in check_training(recipe, shards, folder, request.new):
        audience.say(f"note: {note}")
    for caution in split_cautions(shards, recipe.data):
        audience.say(f"warning: {caution.text}")
    return Checked(request, recipe, shards, folder)


def _stretched(recipe: TrainRecipe, folder: str, audience: Audience) -> TrainRecipe:
    state = load_state(folder)
    if state is None:
        audience.say(
            "note: --stretch-schedule: nothing has been trained here yet, so the schedule is that of the recipe"
        )
        return recipe
    recipe = stretch(recipe, state, folder)
    if recipe.optim.stretched:
        after, planned = recipe.optim.stretched[-1]
        audience.say(
            f"note: after epoch {after} the rest of the cosine, begun for {planned} epochs, ends with epoch "
            f"{recipe.epochs}"
        )
    return recipe


def _train(
    checked: Checked, tracker: Tracker, tags: dict[str, str], gone_on_with: Begun | None, audience: Audience
) -> TrainingResult:
    recipe, shards, folder = checked.recipe, checked.shards, checked.folder
    with running(tracker):
        tracker.mirror(checked.request.mirror, folder)
        _describe(checked, tracker, tags, gone_on_with, audience)
        audience.say(f"training {recipe.model.backbone} + {recipe.model.head} on {shards.modality}: {folder}")
        last_step = tracker.last_step(LAST_STEP)
        with Exporter(folder) as export, TrainingLog(tracker, audience, last_step, export) as log:
            hear = ClipSheets(tracker, shards, recipe, log)
            result = fit(recipe, folder, hear, checked.request.cpus_per_worker, device=checked.request.device)
        _keep(checked, result, tracker)
        report = _report(checked, result, tracker)
    return TrainingResult(
        folder=folder,
        recipe=recipe,
        modality=shards.modality,
        summary=result.summary,
        scores=result.val_scores,
        report=report,
        tracking_uri=tracker.address.tracking_uri,
        run_id=tracker.address.run_id,
        recorded=tracker.complete,
    )


def _describe(
    checked: Checked, tracker: Tracker, tags: dict[str, str], gone_on_with: Begun | None, audience: Audience
) -> None:
    """Write down what is trained, in the folder and in MLflow; where nothing is any more, what was stays written."""
    is_over = gone_on_with is not None and gone_on_with.is_over
    kept = load_recipe(checked.folder) if is_over else None
    recipe = kept or checked.recipe
    when = "" if gone_on_with is None or is_over else f"from epoch {gone_on_with.epochs + 1}"
    changed = tracker.params(
        flatten(to_plain(recipe)),
        {} if is_over else tags,
        when,
        shown=varied(recipe),
        usual=usual(),
    )
    if changed:
        audience.say(f"note: recorded in MLflow as changed {when}: {'; '.join(changed)}")
    describe_training(tracker, checked.folder, checked.recipe, checked.shards, is_over=is_over)


def _keep(checked: Checked, result: FitResult, tracker: Tracker) -> None:
    """Keep what a training came to, in its folder and in MLflow."""
    best = result.summary.best
    save_history(checked.folder, result.summary.history)
    with suppress(UserError):  # its store is gone, and what waits is all there is to send
        if tracker.flush():
            sent = tracker.steps(LAST_EPOCH)
            for row in result.summary.history:  # those that a killed driver could not send, wherever they are
                if row["epoch"] not in sent:
                    tracker.metrics(epoch_metrics(row), row["epoch"])
            if best["epoch"] > tracker.last_step(VAL_TOP1):
                tracker.metrics(summary_of_validation(best), best["epoch"])
    tracker.artifact_of(result.summary.checkpoint)
    tracker.artifact_of(storage.join(checked.folder, LAST_FILE))
    if not keep_models(tracker.address, kept_recognizers(checked.folder, result.summary.checkpoint)):
        tracker.lacks_something()


def _report(checked: Checked, result: FitResult, tracker: Tracker) -> str:
    data, scores, folder = checked.recipe.data, result.val_scores, checked.folder
    scores.about.update({"run_folder": folder, "recipe": dict(checked.shards.recipe)})
    facts = {"run": folder, "recipe": checked.request.source, "part": f"{data.split}/{data.val_part}"}
    facts |= {"views": "one centre clip per video", "best epoch": str(result.summary.best["epoch"])}
    told = report_data(f"Training {storage.name_of(folder)}", {checked.shards.modality: scores}, facts)
    return publish_report(storage.join(folder, REPORT_FOLDER), told, tracker, "report")
