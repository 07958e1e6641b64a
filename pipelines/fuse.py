"""Combine the scores of several streams without running a model again.

kinebert fuse runs/rgb/split1-test-multi/scores.parquet runs/flow/split1-test-multi/scores.parquet --output fused
"""

import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from orchestration.options import run
from preprocessing.storage import check_writable, join, resolve_uri


@dataclass(frozen=True, kw_only=True)
class FuseConfig:
    """Combine the scores of two or more streams: each video's score divided by its L2 norm, then a weighted sum.

    Writes fused scores and a report, and one MLflow run for the result.
    """

    scores: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="SCORES...")]
    """scores.parquet files of `kinebert evaluate`, one per stream."""
    weights: tuple[float, ...] | None = None
    """One weight per stream; by default all 1."""
    output: str = "fused"
    """Folder for scores.parquet and the report."""
    experiment: str = "kinebert"
    """MLflow experiment that the result belongs to."""
    tracking_uri: str | None = None
    """MLflow server, or file of a SQLite store; by default the store of the first stream's run."""


def main(config: FuseConfig) -> int:
    """Fuse, measure, report, and return the exit status."""
    from orchestration import results, tracking  # slow imports
    from training.evaluate import read_scores, write_scores
    from training.fusion import fuse

    output = resolve_uri(config.output)
    streams = [read_scores(resolve_uri(path)) for path in config.scores]
    fusion = fuse(streams, config.weights)
    check_writable(output)
    known = tracking.RunAddress.load(str(streams[0].about.get("run_folder", "")))
    beside = tracking.Tracker.attach(known) if known and not config.tracking_uri else None
    store = beside.address.tracking_uri if beside else config.tracking_uri
    tags = {**tracking.code_version("fuse"), "modality": str(fusion.scores.about["modality"]), "run_folder": output}
    tracker = tracking.Tracker.start(tracking.choose_store(store, output), config.experiment, "fused", tags)
    with tracking.running(tracker):
        named = {_name(i, stream.about.get("modality"), streams): stream for i, stream in enumerate(streams)}
        named["fused"] = fusion.scores
        weights = fusion.scores.about["weights"]
        tracker.params({f"weight/{name}": weight for name, weight in zip(named, weights, strict=False)})
        tracker.params({f"scores/{name}": path for name, path in zip(named, config.scores, strict=False)})
        for name, scores in named.items():
            numbers = scores.metrics().as_numbers()
            tracker.metrics({f"{name}/{key}": value for key, value in numbers.items()}, 0)
        table = join(output, "scores.parquet")
        write_scores(table, fusion.scores)
        tracker.artifact_of(table)
        facts = {
            name: f"{s.about.get('model', 'fusion')}, weight {w:g}"
            for (name, s), w in zip(named.items(), weights, strict=False)
        }
        facts["part"] = f"{fusion.scores.about.get('split')}/{fusion.scores.about.get('part')}"
        data = results.report_data(f"Fusion of {len(streams)} streams", named, facts)
        report = results.publish_report(join(output, "report"), data, tracker, "report")
    print("\n".join([*results.accuracy_lines(named), *fusion.notes(), *results.rejected_lines(fusion.scores)]))
    print(f"scores: {table}")
    print(f"report: {report}")
    print(f"next: {tracking.page_command(tracker.address.tracking_uri)}")
    return 0


def _name(position: int, modality: object, streams: list["VideoScores"]) -> str:  # noqa: F821 - imported late
    """The modality names a stream, with its place where several share one."""
    shared = sum(stream.about.get("modality") == modality for stream in streams) > 1
    return f"{modality} {position + 1}" if shared else str(modality)


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, FuseConfig, args, "kinebert fuse")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
