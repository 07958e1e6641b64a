"""Put two or more runs side by side: what differs between them, and whether one is better by more than chance.

kinebert compare runs/rgb_tgap runs/rgb_bert
kinebert compare --experiment demo --tracking-uri demo/mlflow.db
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from kinebert.pipelines.options import run
from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.storage import check_writable, join, resolve_uri

if TYPE_CHECKING:
    from kinebert.orchestration.comparing.from_mlflow import Store
    from kinebert.orchestration.comparing.runs import Run

PAGE = "comparison.html"


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Put two or more runs side by side.

    Printed, and kept as CSV tables and one HTML page with pictures: what differs in recipes, data and tests; every
    metric with its interval; differences to the first run with their significance; classes and confusions. Runs whose
    numbers do not mean the same are shown, but not ranked, and the exit status is 1.
    """

    runs: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="RUN...")] = ()
    """Folders of trainings, scores.parquet files, or ids or names of MLflow runs; the first is the baseline. None
    takes all finished runs of --experiment, oldest first."""
    on: Annotated[str | None, tyro.conf.arg(metavar="EVALUATION")] = None
    """Which evaluation of the runs, such as split1-test-multi; by default the one that all of them have."""
    baseline: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Run of the comparison that the others are compared with, by its name there; by default the first."""
    anyway: bool = False
    """Rank the runs even if their numbers do not mean the same."""
    output: str = "comparison"
    """Folder for the page and the tables."""
    experiment: str | None = None
    """MLflow experiment that runs are looked for in; by default all."""
    tracking_uri: str | None = None
    """MLflow server, or file of a SQLite store; by default MLFLOW_TRACKING_URI, else runs/mlflow.db."""


def main(config: CompareConfig) -> int:
    """Read, compare, write, print, and return 0 if the runs were ranked, else 1."""
    if not config.runs and config.experiment is None:
        raise ConfigError("give two or more runs, or --experiment NAME for all of one.")
    output = resolve_uri(config.output)
    check_writable(output)
    from kinebert.orchestration.comparing import (  # slow imports
        figures,  # slow imports
        page,
        tables,
        verdict,
    )
    from kinebert.orchestration.comparing.runs import choose_evaluations, name_apart

    found, notes = _read(config)
    verdict.check_comparable(found)
    named = _in_order(name_apart(choose_evaluations(found, config.on)), config.baseline)
    judged = verdict.judge(named, config.anyway, notes)
    shown = figures.draw_all(judged)
    title = f"{config.experiment}: {len(named)} runs" if not config.runs else ", ".join(run.name for run in named)
    storage.make_folder(output)
    for name, text in {**tables.csv_files(judged), PAGE: page.render(title, judged, shown)}.items():
        storage.write_bytes(join(output, name), text.encode())
    print("\n".join(tables.terminal(judged)))
    print(f"page: {join(output, PAGE)}")
    print(f"tables: {', '.join(tables.csv_files(judged))} beside it")
    return 0 if judged.ranked else 1


def _read(config: CompareConfig) -> tuple[list["Run"], list[str]]:
    """Read the runs that are named, or all of the experiment."""
    from dataclasses import replace

    from kinebert.orchestration.comparing.runs import address_of, read_run

    if not config.runs:
        assert config.experiment is not None, "it was checked"
        return _store(config).experiment(config.experiment)
    found, store = [], None
    for text in config.runs:
        if _is_location(text):
            one = read_run(resolve_uri(text))
            address = address_of(one) if not one.tables else None
            if address is not None:  # its scores were written elsewhere, and MLflow has them
                one = replace(one, tables=_open(address.tracking_uri).tables(address.run_id))
        else:
            store = store or _store(config)
            one = store.find(text, config.experiment)
        found.append(one)
    return found, []


def _is_location(text: str) -> bool:
    """Whether a text is a path or URI, and no name of a run."""
    return "://" in text or text.endswith(".parquet") or os.path.exists(os.path.expanduser(text))


def _store(config: CompareConfig) -> "Store":
    from kinebert.orchestration.tracking_store import choose_store

    is_said = bool(config.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI"))
    return _open(choose_store(config.tracking_uri, "" if is_said else resolve_uri("runs/any")))


def _open(tracking_uri: str) -> "Store":
    from kinebert.orchestration.comparing.from_mlflow import Store

    return Store(tracking_uri)


def _in_order(runs: Sequence["Run"], baseline: str | None) -> list["Run"]:
    """Put the baseline first."""
    if baseline is None:
        return list(runs)
    names = [run.name for run in runs]
    if baseline not in names:
        raise ConfigError(f"--baseline: no run is called {baseline!r}. There are: {', '.join(names)}.")
    return sorted(runs, key=lambda run: run.name != baseline)


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, CompareConfig, args, "kinebert compare")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
