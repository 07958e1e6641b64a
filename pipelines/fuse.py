"""Combine the scores of several streams without running a model again.

kinebert fuse runs/rgb/split1-test-multi/scores.parquet runs/flow/split1-test-multi/scores.parquet --output fused
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from kinebert.pipelines.options import run
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.storage import check_writable, join, resolve_uri
from kinebert.training.run_folder import METRICS_FILE, REPORT_FOLDER, SCORES_FILE

if TYPE_CHECKING:
    from kinebert.training.evaluation.evaluate import VideoScores
    from kinebert.training.evaluation.fusion import Fusion


@dataclass(frozen=True, kw_only=True)
class FuseConfig:
    """Combine the scores of two or more streams, and measure every subset of them.

    Writes fused scores and a report, and one MLflow run for the result.
    """

    scores: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="SCORES...")]
    """scores.parquet files of `kinebert evaluate`, one per stream."""
    method: Literal["l2", "softmax"] = "l2"
    """l2: each video's score divided by its L2 norm, then summed, as in the BERT paper; softmax: the mean of the
    probabilities."""
    weights: tuple[float, ...] | None = None
    """One weight per stream; by default all 1."""
    fit: Annotated[tuple[str, ...], tyro.conf.arg(metavar="SCORES...")] = ()
    """Scores of the same streams, in the same order, on a validation part: the weights best there are taken."""
    output: str = "fused"
    """Folder for scores.parquet and the report."""
    experiment: str = "kinebert"
    """MLflow experiment that the result belongs to."""
    tracking_uri: str | None = None
    """MLflow server, or file of a SQLite store; by default the store of the first stream's run."""


def main(config: FuseConfig) -> int:
    """Fuse, measure, report, and return the exit status."""
    if config.fit and (config.weights is not None or len(config.fit) != len(config.scores)):
        raise ConfigError(f"--fit takes one table per stream ({len(config.scores)}), and no --weights beside it.")
    from kinebert.orchestration import run_tags, tracking, tracking_store  # slow imports
    from kinebert.orchestration.reports import accuracies, metrics_file, publishing
    from kinebert.training.evaluation.evaluate import read_scores, write_scores

    output = resolve_uri(config.output)
    streams = [read_scores(resolve_uri(path)) for path in config.scores]
    validation = [read_scores(resolve_uri(path)) for path in config.fit]
    _check_fit(streams, validation)
    fusion = _fuse(streams, validation, config, range(len(streams)))
    check_writable(output)
    known = tracking.RunAddress.load(str(streams[0].about.get("run_folder", "")))
    beside = tracking.Tracker.attach(known) if known and not config.tracking_uri else None
    store = beside.address.tracking_uri if beside else config.tracking_uri
    tags = {**run_tags.code_version("fuse"), "modality": str(fusion.scores.about["modality"]), "run_folder": output}
    tracker = tracking.Tracker.start(tracking_store.choose_store(store, output), config.experiment, "fused", tags)
    with tracking.running(tracker):
        singles = {_name(i, stream.about.get("modality"), streams): stream for i, stream in enumerate(streams)}
        named, weights = {**singles, "fused": fusion.scores}, fusion.scores.about["weights"]
        parts = _subsets(singles, validation, config)
        tracker.params({f"weight/{name}": weight for name, weight in zip(singles, weights, strict=True)})
        tracker.params({f"scores/{name}": path for name, path in zip(singles, config.scores, strict=True)})
        tracker.params({"method": config.method, "weights_fitted": bool(config.fit)})
        for name, scores in {**named, **parts}.items():
            numbers = scores.metrics().as_numbers()
            plain = name.replace(" + ", " and ")  # MLflow takes no + in a name
            tracker.metrics({f"{plain}/{key}": value for key, value in numbers.items()}, 0)
        table = join(output, SCORES_FILE)
        write_scores(table, fusion.scores)
        metrics_file.write_metrics(join(output, METRICS_FILE), fusion.scores)
        tracker.artifact_of(table)
        facts = {
            name: f"{scores.about.get('model', 'fusion')}, {scores.about.get('views', 'fused')}, weight {weight:g}"
            for (name, scores), weight in zip(singles.items(), weights, strict=True)
        }
        facts["fusion"] = _about(config)
        facts["part"] = f"{fusion.scores.about.get('split')}/{fusion.scores.about.get('part')}"
        data = publishing.report_data(
            f"Fusion of {len(streams)} streams", named, facts, {**singles, **parts, "fused": fusion.scores}
        )
        report = publishing.publish_report(join(output, REPORT_FOLDER), data, tracker, "report")
    print("\n".join(accuracies.accuracy_lines({**singles, **parts, "fused": fusion.scores})))
    given = ", ".join(f"{name} {weight:g}" for name, weight in zip(singles, weights, strict=True))
    print(f"{_about(config)}; weights: {given}")
    print("\n".join([_gain(singles, fusion.scores), *fusion.notes(), *accuracies.rejected_lines(fusion.scores)]))
    print(f"scores: {table}")
    print(f"report: {report}")
    print(f"next: {tracking_store.page_command(tracker.address.tracking_uri)}")
    return 0


def _fuse(
    streams: Sequence["VideoScores"], validation: Sequence["VideoScores"], config: FuseConfig, chosen: Sequence[int]
) -> "Fusion":
    """Fuse the chosen streams with the weights that were given, or that are best for just these on validation."""
    from kinebert.training.evaluation.fusion import fit_weights, fuse

    weights = None if config.weights is None else list(config.weights)
    if validation:
        weights = fit_weights([validation[i] for i in chosen], config.method)
    elif weights is not None and len(chosen) < len(streams):
        weights = [weights[i] for i in chosen]
    return fuse([streams[i] for i in chosen], weights, config.method)


def _subsets(
    singles: Mapping[str, "VideoScores"], validation: Sequence["VideoScores"], config: FuseConfig
) -> dict[str, "VideoScores"]:
    """Fuse every subset of more than one and fewer than all streams, by name."""
    from kinebert.training.evaluation.fusion import subsets

    names, streams = list(singles), list(singles.values())
    found = {}
    for chosen in subsets(len(streams)):
        of_no_weight = config.weights is not None and not any(config.weights[i] for i in chosen)
        if 1 < len(chosen) < len(streams) and not of_no_weight:
            name = " + ".join(names[i] for i in chosen)
            found[name] = _fuse(streams, validation, config, chosen).scores
    return found


def _gain(singles: Mapping[str, "VideoScores"], fused: "VideoScores") -> str:
    """Say whether the fusion beats its best stream by more than chance."""
    from kinebert.training.evaluation.significance import compare

    best = max(singles, key=lambda name: singles[name].metrics().top[1])
    return compare(singles[best], fused).sentence(best, "fused")


def _about(config: FuseConfig) -> str:
    how = "sum of L2-normalised scores" if config.method == "l2" else "mean of the probabilities"
    return f"{how}, weights fitted on validation" if config.fit else how


def _check_fit(streams: Sequence["VideoScores"], validation: Sequence["VideoScores"]) -> None:
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


def _name(position: int, modality: object, streams: Sequence["VideoScores"]) -> str:
    """The modality names a stream, with its place where several share one."""
    shared = sum(stream.about.get("modality") == modality for stream in streams) > 1
    return f"{modality} {position + 1}" if shared else str(modality)


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, FuseConfig, args, "kinebert fuse")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
