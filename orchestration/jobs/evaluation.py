"""An evaluation as a job: score every view, keep and measure what comes of it, write a report, and tell MLflow."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from kinebert.orchestration.cluster import check_workers

# isort: split
import torch

from kinebert.orchestration.audience import NOBODY, Audience
from kinebert.orchestration.jobs.requests import EvaluationRequest
from kinebert.orchestration.jobs.scoring import ScoringJob, workers_for
from kinebert.orchestration.printing import warn
from kinebert.orchestration.progress import Counted
from kinebert.orchestration.reports.metrics_file import write_metrics
from kinebert.orchestration.reports.publishing import publish_report, report_data
from kinebert.orchestration.tracking.metric_names import of_evaluation, summary_of_test
from kinebert.orchestration.tracking.mirrors import check_mirrors
from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.orchestration.tracking.run_params import usual
from kinebert.orchestration.tracking.run_tags import code_version
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.preprocessing.config import flatten, to_plain
from kinebert.preprocessing.datasets.manifest import name_some
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.folder_lock import held
from kinebert.preprocessing.machine import available_cores
from kinebert.preprocessing.storage import check_writable, join, name_of, resolve_uri
from kinebert.training.aligned import OpenedSet, open_shards, sets_of
from kinebert.training.checkpoints.recognizer import check_shards, load_recognizer
from kinebert.training.data.parts import check_videos
from kinebert.training.evaluation.evaluate import (
    VideoScores,
    average,
    clip_level,
    recipe_of,
    score_views,
    write_scores,
)
from kinebert.training.evaluation.metrics import Metrics
from kinebert.training.evaluation.resume import forget, keeping
from kinebert.training.evaluation.scorer import ScoreBatches, Scorer
from kinebert.training.evaluation.view_scores import ViewScores, write_views
from kinebert.training.models import Recognizer
from kinebert.training.numerics import Inference, choose_device
from kinebert.training.out_of_memory import LOWER_BATCH, memory_explained
from kinebert.training.recipe.protocol import ProtocolRecipe
from kinebert.training.recipe.train import DataRecipe, TrainRecipe
from kinebert.training.run_folder import (
    BEST_FILE,
    LAST_FILE,
    METRICS_FILE,
    REPORT_FOLDER,
    SCORES_FILE,
    VIEWS_FILE,
    checkpoint_digest,
    evaluation_name,
)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What came of one checkpoint."""

    checkpoint: str
    """Path or URI."""
    folder: str
    """Where ``scores.parquet``, ``views.parquet``, ``metrics.json`` and the report are."""
    modality: str
    """Of the pictures that were scored."""
    protocol: ProtocolRecipe
    """Which views were scored, and how they were averaged."""
    scores: VideoScores
    """Of every video of the part."""
    by_clip: Metrics
    """Of every clip by itself against its video's label."""
    notes: tuple[str, ...]
    """What was unusual, and what the accuracy is no measure of."""
    report: str
    """Path or URI of the report."""
    recorded: bool = True
    """Whether the MLflow run of the training, if there is one, has taken it all; what it did not take was said."""

    @property
    def table(self) -> str:
        """Path or URI of the scores of videos, which fusing and comparing take."""
        return join(self.folder, SCORES_FILE)


@dataclass(frozen=True, eq=False)
class _Trained:
    """A checkpoint, checked against what it is to score."""

    uri: str
    recognizer: Recognizer
    epoch: int
    recipe: TrainRecipe
    data: DataRecipe
    protocol: ProtocolRecipe
    shards: OpenedSet
    part: str

    @property
    def folder(self) -> str:
        return self.uri.rpartition("/")[0]

    @property
    def result_name(self) -> str:
        return evaluation_name(self.data.split, self.part, self.protocol.name, self.uri)

    @property
    def split_part(self) -> str:
        return f"{self.data.split}/{self.part}"


