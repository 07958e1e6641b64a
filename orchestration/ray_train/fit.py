"""Training on a cluster: Ray Train places the processes, the driver hears what they say."""

import logging
import math
import signal
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kinebert.orchestration import cluster as _cluster  # first: it says what Ray reads at its import
from kinebert.preprocessing.machine import available_cores
from kinebert.training.aligned import open_shards
from kinebert.training.numerics import Inference
from kinebert.training.run_folder import SCRATCH_FOLDER

# isort: split
import ray
import ray.train
import torch
from ray.train.torch import TorchTrainer

from kinebert.orchestration.ray_train.first_step import FirstStepError, comes_again, first_step_error
from kinebert.orchestration.ray_train.hearing import Ear, Listener
from kinebert.orchestration.ray_train.process_group import ProcessGroupConfig
from kinebert.orchestration.ray_train.workers import (
    ROOM_WAIT_S,
    WorkerPlan,
    at_most,
    first_plan,
    free_room,
    plan_when_there_is_room,
    remember_room,
)
from kinebert.orchestration.shared_folders import Shared
from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.sets.dataset_file import DATASET_FILE
from kinebert.training.checkpoints.recognizer import load_recognizer
from kinebert.training.distributed.collective import from_first
from kinebert.training.distributed.watchdog import PulseWatchdog, Standstill, who_is_stuck
from kinebert.training.evaluation.evaluate import VideoScores, evaluate
from kinebert.training.loop.events import Ended, Event, Restarted, Started, StepDone
from kinebert.training.loop.loop import TrainSummary, WorkerContext, train
from kinebert.training.out_of_memory import memory_explained, out_of_memory
from kinebert.training.recipe.train import TrainRecipe

MAX_RESTARTS = 3
"""Times that training goes on from its last saved state without getting any further than the time before."""
_FAIL_AT_ONCE: Any = ray.train.FailureConfig(controller_failure_limit=0)  # type: ignore[call-arg]
"""Ray would try for ever to start as many workers as before, though a node of theirs is gone."""
_ANSWER_S = 10.0
_UNHEARD_S = 30.0
"""Beyond the recipe's ``hang_after_s``: silence after which a process is taken for one that does not run at all."""


@dataclass(frozen=True)
class FitResult:
    """What a training came to."""

    summary: TrainSummary
    val_scores: VideoScores
    """Of the best checkpoint on the validation part, one centre clip per video."""


def fit(
    recipe: TrainRecipe,
    output: str,
    hear: Callable[[Event], None],
    cpus_per_worker: float | None = None,
    pause_after: int | None = None,
    device: str = "auto",
) -> FitResult:
    """Train ``recipe`` with ``recipe.workers`` processes, or go on with what is in ``output``.

    Args:
        recipe: Its shards must be given as an absolute path or URI that every node can read.
        output: Folder for the state and the best checkpoint, on storage that every node can write to.
        hear: Called in this process with every event of :func:`kinebert.training.loop.loop.train`, in order.
        cpus_per_worker: Logical CPUs that a worker holds; by default what :func:`.plan_workers` says.
        pause_after: Epochs after which to return, see :func:`kinebert.training.loop.loop.train`.
        device: ``auto`` takes a GPU per worker where the cluster has some; or ``cpu``, ``cuda``.

    Raises:
        UserError: If the training is refused, see :func:`.train`; if there was no room for ROOM_WAIT_S; if the code
        itself fails before the first step of a new training; or if workers hung or were killed more than
        MAX_RESTARTS times without any progress in between.
        RuntimeError: If they broke off in another way so many times.
    """
    with _cluster.cluster(max(available_cores(), recipe.workers)):
        listener, losses, furthest = Listener(hear), 0, -1
        plan = first_plan(recipe, cpus_per_worker, device, listener.note)
        device = "cuda" if plan.use_gpu else "cpu"  # whatever nodes are lost later
        logging.getLogger("ray.train").setLevel(logging.ERROR)
        until = math.inf
        while True:
            try:
                if plan.recipe.workers < recipe.workers:
                    found = f"room for {plan.recipe.workers} of {recipe.workers} workers"
                    listener.note(f"the cluster has {found}; they do all", once=True)
                return _fit_once(plan, output, listener, pause_after)
            except _NoRoomError:
                until = min(until, time.monotonic() + ROOM_WAIT_S)
                if time.monotonic() >= until:
                    raise UserError(_no_room(plan)) from None
                listener.note(
                    f"waiting for workers: other programs hold the cluster, or nodes were lost. {at_most()}", once=True
                )
                plan = plan_when_there_is_room(
                    recipe, cpus_per_worker, device, listener.note, free_only=True, refused=plan.recipe.workers
                )
            except (_HangError, ray.train.WorkerGroupError, ray.train.ControllerError) as error:
                until = math.inf
                losses = 1 if listener.furthest > furthest else losses + 1
                furthest = max(furthest, listener.furthest)
                if losses > MAX_RESTARTS and isinstance(error, _HangError):
                    raise UserError(
                        f"training hung {losses} times at the same step; {error}. The last saved state is untouched: "
                        "the same command goes on from it."
                    ) from None
                if losses > MAX_RESTARTS and _was_killed(error):
                    raise UserError(
                        f"workers were killed {losses} times at the same step, without a word of their own "
                        f"({_first_failure(error)}). A system that runs out of memory does so. {out_of_memory(recipe)}"
                    ) from None
                if losses > MAX_RESTARTS:
                    raise RuntimeError(f"training broke off {losses} times at the same step: {error}") from error
                hung = isinstance(error, _HangError)
                reason = str(error) if hung else _first_failure(error)
                listener.tell(Restarted(reason=reason, left=MAX_RESTARTS - losses + 1, hung=hung))
                plan = plan_when_there_is_room(recipe, cpus_per_worker, device, listener.note)


