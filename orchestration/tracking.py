"""A run in MLflow, written by one process, the driver. A store that fails for a while loses nothing, stops nobody."""

import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.tracking import MlflowClient

from kinebert.orchestration.printing import warn
from kinebert.orchestration.tracking_store import connect, experiment_id, explained, reason_of
from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.sets.reader import ShardSet

RUN_FILE = "mlflow.json"
"""In the output folder of a training: which MLflow run it is."""
_PAGE = 1000
_LONGEST_PARAM = 6000
_FLUSH_S = 5.0
_PATIENCE_S = 60.0
"""From one attempt to the next while the store is out of reach: each may take a minute."""


@dataclass(frozen=True)
class RunAddress:
    """Where an MLflow run is kept."""

    tracking_uri: str
    experiment: str
    run_id: str

    def save(self, folder: str) -> None:
        """Write the address into the folder of a training."""
        storage.write_bytes(storage.join(folder, RUN_FILE), (json.dumps(asdict(self), indent=2) + "\n").encode())

    @staticmethod
    def load(folder: str) -> "RunAddress | None":
        """Read the address from the folder of a training; None if there is none."""
        path = storage.join(folder, RUN_FILE)
        if not storage.exists(path):
            return None
        try:
            return RunAddress(**json.loads(storage.read_bytes(path)))
        except (ValueError, TypeError):
            raise UserError(f"{path}: not the address of an MLflow run. Delete it to start a new run.") from None


