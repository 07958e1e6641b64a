"""A comparison as a job: find the runs, judge them, draw, and write a page and tables."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kinebert.orchestration.comparing import figures, page, tables
from kinebert.orchestration.comparing.from_mlflow import Store
from kinebert.orchestration.comparing.runs import Run, address_of, choose_evaluations, name_apart, read_run
from kinebert.orchestration.comparing.verdict import Verdict, check_comparable, judge
from kinebert.orchestration.jobs.requests import ComparisonRequest
from kinebert.orchestration.tracking.store import choose_store
from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.storage import check_writable, join, resolve_uri

PAGE = "comparison.html"


@dataclass(frozen=True, eq=False)
class ComparisonResult:
    """What came of a comparison."""

    verdict: Verdict
    """Runs, what differs between them, and whether it matters; its ``ranked`` says whether they could be ranked."""
    page: str
    """Path or URI of the page for people."""
    tables: tuple[str, ...]
    """Names of the CSV tables beside it."""


def compare(request: ComparisonRequest) -> ComparisonResult:
    """Put two or more runs side by side, and write a page with pictures and CSV tables.

    Raises:
        UserError: If a run or its scores cannot be found or read.
        ConfigError: If there is no evaluation that all runs have, or no run is called as the baseline.
    """
    output = resolve_uri(request.output)
    check_writable(output)
    found, notes = _read(request)
    check_comparable(found)
    named = _in_order(name_apart(choose_evaluations(found, request.on)), request.baseline)
    judged = judge(named, request.anyway, notes)
    shown = figures.draw_all(judged)
    title = f"{request.experiment}: {len(named)} runs" if not request.runs else ", ".join(run.name for run in named)
    files = tables.csv_files(judged)
    storage.make_folder(output)
    for name, text in {**files, PAGE: page.render(title, judged, shown)}.items():
        storage.write_bytes(join(output, name), text.encode())
    return ComparisonResult(judged, join(output, PAGE), tuple(files))


def _read(request: ComparisonRequest) -> tuple[list[Run], list[str]]:
    """Read the runs that are named, or all of the experiment."""
    if not request.runs:
        assert request.experiment is not None, "it was checked"
        return _store(request).experiment(request.experiment)
    found, store = [], None
    for text in request.runs:
        if _is_location(text):
            one = read_run(resolve_uri(text))
            address = address_of(one) if not one.tables else None
            if address is not None:  # its scores were written elsewhere, and MLflow has them
                one = replace(one, tables=Store(address.tracking_uri).tables(address.run_id))
        else:
            store = store or _store_with(request, text)
            one = store.find(text, request.experiment)
        found.append(one)
    return found, []


def _is_location(text: str) -> bool:
    """Whether a text is a path or URI, and no name of a run."""
    return "://" in text or text.endswith(".parquet") or os.path.exists(os.path.expanduser(text))


def _store_with(request: ComparisonRequest, name: str) -> Store:
    """Open the store that should know a run of this name, which may be a path that was misspelt."""
    try:
        return _store(request)
    except UserError as error:
        raise UserError(f"{name}: no such file or folder, and no name of a run can be looked up: {error}") from error


def _store(request: ComparisonRequest) -> Store:
    is_said = bool(request.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI"))
    return Store(choose_store(request.tracking_uri, "" if is_said else resolve_uri("runs/any")))


def _in_order(runs: Sequence[Run], baseline: str | None) -> list[Run]:
    """Put the baseline first."""
    if baseline is None:
        return list(runs)
    names = [run.name for run in runs]
    if baseline not in names:
        raise ConfigError(f"--baseline: no run is called {baseline!r}. There are: {', '.join(names)}.")
    ordered = sorted(runs, key=lambda run: run.name != baseline)
    if ordered[0].scores is None and sum(run.scores is not None for run in runs) > 1:
        raise ConfigError(f"--baseline: {baseline} has no such evaluation as the others. kinebert evaluate makes one.")
    return ordered
