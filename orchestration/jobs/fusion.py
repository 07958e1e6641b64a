"""Fusion as a job: combine scores of streams, measure every subset, write a report, and make an MLflow run of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kinebert.orchestration.jobs.requests import FusionRequest
from kinebert.orchestration.reports.metrics_file import write_metrics
from kinebert.orchestration.reports.publishing import publish_report, report_data
from kinebert.orchestration.reports.run_files import load_recipe
from kinebert.orchestration.tracking.lifecycle import running
from kinebert.orchestration.tracking.metric_names import TEST_STEP, of_evaluation, of_stream, summary_of_test
from kinebert.orchestration.tracking.mirrors import check_mirrors
from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.orchestration.tracking.run_tags import code_version
from kinebert.orchestration.tracking.store import choose_store
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.plain_text import markdown
from kinebert.preprocessing.storage import (
    check_writable,
    exists,
    join,
    make_folder,
    name_of,
    read_bytes,
    resolve_uri,
    write_bytes,
)
from kinebert.training.evaluation import fusion
from kinebert.training.evaluation.calibration import Calibration, calibrate, calibrated
from kinebert.training.evaluation.evaluate import VideoScores, read_scores, write_scores
from kinebert.training.evaluation.significance import compare
from kinebert.training.evaluation.validation_tables import Found, Wanted, find_all
from kinebert.training.run_folder import (
    METRICS_FILE,
    RECIPE_FILE,
    REPORT_FOLDER,
    SCORES_FILE,
    STREAMS_FOLDER,
    evaluation_name,
)

FUSED = "fused"
"""Name of the result among its streams."""


@dataclass(frozen=True, eq=False)
class FusionResult:
    """What came of a fusion."""

    folder: str
    """Where ``scores.parquet``, ``metrics.json`` and the report are."""
    streams: Mapping[str, VideoScores]
    """What was fused, by the modality, with a stream's number where several share one."""
    weights: tuple[float, ...]
    """Of each stream."""
    subsets: Mapping[str, VideoScores]
    """Fusions of more than one and fewer than all streams, by the names of these."""
    scores: VideoScores
    """Of all streams together."""
    about: str
    """How was fused, for people."""
    notes: tuple[str, ...]
    """How much fusing gains, how its scores are probabilities, and what was unusual."""
    tracking_uri: str
    """MLflow store that holds the run."""
    run_id: str
    """The run's id there."""
    report: str = ""
    """Path or URI of the report."""
    recorded: bool = True
    """Whether MLflow has taken all that there is to know; what it did not take was said when it happened."""

    @property
    def table(self) -> str:
        """Path or URI of the fused scores."""
        return join(self.folder, SCORES_FILE)

    @property
    def measured(self) -> dict[str, VideoScores]:
        """Streams, subsets and the fusion of all, by name."""
        return {**self.streams, **self.subsets, FUSED: self.scores}


@dataclass(frozen=True, eq=False)
class _Streams:
    """What is fused, and how."""

    streams: Sequence[VideoScores]
    validation: Sequence[VideoScores]
    """That the weights are fitted on."""
    known: Found
    """Validation that chooses the temperature."""
    request: FusionRequest

    def fuse(self, chosen: Sequence[int]) -> fusion.Fusion:
        """Fuse some streams with the weights that were given, or that are best for just these on validation.

        Their scores are probabilities by a temperature of their own.
        """
        given, method = self.request.weights, self.request.method
        weights = None if given is None else list(given)
        if self.validation:
            weights = fusion.fit_weights([self.validation[i] for i in chosen], method)
        elif weights is not None and len(chosen) < len(self.streams):
            weights = [weights[i] for i in chosen]
        streams = [self.streams[i] for i in chosen]
        fused = fusion.fuse(streams, weights, method)
        tables = [self.known.tables[i] for i in chosen] if self.known.tables else []
        found = calibrate(streams, fused.scores.about["weights"], method, tables, self.known.why_not)
        return replace(fused, scores=calibrated(fused.scores, found))

    def subsets(self, names: Sequence[str]) -> dict[str, VideoScores]:
        """Fuse every subset of more than one and fewer than all streams, by name."""
        weights, found = self.request.weights, {}
        for chosen in fusion.subsets(len(self.streams)):
            of_no_weight = weights is not None and not any(weights[i] for i in chosen)
            if 1 < len(chosen) < len(self.streams) and not of_no_weight:
                found[" + ".join(names[i] for i in chosen)] = self.fuse(chosen).scores
        return found

    @property
    def about(self) -> str:
        how = "sum of L2-normalised scores" if self.request.method == "l2" else "mean of the probabilities"
        return f"{how}, weights fitted on validation" if self.request.fit else how

    @property
    def notes(self) -> list[str]:
        """Say among which weights fitted ones were looked for."""
        count, step = fusion.grid_of(len(self.streams))
        said = f"the weights are the best of {count} that add up to 1 in steps of {step:.2g}"
        return [f"{said}, on {len(self.validation[0].video_ids)} videos"] if self.validation else []


