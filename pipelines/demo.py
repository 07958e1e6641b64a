"""The whole job on generated videos: index, extract, train three recognizers, evaluate, fuse, compare.

kinebert demo --output demo
kinebert demo --output demo --distill
"""

import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from kinebert.orchestration.printing import Table, say
from kinebert.orchestration.progress import ProgressLine, duration
from kinebert.pipelines.demo_distillation import KINDS, SEEDS, say_verdict, teach
from kinebert.pipelines.options import NOT_RECORDED, run
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.machine import available_cores
from kinebert.preprocessing.storage import check_writable, is_local, resolve_uri
from kinebert.training.run_folder import BEST_FILE, SCORES_FILE

RECIPES = Path(__file__).parent / "recipes" / "demo"
STREAMS = {
    "rgb_tgap": "RGB, resnet18 + tgap",
    "rgb_bert": "RGB, resnet18 + bert",
    "flow_bert": "flow, resnet18 + bert",
    "two_stream": "two-stream (RGB bert + flow bert)",
}
GOAL_TWO_STREAM, GOAL_ORDER_GAIN, GOAL_TGAP_ORDER = 0.90, 0.30, 0.65


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Run the whole job on generated videos: half of the classes differ by direction, half by order alone.

    Every step is one of the programs, shown as the command that it is. Run again to continue.
    """

    output: str = "demo"
    """Local folder for everything that the demo makes."""
    videos_per_class: int = 60
    """Videos of each of the 8 classes."""
    seed: int = 0
    """Decides the videos, the split, and the trainings."""
    distill: bool = False
    """Show distillation instead: an RGB network without BERT that the flow stream teaches, against the same network
    alone, three seeds each."""
    student_epochs: int = 12
    """With --distill, epochs of every student."""


@dataclass
class _Clock:
    """How long the steps took."""

    steps: list[tuple[str, float]] = field(default_factory=list)

    def step(self, about: str, program: Callable[[list[str]], int], name: str, *args: str) -> None:
        """Run one program, as its command line says; a failure ends the demo."""
        say("", f"== {about}", f"$ kinebert {name} {shlex.join(args)}")
        start = time.monotonic()
        status = program(list(args))
        self.steps.append((about, time.monotonic() - start))
        if status == 130:  # Ctrl-C was for all of it
            raise KeyboardInterrupt
        if status == NOT_RECORDED:
            return  # it has said what MLflow lacks; the work is there
        if status:
            raise UserError(f"demo: kinebert {name} ended with status {status}; its words are above.")


def main(config: DemoConfig) -> int:
    """Run the demo and return 0 if it shows what it is to show, else 1."""
    if config.student_epochs < 1:
        raise ConfigError(f"student_epochs must be at least 1, got {config.student_epochs}.")
    output = resolve_uri(config.output)
    if not is_local(output):
        raise ConfigError(f"{output}: the demo works in a local folder.")
    check_writable(output)
    from kinebert.orchestration.cluster import cluster  # slow imports
    from kinebert.pipelines import evaluate, extract_flow, extract_frames, fuse, index_videos, train

    start, clock, folder = time.monotonic(), _Clock(), Path(output)
    say(f"the whole job on {available_cores()} cores, in {folder}")
    _generate(config, folder, clock)
    manifest, sets, runs = str(folder / "manifest.parquet"), folder / "sets", folder / "runs"
    store = f"sqlite:///{folder / 'mlflow.db'}"
    with ExitStack() as stack:
        index = ["folder", str(folder / "videos"), "--output", manifest, "--val", "0.135", "--test", "0.265"]
        clock.step("index the videos", index_videos.cli, "index", *index, "--seed", str(config.seed))
        stack.enter_context(cluster())  # one for all steps: starting it takes seconds
        for kind, program in (("frames", extract_frames.cli), ("flow", extract_flow.cli)):
            options = ["--config", str(RECIPES / f"{kind}.toml"), "--manifest", manifest, "--output", str(sets / kind)]
            clock.step(f"extract {kind}", program, f"extract-{kind}", *options)

        def train_and_test(recipe: str, changes: Sequence[str], name: str) -> None:
            shards = sets / ("flow" if name.startswith("flow") else "frames")
            options = [recipe, "--set", f"data.shards={shards}", *changes]
            if recipe == "demo/distill":
                options += [f"distill.teacher={runs / 'flow_bert' / BEST_FILE}", f"distill.shards={sets / 'flow'}"]
            options += ["--output", str(runs / name), "--tracking-uri", store, "--experiment", "demo"]
            about = STREAMS.get(name, name.replace("_", ", seed "))
            clock.step(f"train {about}", train.cli, "train", *options)
            options = [str(runs / name / BEST_FILE), "--views", "multi", "--output", str(folder / "scores" / name)]
            clock.step(f"evaluate {about}", evaluate.cli, "evaluate", *options)

        if config.distill:
            teach(train_and_test, config.student_epochs, config.seed)
            return _distilled(folder, store, clock, time.monotonic() - start)
        for name in ("rgb_tgap", "rgb_bert", "flow_bert"):
            train_and_test(f"demo/{name}", [f"seed={config.seed}"], name)
    scores = [str(folder / "scores" / name / SCORES_FILE) for name in ("rgb_bert", "flow_bert")]
    options = [*scores, "--output", str(folder / "scores" / "two_stream"), "--tracking-uri", store]
    clock.step("fuse the two streams", fuse.cli, "fuse", *options, "--experiment", "demo")
    return _verdict(folder, store, clock, time.monotonic() - start)


def _generate(config: DemoConfig, folder: Path, clock: _Clock) -> None:
    """Make the videos; those of an earlier run are replaced by the same bytes."""
    from kinebert.preprocessing.datasets.synthetic import SYNTHETIC_CLASSES, write_synthetic_videos  # slow imports

    about = f"generate {config.videos_per_class * len(SYNTHETIC_CLASSES)} videos in {len(SYNTHETIC_CLASSES)} classes"
    say("", f"== {about}")
    start, line = time.monotonic(), ProgressLine()
    write_synthetic_videos(
        folder / "videos",
        videos_per_class=config.videos_per_class,
        seed=config.seed,
        progress=lambda done, total: line.show(lambda: f"{done}/{total} videos"),
    )
    line.close(f"{config.videos_per_class * len(SYNTHETIC_CLASSES)} videos written")
    clock.steps.append((about, time.monotonic() - start))
    say(f"in {folder / 'videos'}: {', '.join(SYNTHETIC_CLASSES)}")


def _verdict(folder: Path, store: str, clock: _Clock, seconds: float) -> int:
    """Print what was measured on the held-out videos, and whether it is what the demo is to show."""
    from kinebert.orchestration.reports.formatting import percent
    from kinebert.orchestration.tracking.store import page_command
    from kinebert.preprocessing.datasets.synthetic import DIRECTION_CLASSES, ORDER_CLASSES

    found = {name: _accuracies(folder / "scores" / name / SCORES_FILE) for name in STREAMS}
    say("", "== result: top-1 on the held-out videos, percent")
    rows = [[about, *map(percent, found[name])] for name, about in STREAMS.items()]
    say(Table(header=["", "all", "direction", "order"], rows=rows))
    say(
        f"order: {', '.join(ORDER_CLASSES)}, which come in pairs of the same frames in two orders; whoever tells the",
        "pair but not the order is right in 50 % of them. direction: " + ", ".join(DIRECTION_CLASSES),
    )
    say("", "== time")
    for about, step_s in clock.steps:
        say(f"{duration(step_s):>12}  {about}")
    say(f"{duration(seconds):>12}  in all")
    gain = found["rgb_bert"][2] - found["rgb_tgap"][2]
    shown = found["two_stream"][0] >= GOAL_TWO_STREAM and gain >= GOAL_ORDER_GAIN
    shown = shown and found["rgb_tgap"][2] <= GOAL_TGAP_ORDER
    say("", f"{'shown' if shown else 'NOT shown'}:")
    say(f"  two-stream {found['two_stream'][0]:.1%} ({GOAL_TWO_STREAM:.0%} expected)")
    say(f"  bert {100 * gain:.0f} points above tgap on order ({100 * GOAL_ORDER_GAIN:.0f} expected)")
    say(f"  tgap {found['rgb_tgap'][2]:.1%} on order (at most {GOAL_TGAP_ORDER:.0%} expected)")
    say(f"report:    {folder / 'scores' / 'two_stream' / 'report' / 'report.md'}")
    say(f"all runs:  {page_command(store)}   (then open http://127.0.0.1:5000)")
    say("your own:  kinebert index folder VIDEOS --output manifest.parquet   (one sub-folder of VIDEOS per class)")
    return 0 if shown else 1


def _distilled(folder: Path, store: str, clock: _Clock, seconds: float) -> int:
    """Print what a teacher was worth, and return 0 if that is seen, else 1."""
    from kinebert.orchestration.tracking.store import page_command

    names = ["flow_bert", *(f"{kind}_{number}" for kind in KINDS for number in SEEDS)]
    shown = say_verdict({name: _accuracies(folder / "scores" / name / SCORES_FILE) for name in names})
    say("", "== time")
    for about, step_s in clock.steps:
        say(f"{duration(step_s):>12}  {about}")
    say(f"{duration(seconds):>12}  in all")
    say(f"all runs:  {page_command(store)}   (then open http://127.0.0.1:5000)")
    return 0 if shown else 1


def _accuracies(scores_file: Path) -> tuple[float, float, float]:
    """Top-1 on all videos, on those of the direction classes, and on those of the order classes."""
    import numpy as np

    from kinebert.preprocessing.datasets.synthetic import DIRECTION_CLASSES, ORDER_CLASSES
    from kinebert.training.evaluation.evaluate import read_scores
    from kinebert.training.evaluation.metrics import measure

    scores = read_scores(str(scores_file))
    names = np.array([scores.classes[label] for label in scores.labels])
    halves = [np.isin(names, DIRECTION_CLASSES), np.isin(names, ORDER_CLASSES)]
    direction, order = (measure(scores.scores[half], scores.labels[half]).top[1] for half in halves)
    return scores.metrics().top[1], direction, order


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, DemoConfig, args, "kinebert demo")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
