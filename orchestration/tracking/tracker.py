"""A run in MLflow, written by one process, the driver. A store that fails for a while loses nothing, stops nobody."""

import os
import tempfile
import time
from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mlflow.entities import DatasetInput, Metric, Param
from mlflow.tracking import MlflowClient
from numpy.typing import NDArray

from kinebert.orchestration.printing import warn
from kinebert.orchestration.tracking.changed_settings import LONGEST_TAG, as_texts, present, settle
from kinebert.orchestration.tracking.dataset_inputs import dataset_input, scored_input
from kinebert.orchestration.tracking.legal_names import LONGEST_NAME, legal_name
from kinebert.orchestration.tracking.metric_names import TEST_STEP
from kinebert.orchestration.tracking.mirrors import Mirrors
from kinebert.orchestration.tracking.run_address import RUN_FILE, RunAddress
from kinebert.orchestration.tracking.store import (
    check_active,
    connect,
    experiment_id,
    explained,
    log_metrics,
    reason_of,
)
from kinebert.preprocessing import storage
from kinebert.preprocessing.datasets.manifest import name_some
from kinebert.preprocessing.errors import UserError
from kinebert.training.aligned import OpenedSet, sets_of

if TYPE_CHECKING:
    from kinebert.training.evaluation.evaluate import VideoScores

PROTOCOL, TESTED_PART = "protocol", "tested_part"
"""Tags of a run: how the accuracies that lists show were measured, and on which part."""
_WORTH = {"test": 2, "val": 1}
_PAGE = 1000
_FLUSH_S = 5.0
_PATIENCE_S = 60.0
"""From one attempt to the next while the store is out of reach: each may take a minute."""