def fuse(request: FusionRequest) -> FusionResult:
    """Combine streams, and keep the result in a folder and as an MLflow run of its own.

    Raises:
        UserError: If a table is missing, the streams are not of the same videos and classes, or the weights would be
            fitted on what is tested.
    """
    output = resolve_uri(request.output)
    streams = [read_scores(resolve_uri(path)) for path in request.scores]
    validation = [read_scores(resolve_uri(path)) for path in request.fit]
    _check_fit(streams, validation)
    known = Found(validation) if validation else _validation_of(streams)
    given = _Streams(streams, validation, known, request)
    fused = given.fuse(range(len(streams)))
    check_writable(output)
    check_mirrors(request.mirror, output)
    names = fusion.stream_names([stream.about.get("modality") for stream in streams])
    singles = dict(zip(names, streams, strict=True))
    tracker = _start_run(request, output, fused.scores, names, given.about)
    with running(tracker):
        tracker.mirror(request.mirror, output)
        result = FusionResult(
            folder=output,
            streams=singles,
            weights=tuple(fused.scores.about["weights"]),
            subsets=given.subsets(names),
            scores=fused.scores,
            about=given.about,
            notes=(*given.notes, _gain(singles, fused.scores), probabilities_of(fused.scores), *fused.notes()),
            tracking_uri=tracker.address.tracking_uri,
            run_id=tracker.address.run_id,
        )
        _record(tracker, request, result)
        write_scores(result.table, fused.scores)
        write_metrics(join(output, METRICS_FILE), fused.scores)
        tracker.artifact_of(result.table)
        result = replace(result, report=_report(result, tracker))
    return replace(result, recorded=tracker.complete)


def _start_run(request: FusionRequest, output: str, fused: VideoScores, names: Sequence[str], how: str) -> Tracker:
    """Start an MLflow run: in the store of the first stream's, unless another is asked for."""
    known = RunAddress.load(str(fused.about["streams"][0].get("run_folder", "")))
    beside = Tracker.attach(known) if known and not request.tracking_uri else None
    store = choose_store(beside.address.tracking_uri if beside else request.tracking_uri, output)
    streams = zip(names, fused.about["streams"], strict=True)
    models = ", ".join(f"{name} {stream.get('model', 'fusion')}" for name, stream in streams)
    tags = {
        **code_version("fuse"),
        "mlflow.note.content": f"Fusion of {models}: {how}; {len(fused.video_ids)} videos of "
        f"{markdown(fused.tested_part)}, {len(fused.classes)} classes",
        "modality": str(fused.about["modality"]),
        "run_folder": output,
    }
    return Tracker.start(store, request.experiment, name_of(output), tags)


def _record(tracker: Tracker, request: FusionRequest, result: FusionResult) -> None:
    """Tell MLflow what was fused, how, and what every stream and subset is worth."""
    names = list(result.streams)
    weights = {f"weight/{name}": weight for name, weight in zip(names, result.weights, strict=True)}
    paths = {f"scores/{name}": path for name, path in zip(names, request.scores, strict=True)}
    tracker.params({**weights, **paths, "method": request.method, "weights_fitted": bool(request.fit)})
    tracker.params({"temperature": result.scores.temperature, "temperature_chosen_on": _chosen_on(result.scores)})
    for name, scores in {**result.streams, **result.subsets}.items():
        tracker.metrics(of_stream(name, scores.metrics().as_numbers()), TEST_STEP)
    measured, about = result.scores.metrics(), result.scores.about
    name = evaluation_name(str(about.get("split")), str(about.get("part")), result.scores.views)
    tracker.metrics(of_evaluation(name, measured.as_numbers()), TEST_STEP)
    views = f"{result.scores.tested_part}, {result.scores.views} views of {' + '.join(names)}, {result.about}"
    tracker.tested(summary_of_test(measured), str(about.get("part")), views)
    for name, scores in result.streams.items():
        _record_stream(tracker, result.folder, name, scores)


