"""How an MLflow run begins and ends: gone on with or begun anew, and closed as what it came to."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.orchestration.tracking.store import connect, explained
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError


def open_run(
    folder: str,
    tracking_uri: str,
    experiment: str,
    tags: Mapping[str, str],
    *,
    continues: bool = True,
    name: str = "",
) -> Tracker:
    """Go on with the run that ``folder`` says it is, or start one.

    Args:
        folder: Of a training or search.
        tracking_uri: The store.
        experiment: Of a run that is started.
        tags: Of a run that is started.
        continues: Whether something is gone on with; else the run of an earlier start, which came to nothing, is left
            as it is (closed, if that start was killed), and another one is begun.
        name: Of a run that is started; by default the folder's.

    Raises:
        UserError: If the store cannot be reached, or has no such run.
    """
    known = RunAddress.load(folder)
    if known is not None and known.tracking_uri == tracking_uri:
        if continues:
            return Tracker.resume(known)
        _close_stray(known)
    tracker = Tracker.start(tracking_uri, experiment, name or storage.name_of(folder), tags)
    tracker.address.save(folder)
    return tracker


def _close_stray(address: RunAddress) -> None:
    """Close, as KILLED, a run that is still open; one that is gone is nobody's trouble."""
    with suppress(UserError), explained(address.tracking_uri):
        client = connect(address.tracking_uri)
        if str(client.get_run(address.run_id).info.status) == "RUNNING":
            client.set_terminated(address.run_id, "KILLED")


@contextmanager
def running(tracker: Tracker) -> Iterator[Tracker]:
    """Close the run when the block ends: as FINISHED, or FAILED by an error, or KILLED by an interruption."""
    status = "FAILED"
    try:
        yield tracker
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        tracker.end(status)