class Tracker:
    """An MLflow run that is written. Metrics go in batches; what cannot be sent is kept and sent later."""

    def __init__(self, client: MlflowClient, address: RunAddress) -> None:
        self._client, self.address = client, address
        self._waiting: list[Metric] = []
        self._next_flush = time.monotonic() + _FLUSH_S
        self._told = self._lost = False
        self._refused: set[str] = set()
        self._mirrors = Mirrors()

    @staticmethod
    def start(tracking_uri: str, experiment: str, run_name: str, tags: Mapping[str, str]) -> "Tracker":
        """Create a run, and the experiment if there is none of that name.

        Raises:
            UserError: If the store cannot be reached.
        """
        client = connect(tracking_uri)
        with explained(tracking_uri):
            found = experiment_id(client, tracking_uri, experiment)
            known = {legal_name(key): value[:LONGEST_TAG] for key, value in tags.items()}
            run = client.create_run(found, run_name=run_name[:LONGEST_NAME], tags=known)
        return Tracker(client, RunAddress(tracking_uri, experiment, run.info.run_id))

    @staticmethod
    def resume(address: RunAddress) -> "Tracker":
        """Go on with a run, which is open again.

        Raises:
            UserError: If the store cannot be reached, or has no such run.
        """
        client = connect(address.tracking_uri)
        try:
            with explained(address.tracking_uri):
                check_active(client.get_run(address.run_id), address.tracking_uri)
                client.update_run(address.run_id, status="RUNNING")
        except UserError as error:
            raise UserError(f"{error}. Or delete {RUN_FILE} in the run's folder to start a new MLflow run.") from None
        return Tracker(client, address)

    @staticmethod
    def attach(address: RunAddress) -> "Tracker | None":
        """Add to a run without touching its state; None, and a word about it, if its store or the run is gone."""
        path = address.tracking_uri.removeprefix("sqlite:///")
        try:
            if path != address.tracking_uri and not os.path.exists(path):
                raise UserError(f"{path}: there is no such store")
            client = connect(address.tracking_uri)
            with explained(address.tracking_uri):
                check_active(client.get_run(address.run_id), address.tracking_uri)
        except UserError as error:
            warn(f"not recorded in MLflow: {error}")
            return None
        return Tracker(client, address)

    def mirror(self, names: Sequence[str], folder: str) -> None:
        """Hand all that is told from here on to other pages as well, see :mod:`.mirrors`.

        Args:
            names: Which of them; :func:`.check_mirrors` has looked at them.
            folder: Of the run.
        """
        self._mirrors = Mirrors(names, folder, self.address)

    def last_step(self, name: str) -> int:
        """Return the largest step at which the store knows a metric, -1 if it knows none.

        Raises:
            UserError: If the store cannot be reached.
        """
        return max(self.steps(name), default=-1)

    def steps(self, name: str) -> set[int]:
        """Return the steps at which the store knows a metric.

        Raises:
            UserError: If the store cannot be reached.
        """
        with explained(self.address.tracking_uri):
            return {metric.step for metric in self._client.get_metric_history(self.address.run_id, name)}

    def params(
        self,
        values: Mapping[str, Any],
        tags: Mapping[str, str] | None = None,
        when: str = "",
        shown: Container[str] | None = None,
        usual: Mapping[str, Any] | None = None,
    ) -> list[str]:
        """Record with which parameters and tags work begins, or goes on: :mod:`.changed_settings` says how.

        Args:
            values: Parameters by name. Those that the run has stay as they are; what is other now goes to tags.
            tags: By name.
            when: Since when they hold, such as ``from epoch 3``.
            shown: Names of those that become parameters of a run that has none of that name; by default all.
            usual: What a run began with, by name, where it has no parameter of that name.

        Returns:
            A sentence about each thing that changed, such as ``epochs: 2 -> 4``.

        Raises:
            UserError: If the store cannot be reached.
        """
        with explained(self.address.tracking_uri):
            known = self._client.get_run(self.address.run_id).data
            untold = as_texts(usual or {})
            found = settle(known.params, known.tags, as_texts(values), tags or {}, when, shown, untold)
            new = [Param(key, value) for key, value in found.params.items()]
            for start in range(0, len(new), 100):
                self._client.log_batch(self.address.run_id, params=new[start : start + 100])
            for key, value in found.tags.items():
                self._client.set_tag(self.address.run_id, legal_name(key), value)
        self._mirrors.params(found.params)
        return found.changed

    def contradictions(self, values: Mapping[str, Any], usual: Mapping[str, Any] | None = None) -> list[str]:
        """Return where the run's parameters are others than ``values``, a sentence each: it is of something else.

        Args:
            values: By name.
            usual: What a run has, by name, where it has no parameter of that name.

        Raises:
            UserError: If the store cannot be reached.
        """
        with explained(self.address.tracking_uri):
            data = self._client.get_run(self.address.run_id).data
        known, ours = present(data.params, data.tags), as_texts(values)
        if not known:
            return []  # it does not say what it is of
        told = {**known, **{key: value for key, value in as_texts(usual or {}).items() if key not in known}}
        return [f"{key} = {told[key]}, not {ours[key]}" for key in told if ours.get(key, told[key]) != told[key]]

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Collect numbers of one step by name, and send what was collected if it is time to."""
        now_ms = int(time.time() * 1000)
        told = {legal_name(name): float(value) for name, value in values.items()}
        self._mirrors.metrics(told, step)
        self._waiting += [Metric(key, value, now_ms, step) for key, value in told.items() if key not in self._refused]
        if time.monotonic() >= self._next_flush:
            self.flush()

    def tested(self, numbers: Mapping[str, float], part: str, protocol: str) -> None:
        """Make a test the one that lists of runs show: its plain metrics, and the tag that says how it was made.

        One on the validation part does not take the place of one on the test part; otherwise the last one counts.

        Args:
            numbers: Plain metrics by name.
            part: ``train``, ``val`` or ``test``.
            protocol: What was tested on and how, for people; it begins with the split and the part.
        """
        try:
            with explained(self.address.tracking_uri):
                known = self._client.get_run(self.address.run_id).data.tags.get(TESTED_PART, part)
        except UserError as error:
            self._lost = True
            warn(f"not recorded in MLflow: {error}")
            return
        if _WORTH.get(part, 0) >= _WORTH.get(known, 0):
            self.metrics(numbers, TEST_STEP)
            self.tags({PROTOCOL: protocol, TESTED_PART: part})

    def flush(self) -> bool:
        """Send the metrics that were collected; return whether none is left. Says once if the store is out of reach.

        Those of a name that the store refuses are left out, and named; they do not stand in the way of the others.
        """
        refused: dict[str, str] = {}
        try:
            while self._waiting:
                refused |= log_metrics(self._client, self.address.run_id, self._waiting[:_PAGE])
                del self._waiting[:_PAGE]
        except Exception as error:  # whatever the store's trouble is, training goes on
            if not self._told:
                self._told = True
                warn(f"MLflow is out of reach; its numbers are kept and sent later: {reason_of(error)}")
            self._next_flush = time.monotonic() + _PATIENCE_S
            return False
        finally:
            self._leave_out(refused)
        self._next_flush = time.monotonic() + _FLUSH_S
        return True

    def _leave_out(self, refused: Mapping[str, str]) -> None:
        self._refused |= refused.keys()
        self._waiting = [metric for metric in self._waiting if metric.key not in self._refused]
        for reason in dict.fromkeys(refused.values()):
            names = [name for name, other in refused.items() if other == reason]
            self._lost = True
            warn(f"MLflow refuses {name_some(names)}, which the run will lack: {reason}")

    def deliver(self) -> bool:
        """Send all metrics, and try again for some seconds; return whether none is left, and say so if some are."""
        self._mirrors.close()
        for pause_s in (0.0, 2.0, 5.0):
            time.sleep(pause_s)
            if self.flush():
                return True
        warn(f"MLflow stayed out of reach: {len(self._waiting)} numbers of the run are lost.")
        return False

    @property
    def complete(self) -> bool:
        """Whether the store has taken all that it was given. What it did not take was said when it happened."""
        return not self._lost and not self._waiting

    def lacks_something(self) -> None:
        """Note that the store did not take something that was told otherwise."""
        self._lost = True

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags of the run, in place of earlier ones of their names. Says so if the store does not take them."""

        def send() -> None:
            for key, value in values.items():
                self._client.set_tag(self.address.run_id, legal_name(key), value[:LONGEST_TAG])

        self._try(f"the tags {', '.join(values)}", send)

    def dataset(self, shards: OpenedSet, parts: Mapping[str, str]) -> None:
        """Say which shard set, or each of aligned ones, is used for what. Says so if the store does not take it.

        Args:
            shards: The set.
            parts: What for (``training``, ``validation``, ``evaluation``), and the split and part: ``split1/train``.
        """
        for context, split_part in parts.items():
            for one in sets_of(shards):
                self._input(dataset_input(one, context, split_part))

    def scored(self, scores: "VideoScores", uri: str) -> None:
        """Say which set a table has scores of, as :func:`.scored_input`. Says so if the store does not take it."""
        self._input(scored_input(scores, uri))

    def _input(self, given: DatasetInput) -> None:
        self._try(
            f"the record of {given.dataset.name}",
            partial(self._client.log_inputs, self.address.run_id, [given]),
            (0.2, 1.0),  # a database refuses a set that another run records at the same moment
        )

    def _try(self, what: str, ask: Callable[[], object], pauses_s: Sequence[float] = (1.0,)) -> bool:
        """Ask the store for something, and once more after each pause; return whether it did, and say so if not."""
        for pause_s in (*pauses_s, None) if not self._waiting or not self._told else (None,):
            try:
                ask()
                return True
            except Exception as error:  # what is recorded is worth less than the work that it is about
                if pause_s is not None:
                    time.sleep(pause_s)
                    continue
                self._lost = True
                warn(f"MLflow did not take {what}: {reason_of(error)}")
        return False

    def is_open(self) -> bool:
        """Return whether nobody has closed the run yet.

        Raises:
            UserError: If the store cannot be reached.
        """
        with explained(self.address.tracking_uri):
            return str(self._client.get_run(self.address.run_id).info.status) == "RUNNING"

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Keep a local file, or a folder's files, with the run. Says so if the store does not take it."""
        keep = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        self._try(path.name, partial(keep, self.address.run_id, str(path), folder and legal_name(folder)))

    def artifact_of(self, uri: str, folder: str | None = None) -> None:
        """Keep a file with the run, given by its path or URI. Says so if the store does not take it."""
        if storage.is_local(uri):
            self.artifact(Path(uri), folder)
            return
        with tempfile.TemporaryDirectory(prefix="kinebert-") as place:
            local = Path(place) / storage.name_of(uri)
            local.write_bytes(storage.read_bytes(uri))
            self.artifact(local, folder)

    def picture(self, name: str, picture_HWC: NDArray[np.uint8], step: int) -> None:
        """Keep a picture ``(H, W, 3)``, RGB, of one step with the run, where its page shows it among the charts.

        Says so if the store does not take it.
        """
        keep = partial(self._client.log_image, self.address.run_id, picture_HWC, key=legal_name(name), step=step)
        self._try(f"the picture {name}", partial(keep, synchronous=True))
        self._mirrors.image(name, picture_HWC, step)

    def end(self, status: str) -> bool:
        """Send all metrics and close the run as FINISHED, FAILED or KILLED; return whether all of that was done."""
        sent = self.deliver()
        try:
            self._client.set_terminated(self.address.run_id, status)
        except Exception as error:  # nothing is left to do for a run whose store is gone
            self._lost = True
            warn(f"MLflow did not close the run: {reason_of(error)}")
            return False
        return sent
