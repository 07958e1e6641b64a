"""MLflow, written by one process: the driver. A store that fails for a while loses nothing and stops nobody."""

import fcntl
import getpass
import json
import logging
import os
import shlex
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # ours keeps what failed and tries again later
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")  # of a server that is there and does not answer

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.sets.reader import ShardSet

for _name in ("mlflow", "alembic"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # migrations of a fresh store are nobody's news

COMMIT = "KINEBERT_COMMIT"
"""Environment variable that names the git commit where there is no checkout, as in a submitted job."""
RUN_FILE = "mlflow.json"
"""In the output folder of a training: which MLflow run it is."""
_PAGE = 1000
_LONGEST_PARAM = 6000
_FLUSH_S = 5.0
_PATIENCE_S = 60.0
"""From one attempt to the next while the store is out of reach: each may take a minute."""


@dataclass(frozen=True)
class RunAddress:
    """Where a run is kept."""

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


def choose_store(tracking_uri: str | None, folder: str) -> str:
    """Return the tracking URI to use: the one given, MLFLOW_TRACKING_URI, or a SQLite file beside the run's folder.

    Raises:
        ConfigError: If none is given and ``folder`` is not a local one, where SQLite cannot live.
    """
    chosen = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if chosen:
        if chosen.startswith("sqlite:///"):
            return f"sqlite:///{storage.resolve_uri(chosen.removeprefix('sqlite:///'))}"
        return chosen if "://" in chosen else f"sqlite:///{storage.resolve_uri(chosen)}"
    if not storage.is_local(folder):
        raise ConfigError(f"{folder}: runs kept there need an MLflow server; give it with --tracking-uri.")
    return f"sqlite:///{os.path.join(os.path.dirname(folder), 'mlflow.db')}"


def page_command(tracking_uri: str) -> str:
    """What opens the MLflow page of a store, or where it is."""
    if tracking_uri.startswith("sqlite:"):
        return f"mlflow ui --backend-store-uri {shlex.quote(tracking_uri)}"
    return tracking_uri


class Tracker:
    """One run. Metrics are collected and sent in batches; what cannot be sent is kept and sent later."""

    def __init__(self, client: MlflowClient, address: RunAddress) -> None:
        self._client, self.address = client, address
        self._waiting: list[Metric] = []
        self._next_flush = time.monotonic() + _FLUSH_S
        self._told = False

    @staticmethod
    def start(tracking_uri: str, experiment: str, run_name: str, tags: Mapping[str, str]) -> "Tracker":
        """Create a run.

        Raises:
            UserError: If the store cannot be reached.
        """
        client = connect(tracking_uri)
        with explained(tracking_uri):
            run = client.create_run(_experiment(client, tracking_uri, experiment), run_name=run_name, tags=dict(tags))
        return Tracker(client, RunAddress(tracking_uri, experiment, run.info.run_id))

    @staticmethod
    def resume(address: RunAddress) -> "Tracker":
        """Go on with a run.

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
            print(f"not recorded in MLflow: {error}", file=sys.stderr)
            return None
        return Tracker(client, address)

    def last_step(self, name: str) -> int:
        """Largest step at which a metric is known, -1 if it is not."""
        with explained(self.address.tracking_uri):
            history = self._client.get_metric_history(self.address.run_id, name)
        return max((metric.step for metric in history), default=-1)

    def params(self, values: Mapping[str, Any]) -> None:
        """Record parameters that the run does not have yet."""
        with explained(self.address.tracking_uri):
            known = self._client.get_run(self.address.run_id).data.params
            new = [Param(key, str(value)[:_LONGEST_PARAM]) for key, value in values.items() if key not in known]
            for start in range(0, len(new), 100):
                self._client.log_batch(self.address.run_id, params=new[start : start + 100])

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Collect numbers, and send what was collected if it is time to."""
        now_ms = int(time.time() * 1000)
        self._waiting += [Metric(name, float(value), now_ms, step) for name, value in values.items()]
        if time.monotonic() >= self._next_flush:
            self.flush()

    def flush(self) -> bool:
        """Send what was collected; return whether all of it arrived. Says so once if the store is out of reach."""
        try:
            while self._waiting:
                self._client.log_batch(self.address.run_id, metrics=self._waiting[:_PAGE])
                del self._waiting[:_PAGE]
        except Exception as error:  # whatever the store's trouble is, training goes on
            if not self._told:
                self._told = True
                reason = str(error).splitlines()[0][:200]
                print(f"MLflow is out of reach; its numbers are kept and sent later: {reason}", file=sys.stderr)
            self._next_flush = time.monotonic() + _PATIENCE_S
            return False
        self._next_flush = time.monotonic() + _FLUSH_S
        return True

    def deliver(self) -> bool:
        """Send the rest, and try again for some seconds; return whether all of it arrived, and say so if not."""
        for pause_s in (0.0, 2.0, 5.0):
            time.sleep(pause_s)
            if self.flush():
                return True
        print(f"MLflow stayed out of reach: {len(self._waiting)} numbers of the run are lost.", file=sys.stderr)
        return False

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags, in place of earlier ones. Says so if the store is out of reach."""
        try:
            for key, value in values.items():
                self._client.set_tag(self.address.run_id, key, value)
        except Exception as error:  # a tag is worth less than the work that it is about
            print(f"MLflow did not take the tags {', '.join(values)}: {_reason(error)}", file=sys.stderr)

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
                print(f"MLflow did not take the record of {given.dataset.name}: {_reason(error)}", file=sys.stderr)
            return

    def is_open(self) -> bool:
        """Whether nobody has closed the run yet."""
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
            print(f"MLflow did not take {path.name}: {str(error).splitlines()[0][:200]}", file=sys.stderr)

    def artifact_of(self, uri: str, folder: str | None = None) -> None:
        """Keep a file of any storage with the run."""
        if storage.is_local(uri):
            self.artifact(Path(uri), folder)
            return
        with tempfile.TemporaryDirectory(prefix="kinebert-") as place:
            local = Path(place) / storage.name_of(uri)
            local.write_bytes(storage.read_bytes(uri))
            self.artifact(local, folder)

    def end(self, status: str) -> bool:
        """Send the rest and close the run as FINISHED, FAILED or KILLED; return whether all of that was done."""
        sent = self.deliver()
        try:
            self._client.set_terminated(self.address.run_id, status)
        except Exception as error:  # nothing is left to do for a run whose store is gone
            print(f"MLflow did not close the run: {str(error).splitlines()[0][:200]}", file=sys.stderr)
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
    """Close the run as what the block's end makes of it."""
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
    """Close, as KILLED, children of a run that are open and not ``known``: their maker was killed right after."""
    client = connect(parent.tracking_uri)
    with explained(parent.tracking_uri):
        experiment = client.get_run(parent.run_id).info.experiment_id
        query = f"tags.`mlflow.parentRunId` = '{parent.run_id}' and attributes.status = 'RUNNING'"
        for run in client.search_runs([experiment], query, max_results=_PAGE):
            if run.info.run_id not in known:
                client.set_terminated(run.info.run_id, "KILLED")


def code_version(program: str) -> dict[str, str]:
    """Tags that say which program ran: its name, and the git commit and whether it was changed since, if known."""
    name = {"mlflow.source.name": f"kinebert {program}", "mlflow.source.type": "LOCAL"}
    with suppress(OSError, KeyError, ImportError):  # in a container there may be no such user
        name["mlflow.user"] = getpass.getuser()
    root = Path(__file__).parents[1]

    if COMMIT in os.environ:  # a submitted job has no .git; whoever submits may say what it is
        return {**name, "mlflow.source.git.commit": os.environ[COMMIT]}

    def git(*args: str) -> str:
        command = ["git", "-C", str(root), *args]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        commit, changed = git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return {**name, "mlflow.source.git.commit": "unknown"}
    return {**name, "mlflow.source.git.commit": commit, "git_changed": str(changed).lower()}


def connect(tracking_uri: str) -> MlflowClient:
    """Open a store; a server that does not answer is found out here, and not after hours.

    Raises:
        UserError: If it cannot be reached, or is none.
    """
    if tracking_uri.startswith("sqlite:///"):
        folder = os.path.dirname(tracking_uri.removeprefix("sqlite:///"))
        storage.check_writable(folder)
    if tracking_uri.startswith(("http://", "https://")):
        try:
            urllib.request.urlopen(tracking_uri.rstrip("/") + "/health", timeout=10).close()
        except urllib.error.HTTPError:
            pass  # somebody answers; whether it is MLflow, the first request will tell
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise UserError(
                f"{tracking_uri}: the tracking server does not answer ({reason}). Start it, correct --tracking-uri, "
                "or leave it out to use a local SQLite file."
            ) from None
    with explained(tracking_uri), _one_at_a_time(tracking_uri):
        client = MlflowClient(tracking_uri)
        client.search_experiments(max_results=1)
        return client


def _experiment(client: MlflowClient, tracking_uri: str, name: str) -> str:
    with _one_at_a_time(tracking_uri):
        found = client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        artifacts = None
        if tracking_uri.startswith("sqlite:///"):  # MLflow's own default is the present folder, wherever that is
            artifacts = Path(tracking_uri.removeprefix("sqlite:///")).with_name("mlartifacts").as_uri()
        training = {"mlflow.experimentKind": "custom_model_development"}  # or the page is one of language models
        return str(client.create_experiment(name, artifact_location=artifacts, tags=training))


def _reason(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


@contextmanager
def _one_at_a_time(tracking_uri: str) -> Iterator[None]:
    """Let one process of this machine at a time set up a SQLite store: several at once break its migration."""
    if not tracking_uri.startswith("sqlite:///"):
        yield
        return
    with open(tracking_uri.removeprefix("sqlite:///") + ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def explained(tracking_uri: str) -> Iterator[None]:
    """Raise what MLflow and its store say as a UserError of one line."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = str(error).splitlines()[0][:300]
        raise UserError(f"{tracking_uri}: MLflow says: {reason}") from None