def evaluate(request: EvaluationRequest, audience: Audience = NOBODY) -> Iterator[Evaluation]:
    """Score checkpoints, one each time that the next result is asked for.

    Every checkpoint is opened and checked first, when this is called. The numbers go to the MLflow run of each
    training, if there is one beside the checkpoint.

    Raises:
        UserError: If a checkpoint, its shard set, the part or the device is not there, or they do not fit each other;
            while scoring, if a score is no number, another program works in the folder, or workers are lost.
    """
    check_workers(request.workers, "workers")
    device = choose_device(request.device)
    trained = [_open(resolve_uri(path), request) for path in request.checkpoints]
    outputs = [resolve_uri(request.output or join(one.folder, one.result_name)) for one in trained]
    for output in outputs:
        check_writable(output)
    for one in trained:
        check_mirrors(request.mirror, one.folder)
    return (_evaluate(one, output, request, device, audience) for one, output in zip(trained, outputs, strict=True))


def _open(uri: str, request: EvaluationRequest) -> _Trained:
    recognizer, info = load_recognizer(uri)
    recipe = recipe_of(uri, info)
    protocol = request.over(recipe.test)
    data = replace(recipe.data, split=request.split or recipe.data.split)
    protocol.check_sampling(data.sampling)
    shards = open_shards(*data.places(request.shards, request.beside))
    check_shards(uri, info, shards)
    shards.select(data.split, request.part)
    return _Trained(uri, recognizer, info.epoch, recipe, data, protocol, shards, request.part)


def _evaluate(
    one: _Trained, output: str, request: EvaluationRequest, device: torch.device, audience: Audience
) -> Evaluation:
    """Score one checkpoint and keep what comes of it, in its folder and in MLflow."""
    address = RunAddress.load(one.folder)
    tracker = _run_of(one, address) if address is not None else None
    with held(output, "evaluate"):
        views = _score(one, output, request, device, audience)
        scores, by_clip = average(views), clip_level(views)
        write_views(join(output, VIEWS_FILE), views)
        write_scores(join(output, SCORES_FILE), scores)
        write_metrics(join(output, METRICS_FILE), scores)
        forget(output)
        report = _report(one, output, scores, tracker)
    if tracker is not None:
        tracker.mirror(request.mirror, one.folder)
        _record(one, join(output, SCORES_FILE), scores.metrics(), by_clip, tracker)
    return Evaluation(
        checkpoint=one.uri,
        folder=output,
        modality=one.shards.modality,
        protocol=one.protocol,
        scores=scores,
        by_clip=by_clip,
        notes=(*scores.notes, *_cautions(one, scores)),
        report=report,
        recorded=address is None or (tracker is not None and tracker.complete),
    )


def _run_of(one: _Trained, address: RunAddress) -> Tracker | None:
    """The MLflow run of the training that made the checkpoint; None, and a word about it, if it is not to be had."""
    tracker = Tracker.attach(address)
    if tracker is None:
        return None
    identity = flatten(one.recipe.identity())
    for name in ("epochs", "optim.stretched"):  # a cosine may have been stretched since this epoch
        identity.pop(name, None)
    try:
        wrong = tracker.contradictions(identity, usual())
    except UserError as error:
        wrong = [str(error)]
    if not wrong:
        return tracker
    warn(f"not recorded in MLflow: run {address.run_id} is not that of {one.uri}: {name_some(wrong)}")
    return None


def _score(
    one: _Trained, output: str, request: EvaluationRequest, device: torch.device, audience: Audience
) -> ViewScores:
    """Run the recognizer over every view, and go on if that was begun before."""
    videos, notes = check_videos(one.shards, one.data, one.part)
    checkpoint = checkpoint_digest(one.uri)
    identity = _identity(one, checkpoint, device.type if request.workers == 1 else f"workers, {request.device}")
    line, counted = audience.line(), Counted("views")
    with _scoring(one, videos, request, device) as score, memory_explained(LOWER_BATCH):
        score = keeping(
            score,
            output,
            identity,
            request.save_every_s,
            lambda num_views: audience.say(f"note: {num_views} views were scored before; going on"),
        )
        views = score_views(
            one.shards,
            videos,
            one.data,
            one.protocol,
            score,
            part=one.part,
            batch=request.batch,
            notes=notes,
            about={
                "checkpoint": checkpoint,
                "run_folder": one.folder,
                "recipe": one.shards.recipe,
                "model": f"{one.recipe.model.backbone} + {one.recipe.model.head}",
                "epoch": one.epoch,
            },
            progress=lambda done, total: line.show(counted(done, total)),
        )
    line.close(f"{len(views.videos)} views of {len(views.video_ids)} videos")
    return views


