"""Check a shard set: counts, digests, decodability, leftovers.

kinebert verify sets/rgb
"""

import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from kinebert.orchestration.printing import say
from kinebert.orchestration.progress import Counted, ProgressLine
from kinebert.pipelines.next_steps import next_lines, train_command
from kinebert.pipelines.options import run
from kinebert.preprocessing.machine import available_cores
from kinebert.preprocessing.storage import resolve_uri


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """Check that a shard set is whole: every count, every digest, every image, and nothing that does not belong.

    Exit status: 0 all is well, 1 there are problems, 2 there is no finished set.
    """

    set: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SET")]
    """Folder (path or URI) of the set."""
    quick: bool = False
    """Check counts, digests and leftovers, but decode no image."""
    threads: int = 0
    """Shards checked side by side; 0 takes the machine's cores."""


def main(config: VerifyConfig) -> int:
    """Check the set, print what is wrong with it, and return the exit status."""
    from kinebert.preprocessing.sets.dataset_file import read_dataset_file  # OpenCV, after the options
    from kinebert.preprocessing.sets.folder import describe_flow, describe_poses, describe_still
    from kinebert.preprocessing.sets.reader import ShardSet
    from kinebert.preprocessing.sets.verify import verify_set

    uri, line, counted = resolve_uri(config.set), ProgressLine(), Counted("shards")
    verdict = verify_set(
        uri,
        decode=not config.quick,
        threads=config.threads or available_cores(),
        on_shard=lambda done, total: line.show(counted(done, total)),
    )
    line.close(f"{verdict.num_shards}/{verdict.num_shards} shards")
    for problem in verdict.problems[:50]:
        say(f"  {problem}")
    if len(verdict.problems) > 50:
        say(f"  and {len(verdict.problems) - 50} more")
    checked = f"{verdict.num_videos} videos, {verdict.num_images} images in {verdict.num_shards} shards"
    say(f"{uri}: {f'{len(verdict.problems)} problems' if verdict.problems else 'whole'}: {checked}")
    dataset = read_dataset_file(uri)
    if dataset is not None:
        poses = describe_poses(dataset.poses, dataset.recipe)
        about = describe_flow(dataset.flow), poses, describe_still(dataset.counts, dataset.recipe)
        say(*(f"  {line}" for line in about if line))
    if verdict.problems:
        return 1
    if verdict.num_videos:
        shards = ShardSet.open(uri)
        say(*next_lines([train_command(uri, shards.modality, shards.splits())]))
    return 0


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, VerifyConfig, args, "kinebert verify")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