class Tracker:
    """An MLflow run that is written. Metrics go in batches; what cannot be sent is kept and sent later."""

    def __init__(self, client: MlflowClient, address: RunAddress) -> None:
        self._client, self.address = client, address
        self._waiting: list[Metric] = []
        self._next_flush = time.monotonic() + _FLUSH_S
        self._told = False

    @staticmethod
    def start(tracking_uri: str, experiment: str, run_name: str, tags: Mapping[str, str]) -> "Tracker":
        """Create a run, and the experiment if there is none of that name.

        Raises:
            UserError: If the store cannot be reached.
        """
        client = connect(tracking_uri)
        with explained(tracking_uri):
            run = client.create_run(experiment_id(client, tracking_uri, experiment), run_name=run_name, tags=dict(tags))
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
                client.update_run(address.run_id, status="RUNNING")
        except UserError as error:
            raise UserError(f"{error} Delete {RUN_FILE} in the run's folder to start a new MLflow run.") from None
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
                client.get_run(address.run_id)
        except UserError as error:
            warn(f"not recorded in MLflow: {error}")
            return None
        return Tracker(client, address)

    def last_step(self, name: str) -> int:
        """Return the largest step at which the store knows a metric, -1 if it knows none.

        Raises:
            UserError: If the store cannot be reached.
        """
        with explained(self.address.tracking_uri):
            history = self._client.get_metric_history(self.address.run_id, name)
        return max((metric.step for metric in history), default=-1)

    def params(self, values: Mapping[str, Any]) -> None:
        """Record parameters that the run does not have yet; those that it has stay as they are.

        Raises:
            UserError: If the store cannot be reached.
        """
        with explained(self.address.tracking_uri):
            known = self._client.get_run(self.address.run_id).data.params
            new = [Param(key, str(value)[:_LONGEST_PARAM]) for key, value in values.items() if key not in known]
            for start in range(0, len(new), 100):
                self._client.log_batch(self.address.run_id, params=new[start : start + 100])

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Collect numbers of one step by name, and send what was collected if it is time to."""
        now_ms = int(time.time() * 1000)
        self._waiting += [Metric(name, float(value), now_ms, step) for name, value in values.items()]
        if time.monotonic() >= self._next_flush:
            self.flush()

    def flush(self) -> bool:
        """Send the metrics that were collected; return whether all arrived. Says once if the store is out of reach."""
        try:
            while self._waiting:
                self._client.log_batch(self.address.run_id, metrics=self._waiting[:_PAGE])
                del self._waiting[:_PAGE]
        except Exception as error:  # whatever the store's trouble is, training goes on
            if not self._told:
                self._told = True
                warn(f"MLflow is out of reach; its numbers are kept and sent later: {reason_of(error)}")
            self._next_flush = time.monotonic() + _PATIENCE_S
            return False
        self._next_flush = time.monotonic() + _FLUSH_S
        return True

    def deliver(self) -> bool:
        """Send all metrics, and try again for some seconds; return whether all arrived, and say so if not."""
        for pause_s in (0.0, 2.0, 5.0):
            time.sleep(pause_s)
            if self.flush():
                return True
        warn(f"MLflow stayed out of reach: {len(self._waiting)} numbers of the run are lost.")
        return False

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags of the run, in place of earlier ones of their names. Says so if the store is out of reach."""
        try:
            for key, value in values.items():
                self._client.set_tag(self.address.run_id, key, value)
        except Exception as error:  # a tag is worth less than the work that it is about
            warn(f"MLflow did not take the tags {', '.join(values)}: {reason_of(error)}")

    def dataset(self, shards: ShardSet, parts: Mapping[str, str]) -> None:
        """Say which shard set is used for what. Says so if the store is out of reach.

        Args:
            shards: The set.
            parts: What for (``training``, ``validation``, ``evaluation``), and the split and part: ``split1/train``.
        """
        kinds = sorted({str(kind) for video in shards.videos for kind in video.splits})
        facts = {"modality": shards.modality, "recipe": shards.digest, "classes": len(shards.classes)}
        for context, name in parts.items():
            split, _, part = name.partition("/")
            videos = shards.select(split, part)
            profile = {**facts, "part": name, "videos": len(videos), "images": sum(v.num_images for v in videos)}
            schema = [{"type": "binary", "name": "image", "required": True}]
            schema += [{"type": "string", "name": key, "required": True} for key in ("video_id", "label_name")]
            schema += [{"type": "string", "name": f"split {kind}", "required": False} for kind in kinds]
            entity = Dataset(
                name=f"{storage.name_of(shards.uri)} {name}",
                digest=shards.content,
                source_type="kinebert shard set",
                source=json.dumps({"uri": shards.uri}),
                schema=json.dumps({"mlflow_colspec": schema}),
                profile=json.dumps(profile),
            )
            self._input(DatasetInput(entity, [InputTag("mlflow.data.context", context)]))

    def _input(self, given: DatasetInput) -> None:
        for pause_s in (0.2, 1.0, None):  # a database refuses a set that another run records at the same moment
            try:
                self._client.log_inputs(self.address.run_id, [given])
            except Exception as error:
                if pause_s is not None:
                    time.sleep(pause_s)
                    continue
                warn(f"MLflow did not take the record of {given.dataset.name}: {reason_of(error)}")
            return

    def is_open(self) -> bool:
        """Return whether nobody has closed the run yet.

        Raises:
            UserError: If the store cannot be reached.
        """
        with explained(self.address.tracking_uri):
            return str(self._client.get_run(self.address.run_id).info.status) == "RUNNING"

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Keep a local file, or a folder's files, with the run. Says so if the store is out of reach."""
        try:
            if path.is_dir():
                self._client.log_artifacts(self.address.run_id, str(path), folder)
            else:
                self._client.log_artifact(self.address.run_id, str(path), folder)
        except Exception as error:  # the file is still where it was
            warn(f"MLflow did not take {path.name}: {reason_of(error)}")

    def artifact_of(self, uri: str, folder: str | None = None) -> None:
        """Keep a file with the run, given by its path or URI. Says so if the store is out of reach."""
        if storage.is_local(uri):
            self.artifact(Path(uri), folder)
            return
        with tempfile.TemporaryDirectory(prefix="kinebert-") as place:
            local = Path(place) / storage.name_of(uri)
            local.write_bytes(storage.read_bytes(uri))
            self.artifact(local, folder)

    def end(self, status: str) -> bool:
        """Send all metrics and close the run as FINISHED, FAILED or KILLED; return whether all of that was done."""
        sent = self.deliver()
        try:
            self._client.set_terminated(self.address.run_id, status)
        except Exception as error:  # nothing is left to do for a run whose store is gone
            warn(f"MLflow did not close the run: {reason_of(error)}")
            return False
        return sent


def open_run(folder: str, tracking_uri: str, experiment: str, tags: Mapping[str, str]) -> Tracker:
    """Go on with the run that ``folder`` says it is, or start one of the folder's name.

    Raises:
        UserError: If the store cannot be reached, or has no such run.
    """
    known = RunAddress.load(folder)
    if known is not None and known.tracking_uri == tracking_uri:
        return Tracker.resume(known)
    tracker = Tracker.start(tracking_uri, experiment, storage.name_of(folder), tags)
    tracker.address.save(folder)
    return tracker


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


def end_strays(parent: RunAddress, known: Sequence[str]) -> None:
    """Close, as KILLED, the open children of a run whose ids are not ``known``: their maker was killed right after."""
    client = connect(parent.tracking_uri)
    with explained(parent.tracking_uri):
        experiment = client.get_run(parent.run_id).info.experiment_id
        query = f"tags.`mlflow.parentRunId` = '{parent.run_id}' and attributes.status = 'RUNNING'"
        for run in client.search_runs([experiment], query, max_results=_PAGE):
            if run.info.run_id not in known:
                client.set_terminated(run.info.run_id, "KILLED")
