"""List the recipes that come with the project, show or copy one, or explain the keys of recipes.

kinebert recipes
kinebert recipes show rgb
kinebert recipes copy own/flow --output mine.toml
kinebert recipes --keys model.head
"""

import inspect
import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from kinebert.orchestration.printing import Paragraph, say, say_json
from kinebert.pipelines.options import run
from kinebert.preprocessing.config import toml_value
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.recipe_names import advice, named_file, recipe_names
from kinebert.preprocessing.storage import explained
from kinebert.training.recipe.keys import Key, keys_below
from kinebert.training.recipe.summary import Summary, summary

_TRAIN = "kinebert train {} --set data.shards=SET"
Action = Literal["list", "show", "copy"]
TABLES_FROM_HERE = "<!-- From here on by `kinebert recipes --paper-tables docs/recipes.md`. -->\n"
"""After this line of a page of recipes, everything is written by the program."""


@dataclass(frozen=True, kw_only=True)
class RecipesConfig:
    """List the recipes that come with the project: what each is for, its network, its data, and what it costs.

    Programs take them by these names wherever they take a recipe file: kinebert train rgb, kinebert extract-flow
    --config ut_interaction/flow. Where there is a file of that name, the file is taken.
    """

    action: Annotated[tyro.conf.Positional[Action], tyro.conf.arg(metavar="[list|show|copy]")] = "list"
    """list them (those whose names begin with NAME, if one is given), show the file of NAME, or copy it to change
    it."""
    name: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[NAME]")] = None
    """A recipe, such as rgb or eccv2020/table4_rgb_bert."""
    output: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """With copy, the file to write; by default NAME's last part and .toml, in this folder. None is overwritten."""
    keys: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="KEY")] = None
    """Explain these keys of a training's recipe instead, or all below a table: model.head, optim. Without KEY: all."""
    paper_tables: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the rows of the papers' tables, their accuracies and the recipes that train them, at the end of a Markdown
    file that says where, and nothing else."""
    json: bool = False
    """Print JSON."""


def main(config: RecipesConfig) -> int:
    """List, show, copy or explain, and return the exit status."""
    if config.keys is not None:
        return _explain(config, [key for prefix in config.keys or ("",) for key in keys_below(prefix)])
    if config.paper_tables is not None:
        return _write_paper_tables(Path(config.paper_tables))
    if config.action == "list":
        return _list(config)
    if config.name is None:
        raise ConfigError(f"kinebert recipes {config.action} NAME: which recipe? `kinebert recipes` lists them.")
    text = named_file(config.name).read_text(encoding="utf-8")
    if config.action == "show":
        say(*text.splitlines())
        return 0
    path = Path(config.output or f"{config.name.rpartition('/')[2]}.toml")
    with explained(str(path), "write the copy"):
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise UserError(f"{path}: is there already, and nothing is overwritten. Give another --output.") from None
    say(f"copied {config.name} to {path}")
    if summary(config.name).network:
        say(f"next: {_TRAIN.format(shlex.quote(str(path)))}")
    return 0


def _write_paper_tables(page: Path) -> int:
    with explained(str(page), "write these tables"):
        prose, mark, _ = page.read_text(encoding="utf-8").partition(TABLES_FROM_HERE)
        if not mark:
            raise UserError(f"{page}: expected a line {TABLES_FROM_HERE.strip()}, after which the tables go.")
        page.write_text(prose + mark + tables(), encoding="utf-8")
    say(f"tables: {page}")
    return 0


def tables() -> str:
    """Return every recipe of a training with what it costs, and the rows of the papers that they train."""
    from kinebert.training.models.sizes.papers.page import recipes_tables  # imports torch

    found = [one for one in map(summary, sorted(recipe_names(), key=_of_others)) if one.network]
    lines = [f"| `{one.name}` | `{one.network}` | {one.data} | {one.cost} |" for one in found]
    head = "\n## All recipes\n\n| recipe | network | clips | cost |\n|---|---|---|---|\n"
    return head + "\n".join(lines) + "\n" + recipes_tables()


def _list(config: RecipesConfig) -> int:
    names = [name for name in recipe_names() if name.startswith(config.name or "")]
    found = [summary(name) for name in sorted(names, key=_of_others)]
    if not found:
        raise ConfigError(f"There is no recipe whose name begins with {config.name!r}. {advice(config.name or '')}")
    if config.json:
        say_json([asdict(one) for one in found])
        return 0
    for one in found:
        say(*_lines(one))
    say("", "next: kinebert recipes show NAME", "      kinebert recipes copy NAME", f"      {_TRAIN.format('NAME')}")
    return 0


def _of_others(name: str) -> bool:
    """Whether a recipe is for other data than one's own; those for one's own come first."""
    return "/" in name and not name.startswith("own/")


def _lines(one: Summary) -> Iterator[str | Paragraph]:
    yield one.name
    yield Paragraph(text=one.purpose, indent=4)
    if one.network:
        yield Paragraph(text=f"{one.network}; {one.data}", indent=4)
        yield Paragraph(text=one.cost, indent=4)
    else:
        yield "    settings of an extraction, for its --config"


def _explain(config: RecipesConfig, keys: list[Key]) -> int:
    more = {key.name: _choices(key.name) for key in keys} if config.keys else {}
    if config.json:
        say_json([{**asdict(key), **({"choices": more[key.name]} if more.get(key.name) else {})} for key in keys])
        return 0
    for key in keys:
        say(f"{key.name} = {_default(key)}", Paragraph(text=key.about, indent=4))
        say(Paragraph(text=f"({key.kind})", indent=4))
        for name, options in more.get(key.name, {}).items():
            say(Paragraph(text=f"{name}{': ' * bool(options)}{options}", indent=4, hanging=4))
    return 0


def _default(key: Key) -> str:
    if key.required:
        return "(must be given)"
    return "(nothing)" if key.default is None else toml_value(key.default)


def _choices(name: str) -> dict[str, str]:
    """Return what there is to choose from by name, with the options of each where these are asked for."""
    part, _, options = name.removeprefix("model.").partition("_")
    if part not in ("backbone", "head") or options not in ("", "options") or not name.startswith("model."):
        return {}
    from kinebert.training.models import registry  # a slow import, for these keys only

    known = registry.BACKBONES if part == "backbone" else registry.HEADS
    defaults = registry.backbone_options if part == "backbone" else registry.head_options
    if not options:
        return {one: _first_line(known[one]) for one in sorted(known)}
    found = {one: defaults(one, {}) for one in sorted(known)}
    return {one: ", ".join(f"{k} = {toml_value(v)}" for k, v in given.items()) for one, given in found.items() if given}


def _first_line(entry: Any) -> str:
    """Return what the function says of itself that builds a backbone (whose entry holds it) or a head."""
    return (inspect.getdoc(getattr(entry, "build", entry)) or "").partition("\n")[0]


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, RecipesConfig, args, "kinebert recipes")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
