"""Command-line options of every program: a recipe file first, single values on top of it."""

import dataclasses
import inspect
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Annotated, Any, TypeVar

import tyro

from kinebert.orchestration.printing import warn
from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.config import flatten, load_config, nested, read_toml
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.plain_text import visible
from kinebert.training.recipe.train import TrainRecipe

T = TypeVar("T")
NOT_RECORDED = 3
"""Exit status where the work is done and lies in its folder, but MLflow lacks something of it, which was said."""
Overrides = tyro.conf.UseAppendAction[
    Annotated[tuple[tuple[str, ...], ...], tyro.conf.arg(name="set", metavar="KEY=VALUE ...")]
]
"""The option ``--set``, given as often as one likes; :func:`load_recipe` takes what it has gathered."""
_ABOUT_CONFIG = (
    "--config FILE reads a TOML recipe with the same names, or one that comes with the project by its name (`kinebert "
    "recipes`); options given here override it."
)


_PRESET = "preset"
Presets = Mapping[str, Mapping[str, Any]]
"""Values by the name that ``--preset`` (or ``preset`` in a recipe file) chooses them by."""


def parse(
    cls: type[T], args: Sequence[str], program: str, from_file: bool = False, presets: Presets | None = None
) -> T:
    """Build a ``cls`` from options and, with ``from_file``, from the ``--config FILE`` that they override.

    A preset comes first: what the file says of single values goes over it, and what options say over both. An option
    ``--preset`` takes the place of the file's ``preset``.

    Raises:
        ConfigError: If the file does not fit ``cls``.
        SystemExit: With status 2 for wrong options, 0 for ``--help``; both are explained to the user first.
    """
    rest, config = list(args), None
    for i, arg in enumerate(rest if from_file else ()):
        if arg == "--config" or arg.startswith("--config="):
            given = arg.partition("=")[2] if "=" in arg else "".join(rest[i + 1 : i + 2])
            if not given:
                raise ConfigError("--config needs the path of a TOML file.")
            config = given
            del rest[i : i + (1 if "=" in arg else 2)]
            break
    default: Any = None
    values: dict[str, Any] = nested(cls, read_toml(config)) if config is not None else {}
    name = _option(rest, _PRESET) or values.get(_PRESET)
    if presets is not None and isinstance(name, str) and name in presets:
        values = {**_over(values, presets[name]), _PRESET: name}
    if values or config is not None:
        absent = {field.name: tyro.MISSING for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        default = from_mapping(cls, values, where=config or f"--{_PRESET}", absent=absent)
    about = "\n\n".join([inspect.getdoc(cls) or "", *([_ABOUT_CONFIG] if from_file else [])])
    options: T = tyro.cli(cls, args=rest, default=default, prog=program, description=about)
    return options


def load_recipe(path: str, overrides: Sequence[Sequence[str]]) -> TrainRecipe:
    """Read the recipe of a training, with the values of ``--set`` in place of its own.

    Raises:
        ConfigError: If the file is not there, or is no such recipe.
    """
    return load_config(TrainRecipe, path, list(chain.from_iterable(overrides)))


def set_by(path: str, overrides: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return who sets the values of a recipe that are no defaults, by dotted names: ``--set``, or the file at ``path``.

    Raises:
        ConfigError: As :func:`load_recipe`.
    """
    in_file = flatten(read_toml(path))
    return {
        **dict.fromkeys(in_file, visible(path)),
        **dict.fromkeys(flatten(read_toml(None, list(chain(*overrides)))), "--set"),
    }


def _option(args: Sequence[str], name: str) -> str | None:
    """The text that ``args`` give an option."""
    for i, arg in enumerate(args):
        if arg == f"--{name}":
            return "".join(args[i + 1 : i + 2])
        if arg.startswith(f"--{name}="):
            return arg.partition("=")[2]
    return None


def _over(values: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with every single one of ``values`` in place of its own."""
    merged = {**base, **values}
    for key, value in base.items():
        if isinstance(value, Mapping) and isinstance(values.get(key), Mapping):
            merged[key] = _over(values[key], value)
    return merged


def run(
    main: Callable[[Any], int],
    cls: type[Any],
    args: Sequence[str],
    program: str,
    from_file: bool = False,
    presets: Presets | None = None,
) -> int:
    """Parse ``args`` and run ``main``: a mistake ends in one line and status 2, a bug in a traceback.

    Ctrl-C and SIGTERM (``ray job stop``, a batch system) end the program as an error would: it tidies up behind itself.
    """
    before: Any = None
    terminated = threading.Event()

    def terminate(*_: object) -> None:
        terminated.set()
        raise SystemExit(143)

    if threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGTERM, terminate)
    try:
        return main(parse(cls, args, program, from_file, presets))
    except UserError as error:
        warn(f"error: {error}")
        return 2
    except (KeyboardInterrupt, SystemExit) as end:
        if terminated.is_set():  # Ray, if it was waiting, makes an exit with status 1 of ours
            warn("terminated; run the same command again to continue")
            return 143
        if isinstance(end, SystemExit):
            raise
        warn("interrupted; run the same command again to continue")
        return 130
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
