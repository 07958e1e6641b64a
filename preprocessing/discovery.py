"""Things that register themselves: a module put into its package is found, and no list of modules is kept anywhere.

Backbones, heads, layouts of published weights, readers of data sets and optimizers are found by :func:`modules_of`.
"""

import importlib
import pkgutil
from types import ModuleType


def modules_of(package: str) -> tuple[ModuleType, ...]:
    """Import every module that lies in the package of that full name, and return them in the order of their names.

    A package's own ``__init__`` may call it with its ``__name__``. Packages inside are imported, their modules are not.
    What a module raises while it is imported is raised here.
    """
    return tuple(importlib.import_module(f"{package}.{name}") for name in names_of(package))


def names_of(package: str) -> tuple[str, ...]:
    """Return the names of the modules that lie in a package, sorted. Imports the package and none of its modules."""
    path = importlib.import_module(package).__path__
    return tuple(sorted(module.name for module in pkgutil.iter_modules(path)))