def _record_stream(tracker: Tracker, folder: str, name: str, scores: VideoScores) -> None:
    """Keep a stream's recipe with the run and in the fusion's folder, as far as its training's folder tells it."""
    trained = str(scores.about.get("run_folder") or "")
    recipe = load_recipe(trained) if trained else None
    if "streams" not in scores.about:
        tracker.scored(scores, recipe.data.shards if recipe else str(scores.about.get("modality")))
    source = join(trained, RECIPE_FILE)
    if trained and exists(source):
        tracker.artifact_of(source, f"{STREAMS_FOLDER}/{name}")
        kept = join(folder, STREAMS_FOLDER, name.replace("/", "_"))
        make_folder(kept)
        write_bytes(join(kept, RECIPE_FILE), read_bytes(source))


def _report(result: FusionResult, tracker: Tracker) -> str:
    facts = {
        name: f"{scores.about.get('model', 'fusion')}, {scores.about.get('views', 'fused')}, weight {weight:g}"
        for (name, scores), weight in zip(result.streams.items(), result.weights, strict=True)
    }
    facts["fusion"] = result.about
    facts["scores"] = probabilities_of(result.scores)
    facts["part"] = result.scores.tested_part
    title = f"Fusion of {len(result.streams)} streams"
    data = report_data(title, {**result.streams, FUSED: result.scores}, facts, result.measured)
    return publish_report(join(result.folder, REPORT_FOLDER), data, tracker, "report")


def probabilities_of(fused: VideoScores) -> str:
    """Say how fused scores become probabilities, and what these are worth."""
    return Calibration(**fused.about["calibration"]).sentence()


def _chosen_on(fused: VideoScores) -> str:
    return Calibration(**fused.about["calibration"]).chosen_on or "nothing"


def _validation_of(streams: Sequence[VideoScores]) -> Found:
    """Find the scores of the streams on their validation part, beside their checkpoints."""
    wanted = []
    for name, stream in zip(fusion.stream_names([of.about.get("modality") for of in streams]), streams, strict=True):
        folder = str(stream.about.get("run_folder") or "")
        recipe = load_recipe(folder) if folder else None
        wanted.append(
            Wanted(
                stream=name,
                folder=folder,
                checkpoint=str(stream.about.get("checkpoint")),
                split=str(stream.about.get("split")),
                part=recipe.data.val_part if recipe else "val",
                views=stream.views,
            )
        )
    return find_all(wanted, [video for stream in streams for video in stream.video_ids])


def _gain(singles: Mapping[str, VideoScores], fused: VideoScores) -> str:
    """Say whether the fusion beats its best stream by more than chance."""
    best = max(singles, key=lambda name: singles[name].metrics().top[1])
    return compare(singles[best], fused).sentence(best, "fused")


def _check_fit(streams: Sequence[VideoScores], validation: Sequence[VideoScores]) -> None:
    """Refuse weights that are fitted on the test, or on other streams."""
    for i, (stream, other) in enumerate(zip(streams, validation, strict=bool(validation)), start=1):
        same = set(stream.video_ids) & set(other.video_ids)
        if same:
            raise UserError(
                f"--fit: {len(same)} of the {len(stream.video_ids)} videos of stream {i} are also in its validation "
                "scores; weights that have seen the test measure nothing. Evaluate --part val."
            )
        for key in ("modality", "checkpoint", "views"):
            ours, theirs = stream.about.get(key), other.about.get(key)
            if ours != theirs:
                raise UserError(
                    f"--fit: stream {i} is of {key} {ours}, its validation scores of {theirs}. Give the tables of the "
                    "same streams, tested in the same way, in the same order."
                )
