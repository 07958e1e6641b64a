"""Look over this machine, its packages and the servers that the environment names, before hours are spent.

kinebert doctor
kinebert doctor /data/sets s3://bucket/runs
"""

import sys
from dataclasses import asdict, dataclass
from typing import Annotated

import tyro

from kinebert.orchestration.jobs.requests import DiagnosisRequest
from kinebert.orchestration.printing import Table, say, say_json
from kinebert.pipelines.options import run


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """Look over this machine: cores, memory, disks, GPUs, packages, codecs, Ray, MLflow; what is wrong, what to do.

    Nothing is changed, and no cluster is started. Exit status: 0 nothing is wrong, 1 something is.
    """

    folders: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="FOLDER")] = ()
    """Folders or URIs where sets or runs are to go; the present folder and that for temporary files are always looked
    at."""
    timeout_s: float = 60.0
    """Longest that all of it may take."""
    json: bool = False
    """Print JSON."""


def main(config: DoctorConfig) -> int:
    """Print what was found and return the exit status."""
    from kinebert.orchestration.diagnosis.diagnose import diagnose

    found = diagnose(DiagnosisRequest(folders=config.folders, timeout_s=config.timeout_s))
    num_wrong, num_notes = len(found.wrong), len(found.notes)
    if config.json:
        say_json({"wrong": num_wrong, "notes": num_notes, "findings": [asdict(one) for one in found.findings]})
        return 1 if num_wrong else 0
    rows = []
    for one in found.findings:
        rows += [[one.state, one.subject, one.found], *[["", "", f"what to do: {one.remedy}"]] * bool(one.remedy)]
    say(Table(header=[""] * 3, rows=rows, align="lll"))
    counted = f"{num_notes} note{'s' * (num_notes != 1)}"
    say(f"{num_wrong} wrong, {counted}" if num_wrong else f"nothing is wrong, {counted}")
    if not num_wrong:
        say(
            "next: kinebert demo           the whole job on generated videos",
            "  or: kinebert index --help   your own videos",
        )
    return 1 if num_wrong else 0


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, DoctorConfig, args, "kinebert doctor")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
