"""Names that modules had in earlier versions: models that were registered then ask for their loader by one."""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_LOADER = "kinebert.orchestration.tracking.video_model"
MOVED = {"orchestration.video_model": _LOADER, "kinebert.orchestration.video_model": _LOADER}
"""Today's name of a module by those that stored models know it by."""
_PARENTS = {"orchestration"}
"""Packages that are no more."""


class _Forwarding(MetaPathFinder, Loader):
    """Finds the old names after every other finder has failed, so that a user's own packages come first."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in MOVED or fullname in _PARENTS:
            return ModuleSpec(fullname, self, is_package=fullname in _PARENTS)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ in MOVED:
            sys.modules[module.__name__] = importlib.import_module(MOVED[module.__name__])


def forward() -> None:
    """Let old names be imported from here on, once per process."""
    if not any(isinstance(finder, _Forwarding) for finder in sys.meta_path):
        sys.meta_path.append(_Forwarding())