def _scoring(
    one: _Trained, videos: Sequence[Any], request: EvaluationRequest, device: torch.device
) -> AbstractContextManager[ScoreBatches]:
    """Who scores batches: this process, or workers on the cluster."""
    if request.workers > 1:
        first, *beside = sets_of(one.shards)
        job = ScoringJob(
            checkpoint=one.uri,
            shards=first.uri,
            beside=tuple(other.uri for other in beside),
            data=one.data,
            part=one.part,
            protocol=one.protocol,
            inference=Inference.of(one.recipe),
            loader_workers=request.loader_workers,
        )
        return workers_for(job, request.workers, use_gpus=request.device == "auto")
    scorer = Scorer(
        one.recognizer,
        one.shards,
        videos,
        one.data,
        one.protocol,
        device=device,
        loader_workers=request.loader_workers,
        inference=Inference.of(one.recipe),
        num_threads=available_cores(),
    )
    return nullcontext(scorer)


def _identity(one: _Trained, checkpoint: str, where: str) -> dict[str, Any]:
    """What decides the scores: an evaluation goes on from what was kept with the same values only."""
    return {
        "checkpoint": checkpoint,
        "shards": [one.shards.digest, one.shards.content],
        "data": to_plain(one.data),
        "protocol": to_plain(one.protocol),
        "part": one.part,
        "amp": one.recipe.amp,
        "device": where,
    }


def _report(one: _Trained, output: str, scores: VideoScores, tracker: Tracker | None) -> str:
    facts = {"checkpoint": one.uri, "model": scores.about["model"], "part": one.split_part}
    facts["views"] = one.protocol.describe()
    title = f"{name_of(one.folder)} on {one.result_name}"
    data = report_data(title, {one.shards.modality: scores}, facts)
    return publish_report(join(output, REPORT_FOLDER), data, tracker, one.result_name)


def _record(one: _Trained, table: str, measured: Metrics, by_clip: Metrics, tracker: Tracker) -> None:
    """Add what was measured to the MLflow run of the training."""
    numbers = {**measured.as_numbers(), "clip_top1": by_clip.top[1]}
    tracker.metrics(of_evaluation(one.result_name, numbers), one.epoch)
    views = f"{one.split_part}, {one.protocol.describe()}; {name_of(one.uri)}"
    tracker.tested(summary_of_test(measured), one.part, views)
    tracker.tags({f"evaluated.{one.result_name}": _how(one)})
    tracker.artifact_of(table, one.result_name)
    tracker.dataset(one.shards, {"evaluation": one.split_part})
    tracker.deliver()


def _how(one: _Trained) -> str:
    """What was scored how, and by which code: evaluations may be made long after the training, on other sets."""
    commit = code_version("evaluate")["mlflow.source.git.commit"]
    parts = [f"{name_of(one.uri)} ({checkpoint_digest(one.uri)}) of epoch {one.epoch}", one.protocol.describe()]
    return "; ".join([*parts, f"{one.split_part} of {one.shards.uri} ({one.shards.content})", f"commit {commit}"])


def _cautions(one: _Trained, scores: VideoScores) -> list[str]:
    """Say so if the accuracy is no measure of what the recognizer has not seen."""
    trained, split = one.recipe.data, one.data.split
    seen = set(one.shards.select(trained.split, trained.train_part).ids())
    known = len(seen.intersection(scores.video_ids))
    cautions = []
    if known:
        cautions.append(
            f"{known} of {len(scores.video_ids)} videos were learnt from ({trained.split}/{trained.train_part})"
        )
    if (split, one.part) == (trained.split, trained.val_part) and name_of(one.uri) == BEST_FILE:
        cautions.append(f"{one.split_part} chose this checkpoint among the epochs; {LAST_FILE} was chosen by nothing")
    return cautions
