"""What is known of the runs that are compared, from folders and tables of scores; :mod:`.from_mlflow` asks MLflow."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from kinebert.orchestration.reports.figures import History
from kinebert.orchestration.reports.run_files import load_history
from kinebert.orchestration.tracking.legal_names import legal_name
from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.preprocessing import storage
from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.config import flatten, parse_toml, to_plain
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.training.evaluation.evaluate import VideoScores, read_scores
from kinebert.training.evaluation.fusion import stream_names
from kinebert.training.evaluation.view_scores import About
from kinebert.training.recipe.train import TrainRecipe
from kinebert.training.run_folder import RECIPE_FILE, SCORES_FILE, STREAMS_FOLDER, evaluation_name

FUSION = "fusion."
"""Begins the names of values that decide a fusion itself."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One training, fusion or table of scores."""

    name: str
    """Short, and of no other run of the comparison."""
    where: str
    """Folder, file, or MLflow run."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Its training's values by dotted name; of a fusion its method and weights, and every stream's values after the
    stream's name (``rgb.model.head``). Empty if they were not kept."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Further things that may differ: commit, program, state."""
    history: History = ()
    """One dictionary per epoch, see :data:`kinebert.orchestration.reports.figures.History`."""
    tables: Mapping[str, VideoScores] = field(default_factory=dict)
    """Scores by evaluation, such as ``split1-test-multi``."""
    evaluation: str = ""
    """Which of the tables is compared; empty for none."""

    @property
    def scores(self) -> VideoScores | None:
        """The table of scores that is compared; None if the run has no such evaluation."""
        return self.tables.get(self.evaluation)


def read_run(uri: str) -> Run:
    """Read a run's folder, a folder of scores, or a table of scores.

    Raises:
        UserError: If there is nothing of the kind.
    """
    if not storage.is_folder(uri):
        return _of_table(uri)
    if storage.exists(storage.join(uri, SCORES_FILE)):
        return _of_table(storage.join(uri, SCORES_FILE))
    tables = {
        name: read_scores(storage.join(uri, name, SCORES_FILE))
        for name in storage.list_folders(uri)
        if storage.exists(storage.join(uri, name, SCORES_FILE))
    }
    recipe = _recipe_in(uri)
    if not tables and not recipe:
        raise UserError(f"{uri}: no run. Give the folder of a training, or a {SCORES_FILE} of `kinebert evaluate`.")
    return Run(name=storage.name_of(uri), where=uri, recipe=recipe, history=load_history(uri), tables=tables)


def address_of(run: Run) -> RunAddress | None:
    """Return which MLflow run the folder of a training says it is; None for a table of scores, or without a word."""
    return RunAddress.load(run.where) if storage.is_folder(run.where) else None


def _of_table(uri: str) -> Run:
    scores = read_scores(uri)
    folder = str(scores.about.get("run_folder") or "")
    parent, tables = uri.rpartition("/")[0], {evaluation_of(scores, uri): scores}
    if "weights" in scores.about:
        recipe = fusion_recipe(scores, partial(_recipe_of_stream, parent))
        return Run(name=storage.name_of(parent), where=uri, recipe=recipe, tables=tables)
    known = bool(folder) and storage.exists(folder)
    return Run(
        name=storage.name_of(folder if known else parent),
        where=uri,
        recipe=_recipe_in(folder) if known else {},
        history=load_history(folder) if known else [],
        tables=tables,
    )


RecipeOf = Callable[[str, About], Mapping[str, Any]]
"""Finds the values of a stream's recipe, by the stream's name and where its scores come from; empty if not kept."""


def fusion_recipe(scores: VideoScores, recipe_of: RecipeOf = lambda name, about: {}) -> dict[str, Any]:
    """Return what decides a fusion, by dotted name: its method, the weight and model of every stream, its recipe."""
    streams = zip(scores.about.get("streams", []), scores.about["weights"], strict=False)
    return {
        f"{FUSION}method": scores.about.get("method", "l2"),
        **{
            f"{FUSION}stream {i}": f"{about.get('modality')}, {about.get('model', 'fusion')}, weight {weight:g}"
            for i, (about, weight) in enumerate(streams, start=1)
        },
        **{
            f"{name}.{key}": value
            for name, about in streams_of(scores.about).items()
            for key, value in recipe_of(name, about).items()
        },
    }


def streams_of(about: About) -> dict[str, About]:
    """Return what the streams of a fusion say of themselves, by name; those of a fusion in it as ``rgb+flow.rgb``."""
    streams = about.get("streams", [])
    found: dict[str, About] = {}
    for name, stream in zip(stream_names([one.get("modality") for one in streams]), streams, strict=True):
        inner = streams_of(stream)
        found |= {f"{name}.{key}": value for key, value in inner.items()} if inner else {name: stream}
    return found


def is_fusion(run: Run) -> bool:
    """Whether a run is a fusion of streams."""
    return f"{FUSION}method" in run.recipe