def _fit_once(plan: WorkerPlan, output: str, listener: "Listener", pause_after: int | None) -> FitResult:
    recipe, cpus, use_gpu = plan.recipe, plan.cpus, plan.use_gpu
    # longer than the watchdogs of the workers take, which can say where they stand
    silence_s = recipe.hang_after_s + _UNHEARD_S if recipe.hang_after_s else 0.0
    ear: Any = ray.remote(num_cpus=0)(Ear).options(**_cluster.beside_us()).remote(silence_s)
    resources = {"CPU": cpus, **({"GPU": 1.0} if use_gpu else {})}
    scratch = storage.join(output, SCRATCH_FOLDER)
    free_room(scratch)
    loop: Any = _worker
    theirs = recipe.distill.shards if recipe.distill else ""
    sets = (recipe.data.shards, *recipe.data.beside, *[theirs] * bool(theirs))
    trainer = TorchTrainer(
        loop,
        train_loop_config={
            "recipe": recipe,
            "output": output,
            "ear": ear,
            "cores": max(1, int(cpus)),
            "pause_after": pause_after,
            "use_gpu": use_gpu,
            "new": listener.furthest < 0,
            "shared": Shared.seen_here([output], [storage.join(uri, DATASET_FILE) for uri in sets]),
        },
        # longer than the watchdog waits, which can say who hangs and not only that somebody does
        torch_config=ProcessGroupConfig(
            backend="nccl" if use_gpu else "gloo", timeout_s=max(1800, int(2 * recipe.hang_after_s) + 60)
        ),
        scaling_config=ray.train.ScalingConfig(
            num_workers=recipe.workers, use_gpu=use_gpu, resources_per_worker=resources
        ),
        # Ray would silently go on with a run of the same name; our own state decides that, so the name is new
        run_config=ray.train.RunConfig(name=uuid.uuid4().hex, storage_path=scratch, failure_config=_FAIL_AT_ONCE),
    )
    interrupted = signal.getsignal(signal.SIGINT)
    with listener.to(ear):
        try:
            result: Any = trainer.fit()
            fitted: FitResult = result.return_value
            return fitted
        except ray.train.WorkerGroupError as error:
            refusal = ray.get(ear.refusal.remote())
            if isinstance(refusal, FirstStepError):  # others fail in their own ways where one was killed
                refusal = None if _was_killed(error) else refusal.kept_in(output)
            if refusal is not None:
                raise refusal from None
            standstills: dict[int, Standstill] = ray.get(ear.standstills.remote())
            if standstills or ray.get(ear.silent.remote()):
                raise _HangError(_hang(standstills, recipe.workers, output)) from None
            raise
        except ray.train.ControllerError as error:
            if type(error.controller_failure).__name__ == "WorkerGroupStartupTimeoutError":
                raise _NoRoomError from None
            raise
        except SystemExit as error:
            if error.code == 1:  # what Ray Train makes of Ctrl-C
                raise KeyboardInterrupt from None
            raise
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, interrupted)  # Ray Train would keep it
            storage.delete_folder(scratch)


def _no_room(plan: WorkerPlan) -> str:
    workers, free = plan.recipe.workers, _cluster.free_nodes()
    each = f"{plan.cpus:g} CPUs{' and a GPU' * plan.use_gpu}"
    return (
        f"no room for {workers} workers of {each} each came free in {ROOM_WAIT_S / 60:g} minutes: of the cluster "
        f"{sum(node.cpus for node in free):g} CPUs and {sum(node.gpus for node in free):g} GPUs are free. The same "
        "command goes on later; or ask for fewer workers, or give a smaller min_workers."
    )


class _NoRoomError(Exception):
    """Not all workers could be started."""


class _HangError(Exception):
    """Workers were ended because they had not moved for too long; says which, where, and where the stacks are."""


