"""Run a program as a job of a Ray cluster, follow it, and end as it ends.

kinebert submit --address http://head:8265 -- train recipe.toml --output /data/runs/r
"""

import sys
from dataclasses import dataclass
from functools import partial

import tyro

from kinebert import commits
from kinebert.orchestration.jobs import submission
from kinebert.orchestration.printing import warn
from kinebert.pipelines.cli import PROGRAMS
from kinebert.pipelines.options import run
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.lookup import suggest


@dataclass(frozen=True, kw_only=True)
class SubmitConfig:
    """Run a program as a job of a Ray cluster: kinebert submit [OPTIONS] -- PROGRAM ARGS.

    The project's code goes with the job, and recipes (.toml) of this machine that ARGS name; data does not, so give
    absolute paths or URIs that every node sees. What the job prints is shown here, and its exit status is this
    program's. The same command again follows the job if it still runs, and else submits it anew: programs go on where
    they were.
    """

    address: str | None = None
    """Job server of the cluster, such as http://head:8265; by default RAY_API_SERVER_ADDRESS."""
    env: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Variable that the job gets, as NAME=VALUE, or NAME for its value here; whoever sees the cluster's jobs sees it.
    MLFLOW_TRACKING_URI is passed if it is set."""
    include: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """File or folder of this machine that the job finds under its name in its own folder."""
    detach: bool = False
    """Return when the job is submitted, instead of following it."""


def main(command: list[str], config: SubmitConfig) -> int:
    """Pack, submit, follow, and return the job's exit status."""
    names = [name for name in PROGRAMS if name != "submit"]
    if not command or command[0] not in names:
        found = f"there is no program {command[0]!r}" if command else "no program is named"
        which = suggest(command[0] if command else "", names)
        raise ConfigError(f"{found}. Write kinebert submit [OPTIONS] -- PROGRAM ARGS. {which}")
    env = submission.environment(config.env)
    with submission.packed(command[1:], config.include) as pack:
        entrypoint = submission.entrypoint(PROGRAMS[command[0]][0], pack.args)
        jobs = submission.Jobs(config.address)
        job = jobs.running(entrypoint)
        if job is not None:
            warn(f"{job}: this command is running already; nothing is submitted")
        else:
            env = {**_commit(), **env}
            job = jobs.submit(entrypoint, pack.folder, env, command[0])
            warn(f"{job}: submitted with {pack.num_bytes / 2**20:.1f} MiB of code: {entrypoint}")
    if config.detach:
        warn(f"to follow it, give the same command without --detach; to stop it: {_stop(jobs, job)}")
        return 0
    try:
        status = jobs.follow(job)
    except KeyboardInterrupt:
        warn(f"{job} goes on without being followed; to stop it: {_stop(jobs, job)}")
        raise
    warn(f"{job}: ended with status {status}")
    return status


def _stop(jobs: submission.Jobs, job: str) -> str:
    return f"ray job stop --address {jobs.address} {job}"


def _commit() -> dict[str, str]:
    """The commit of this checkout, since the job's copy does not know it."""
    line = commits.find_commit().line()
    return {commits.VARIABLE: line} if line else {}


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    at = args.index("--") if "--" in args else next((i for i, arg in enumerate(args) if arg in PROGRAMS), len(args))
    command = args[at + 1 :] if "--" in args else args[at:]
    return run(partial(main, command), SubmitConfig, args[:at], "kinebert submit")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