def abouts_of(run: Run) -> dict[str, About]:
    """Return where the scores that are compared come from: by stream of a fusion, else under an empty name."""
    if run.scores is None:
        return {}
    return streams_of(run.scores.about) if is_fusion(run) else {"": run.scores.about}


def recipes_of(run: Run) -> dict[str, Mapping[str, Any]]:
    """Return the recipe of every stream by its name, of a run that is no fusion under an empty name."""
    if not is_fusion(run):
        return {"": run.recipe}
    return {
        name: {key.removeprefix(f"{name}."): value for key, value in run.recipe.items() if key.startswith(f"{name}.")}
        for name in abouts_of(run)
    }


def _recipe_of_stream(folder: str, name: str, about: About) -> dict[str, Any]:
    """Read the recipe of a stream where the fusion kept it, else where the stream was trained."""
    kept, trained = storage.join(folder, STREAMS_FOLDER, name.replace("/", "_")), str(about.get("run_folder") or "")
    return _recipe_in(kept) or (_recipe_in(trained) if trained else {})


def _recipe_in(folder: str) -> dict[str, Any]:
    path = storage.join(folder, RECIPE_FILE)
    return parse_recipe(storage.read_bytes(path), path) if storage.exists(path) else {}


def parse_recipe(toml: bytes, where: str) -> dict[str, Any]:
    """Return a recipe's values by dotted name, with the defaults of what it does not say where this version knows them.

    Raises:
        UserError: If it is not TOML.
    """
    values = parse_toml(toml, where)
    with suppress(ConfigError):  # of another version; what it says is compared all the same
        values = to_plain(from_mapping(TrainRecipe, values, where))
    values.pop("tune", None)
    return flatten(values)


def evaluation_of(scores: VideoScores, uri: str = "") -> str:
    """Return what `kinebert evaluate` calls the results in a table read from ``uri``.

    A table does not say which file of the training it is of; the folder that `kinebert evaluate` chose for it does
    (``split1-test-multi-last``). In a folder of another name it counts as one of the best epoch.
    """
    name = evaluation_name(str(scores.about.get("split")), str(scores.about.get("part")), scores.views)
    folder, plain = legal_name(uri.rpartition("/")[0].rpartition("/")[2]), legal_name(name)
    return name + folder.removeprefix(plain) if folder.startswith(f"{plain}-") else name


def choose_evaluations(runs: Sequence[Run], wanted: str | None) -> list[Run]:
    """Choose for every run which of its evaluations is compared.

    Taken is the one that is asked for, or the one that all runs have (on a test part, if there are others); a run
    without that has its only one taken, which :func:`.verdict.obstacles` will find not to be comparable.

    Raises:
        ConfigError: If a choice is left, or nobody has what is asked for.
    """
    having = [run for run in runs if run.tables]
    first = having[0].tables if having else {}
    everywhere = _on_test({name: first[name] for name in first if all(name in run.tables for run in having)})
    if wanted is None and len(everywhere) > 1:
        raise ConfigError(f"the runs were tested in several ways: {', '.join(everywhere)}. Choose one with --on.")
    if wanted is not None and not any(wanted in run.tables for run in runs):
        found = ", ".join(dict.fromkeys(name for run in runs for name in run.tables)) or "none at all"
        raise ConfigError(f"no run has an evaluation {wanted!r}. There are: {found}.")
    shared = wanted or "".join(everywhere)
    return [replace(run, evaluation=_evaluation(run, shared, wanted is not None)) for run in runs]


def _evaluation(run: Run, shared: str, was_asked_for: bool) -> str:
    if shared in run.tables or was_asked_for:
        return shared if shared in run.tables else ""
    own = _on_test(run.tables)
    if len(own) > 1:
        raise ConfigError(
            f"{run.name} was tested in several ways, and none of them is that of all runs: {', '.join(own)}. Choose "
            f"one with --on, or give the {SCORES_FILE} of one."
        )
    return "".join(own)


def _on_test(tables: Mapping[str, VideoScores]) -> list[str]:
    """Names of evaluations; if just one of several is on a test part, that one."""
    test = [name for name, scores in tables.items() if scores.about.get("part") == "test"]
    return test if len(test) == 1 else list(tables)


def name_apart(runs: Sequence[Run]) -> list[Run]:
    """Give runs of the same name different ones: with the folder above, or a number."""
    names = [run.name for run in runs]
    longer = ["/".join(run.where.rstrip("/").split("/")[-2:]) for run in runs]
    if len(set(names)) < len(names) == len(set(longer)):
        names = [name if names.count(name) == 1 else long for name, long in zip(names, longer, strict=True)]
    counts: dict[str, int] = {}
    apart = []
    for run, name in zip(runs, names, strict=True):
        counts[name] = counts.get(name, 0) + 1
        apart.append(replace(run, name=name if names.count(name) == 1 else f"{name} ({counts[name]})"))
    return apart