def _hang(reports: dict[int, Standstill], num_workers: int, output: str) -> str:
    """Write the stacks of all ranks beside the training, and say who hung."""
    ranks, sentence = who_is_stuck(reports, num_workers)
    if not reports:
        return f"{sentence}: stopped, perhaps, by a signal"
    parts = [f"{sentence}\n"]
    for rank, found in sorted(reports.items()):
        about = f"{found.place}, {found.idle_s:.0f} s, process {found.pid} on {found.host}"
        parts.append(f"== rank {rank}{' (stuck)' * (rank in ranks)}: {about}\n{found.stacks}")
    path = storage.join(output, time.strftime("stacks-%Y%m%d-%H%M%S.txt"))
    try:
        storage.write_bytes(path, "\n".join(parts).encode())
    except (OSError, UserError) as error:
        return f"{sentence}; the stacks could not be written: {error}"
    return f"{sentence}; stacks of all: {path}"


def _worker(config: dict[str, Any]) -> FitResult | None:
    """What each process of a training does: at the end they score the best checkpoint together. Rank 0 speaks."""
    recipe: TrainRecipe = config["recipe"]
    ear, context = config["ear"], ray.train.get_context()
    rank, new = context.get_world_rank(), config["new"]
    device = ray.train.torch.get_device() if config["use_gpu"] else torch.device("cpu")

    def emit(event: Event) -> None:
        nonlocal new
        if isinstance(event, StepDone) or (isinstance(event, Started) and event.resumed is not None):
            new = False
        if rank == 0:
            ear.hear.remote(event)

    me = ray.get_runtime_context().current_actor
    ear.lives.remote(rank, me)
    try:
        config["shared"].check()
        if rank == 0:
            remember_room(storage.join(config["output"], SCRATCH_FOLDER))
        worker = WorkerContext(
            rank=rank,
            world_size=context.get_world_size(),
            device=device,
            num_threads=config["cores"],
            cores=config["cores"],
            node_processes=context.get_local_world_size(),
        )
        watchdog = PulseWatchdog(
            worker.pulse,
            recipe.hang_after_s,
            rank,
            report=lambda found: ray.get(ear.stand_still.remote(found), timeout=_ANSWER_S),
            alarm=lambda: bool(ray.get(ear.lives.remote(rank, me), timeout=_ANSWER_S)),
        )
        with watchdog, memory_explained(out_of_memory(recipe)):
            result, best_epoch = train_and_score(recipe, config["output"], worker, emit, config["pause_after"])
        if rank:
            return None
    except UserError as error:
        ray.get(ear.refuse.remote(error))
        raise
    except Exception as error:
        if new and comes_again(error):
            ray.get(ear.refuse.remote(first_step_error(error, recipe)))
        raise
    finally:
        ear.leaves.remote(rank)
    ray.get(ear.hear.remote(Ended(best_epoch=best_epoch)))  # waits: all events before it have arrived
    return result


def train_and_score(
    recipe: TrainRecipe, output: str, worker: WorkerContext, emit: Callable[[Event], None], pause_after: int | None
) -> tuple[FitResult, int]:
    """Train as one of the processes of a training, which at the end score the best checkpoint together.

    Args:
        recipe, output, pause_after: As :func:`fit` takes them.
        worker: Which of the processes this is.
        emit: Called with every event but the last, :class:`.Ended`.

    Returns:
        What the training came to, and the epoch of its best checkpoint.
    """
    shards = open_shards(recipe.data.shards, recipe.data.beside)
    summary = train(recipe, shards, worker, output, emit, pause_after)
    from_first(lambda: None, worker.rank)  # its files are written when it comes here
    recognizer, info = load_recognizer(summary.checkpoint)
    scores = evaluate(
        recognizer,
        shards,
        recipe.data,
        part=recipe.data.val_part,
        batch=recipe.eval_batch,
        worker=worker,
        loader_workers=recipe.loader_workers,
        inference=Inference.of(recipe),
    )
    return FitResult(summary, scores), info.epoch


def _was_killed(error: Any) -> bool:
    """Whether Ray found a worker dead, or ended it for want of memory; the others then lose their connection to it."""
    return any(_is_of_ray(failure) for failure in (getattr(error, "worker_failures", None) or {}).values())


def _is_of_ray(failure: BaseException) -> bool:
    """Whether a worker failed without an error of its own."""
    return type(failure).__module__.startswith("ray.") and not isinstance(failure, ray.exceptions.RayTaskError)


def _first_failure(error: Any) -> str:
    failures = getattr(error, "worker_failures", None) or {}
    for rank, failure in sorted(failures.items(), key=lambda item: (not _is_of_ray(item[1]), item[0])):
        return f"worker {rank}: {type(failure).__name__}: {str(failure).splitlines()[0] if str(failure) else ''}"
    return str(error).splitlines()[0]
