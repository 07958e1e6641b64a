"""Commands and versions that infra/ names: programs and their options are there, versions are the tested ones."""

import contextlib
import importlib
import io
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kinebert.pipelines import options
from kinebert.pipelines.cli import PROGRAMS
from kinebert.preprocessing.errors import ConfigError
from tests.helpers.infra_files import CONSTRAINTS, INFRA, checked, commands, documents, infra_files, program
from tests.helpers.kubernetes_files import of_files, pods
from tests.helpers.paths import ROOT
from tests.helpers.requirements import imported


def found() -> Iterator[tuple[str, list[str]]]:
    """Where a command of kinebert stands, and its words."""
    for path in infra_files():
        if path.suffix in ("", ".md", ".sh", ".sbatch") and path.name != "Dockerfile":
            yield from ((str(path.relative_to(ROOT)), words) for words in commands(path.read_text()))
    for job in of_files("jobs"):
        yield f"job {job['metadata']['name']}", shlex.split(job["spec"]["entrypoint"])


COMMANDS = [*found()]


def understood(words: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a program understands of its command line, without anything being run; a recipe is read."""
    assert words[0] in PROGRAMS, f"there is no program {words[0]}"
    module = importlib.import_module(f"kinebert.pipelines.{PROGRAMS[words[0]][0]}")

    def parse(main: Any, cls: Any, args: Any, prog: str, from_file: bool = False, presets: Any = None) -> Any:
        return options.parse(cls, args, prog, from_file, presets)

    monkeypatch.setattr(module, "run", parse, raising=False)
    config = module.cli(words[1:])
    if hasattr(config, "overrides") and not Path(str(config.recipe)).suffix:
        options.load_recipe(config.recipe, config.overrides)
    return config


@pytest.mark.parametrize(
    ("where", "words"), COMMANDS, ids=[f"{where}: {' '.join(words[:2])}" for where, words in COMMANDS]
)
def test_programs_understand_their_commands(where: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    told = io.StringIO()
    with contextlib.redirect_stderr(told):
        try:
            understood(words[1:], monkeypatch)
            if words[1] == "submit":
                understood(words[words.index("--") + 1 :], monkeypatch)
        except SystemExit:
            pytest.fail(told.getvalue())


def test_every_way_has_its_commands() -> None:
    places = [where for where, _ in COMMANDS]
    assert {"infra/README.md", "job index", "job extract", "job train", "job tune"} <= {*places}


def test_a_wrong_option_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit), contextlib.redirect_stderr(io.StringIO()):
        understood(["extract", "--manifest", "m", "--frames", "f", "--flow", "f", "--worker", "3"], monkeypatch)
    with pytest.raises(ConfigError, match="worker"):
        understood(["train", "rgb", "--set", "worker=3"], monkeypatch)


def options_of(command: Any) -> set[str]:
    return {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}


@pytest.mark.slow  # both take long to import
def test_ray_and_mlflow_have_the_options_that_are_given() -> None:
    scripts, mlflow_cli = imported("ray.scripts.scripts", "ray"), importlib.import_module("mlflow.cli")
    known = {"ray": options_of(scripts.cli.commands["start"]), "mlflow": options_of(mlflow_cli.cli.commands["server"])}
    (compose,) = documents(INFRA / "docker" / "compose.yaml")
    lines = [service["command"] for service in compose["services"].values() if "command" in service]
    lines += [one["command"] for _, spec in pods(of_files("base")) for one in spec["containers"] if "command" in one]
    ours = [line for line in lines if line[0] in known]
    assert [line[:2] for line in ours].count(["ray", "start"]) == 2
    for line in ours:
        given = {word.partition("=")[0] for word in line if word.startswith("--")}
        assert given <= known[line[0]], line
    (cluster,) = (one for one in of_files("base") if one["kind"] == "RayCluster")
    for group in [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]:
        assert {f"--{key}" for key in group["rayStartParams"]} <= known["ray"]
    launched = [
        line
        for path in (INFRA / "ray").glob("*.yaml")
        for key in ("head_start_ray_commands", "worker_start_ray_commands")
        for line in documents(path)[0][key]
    ]
    assert {*re.findall(r" (--[\w-]+)", " ".join(launched))} <= known["ray"]
    (of_slurm,) = re.findall(
        r"ray symmetric-run (.*?) -- ", re.sub(r"\\\n", "", (INFRA / "slurm" / "kinebert.sbatch").read_text())
    )
    symmetric = options_of(scripts.cli.commands["symmetric-run"])
    given = {*re.findall(r"(--[\w-]+)", of_slurm)}
    assert len(given) == 4
    assert given <= symmetric | known["ray"]


def test_yamllint_finds_nothing() -> None:
    files = [str(path) for path in infra_files() if path.suffix in (".yaml", ".yml")]
    checked(program("yamllint"), "--strict", "--config-file", str(INFRA / "yamllint.yaml"), *files)


def test_what_is_json_can_be_read() -> None:
    for path in infra_files():
        if path.suffix == ".json":
            json.loads(path.read_text())


def test_versions_are_those_that_are_tested() -> None:
    for path in infra_files():
        for name, version in re.findall(r"\b(ray|torch|mlflow|kinebert)(?:==|:)(\d+(?:\.\d+)+)", path.read_text()):
            assert version == CONSTRAINTS.get(name), f"{path.relative_to(ROOT)}: {name} {version}"


def test_prices_are_multiplied_right() -> None:
    page = (INFRA / "README.md").read_text()
    vcpu, node, gigabyte = (float(price) for price in re.findall(r"\$(0\.0425|39\.33|0\.023)\b", page))
    rows = re.findall(
        r"^\| [^|]+ \| ([\d.,]+)(?: to ([\d.]+))? (core hours|h|GB) \| (\d+)(?: to (\d+))?", page, re.MULTILINE
    )
    each = {"core hours": 2 * vcpu, "h": node, "GB": gigabyte}
    assert len(rows) == 4
    for low, high, unit, first, last in rows:
        assert round(float(low.replace(",", "")) * each[unit]) == int(first)
        assert not high or round(float(high) * each[unit]) == int(last)
    scale = (ROOT / "docs" / "scale.md").read_text()
    assert "112.7" in scale
    assert int(re.findall(r"([\d,]+) GB \|", page)[0].replace(",", "")) == 1778 + 749
