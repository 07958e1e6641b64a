"""``kinebert``: one command for every program."""

import importlib
import os
import select
import sys

import kinebert
from kinebert.commits import find_commit
from kinebert.orchestration.printing import say, warn
from kinebert.preprocessing.lookup import suggest

PROGRAMS = {
    "doctor": ("doctor", "look over this machine: what is wrong, and what to do"),
    "index": ("index_videos", "list a data set's videos, with labels and splits, in a manifest"),
    "extract": ("extract", "videos to a set of RGB frames and one of flow, each decoded once"),
    "extract-frames": ("extract_frames", "videos to Parquet shards of RGB frames"),
    "extract-flow": ("extract_flow", "videos to Parquet shards of TV-L1 optical flow"),
    "extract-pose": ("extract_pose", "videos or stored frames to Parquet shards of drawn poses, with their joints"),
    "recipes": ("list_recipes", "list, show or copy the recipes that are here by name; explain keys"),
    "describe": ("describe", "print a network's parts, with shapes, parameters and multiply-adds"),
    "bench-data": ("bench_data", "measure how fast this node loads a recipe's clips"),
    "train": ("train", "train a recognizer from a recipe"),
    "tune": ("tune", "search over the fields of a recipe"),
    "evaluate": ("evaluate", "score the videos of a split with a trained recognizer"),
    "attend": ("attend", "draw which moments of a clip a BERT head looks at"),
    "average": ("average", "average stored scores anew: other views, another mean, over splits"),
    "fuse": ("fuse", "combine the scores of several streams"),
    "compare": ("compare", "put runs side by side: what differs, and whether it matters"),
    "predict": ("predict", "say what happens in new videos, with one or more trained recognizers"),
    "weights": ("weights", "list the published weights that are known, or report on a file"),
    "pose-weights": ("pose_weights", "list the files that pose backends need, or fetch those that may be"),
    "verify": ("verify", "check that a shard set is whole"),
    "show": ("show", "draw a contact sheet of one video's frames, flow and poses"),
    "export-frames": ("export_frames", "write a shard set as folders of pictures"),
    "submit": ("submit", "run any of these as a job of a Ray cluster"),
    "register": ("register", "register a checkpoint in MLflow, to be loaded by name"),
    "demo": ("demo", "the whole job on generated videos"),
}
_OPTIONS = ("--help", "--version")


def usage() -> str:
    """The text of ``kinebert --help``."""
    width = max(map(len, PROGRAMS))
    lines = [f"  {name:<{width}}  {about}" for name, (_, about) in PROGRAMS.items()]
    return "\n".join(
        [
            "usage: kinebert PROGRAM [OPTIONS]",
            "",
            "Video action recognition: from a folder of videos to a two-stream result.",
            "",
            "programs, in the order in which they are used:",
            *lines,
            "",
            "kinebert PROGRAM --help explains one; kinebert --version says which code this is.",
            "Each is also python pipelines/NAME.py, for",
            "ray job submit --working-dir . -- python pipelines/extract_flow.py ...",
        ]
    )


def main() -> int:
    """Run the program that the command line names and return its exit status."""
    args = sys.argv[1:]
    if args[:1] == ["--version"]:
        say(f"kinebert {kinebert.__version__} ({find_commit()})")
        return 0
    if not args or args[0] in ("-h", "--help"):
        say(*usage().splitlines())
        return 0 if args else 2
    if args[0] not in PROGRAMS:
        warn(f"error: there is no program {args[0]!r}. {suggest(args[0], [*PROGRAMS, *_OPTIONS])}")
        return 2
    module = importlib.import_module(f"kinebert.pipelines.{PROGRAMS[args[0]][0]}")
    try:
        status: int = module.cli(args[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end
        return 141  # what a shell says of a program that SIGPIPE ended
    return status


def _reader_is_gone() -> bool:
    """Whether nobody reads what is printed any more, as after ``| head``."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


if __name__ == "__main__":
    sys.exit(main())
