"""Other pages that get the numbers of a run beside MLflow, under the same names: TensorBoard and Weights & Biases.

None is written unless it is asked for, and none can end a training: one that fails is left, and said once.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kinebert.orchestration.printing import warn
from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.lookup import suggest


class Mirror(Protocol):
    """One page that numbers go to. Whatever it raises ends it, and nothing else.

    What it has of a run that is gone on with is not written again.
    """

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Take numbers of one step by their names in MLflow."""

    def params(self, values: Mapping[str, Any]) -> None:
        """Take parameters by name, once, before any number."""

    def image(self, name: str, picture_HWC: NDArray[np.uint8], step: int) -> None:
        """Take a picture, ``(H, W, 3)``, RGB."""

    def close(self) -> None:
        """Write what is left."""


class Mirrors:
    """All mirrors of a run; one that fails is left out from then on.

    Args:
        names: Which.
        folder: Of the run.
        address: Of the run in MLflow.
    """

    def __init__(self, names: Sequence[str] = (), folder: str = "", address: RunAddress | None = None) -> None:
        self._mirrors: dict[str, Mirror] = {}
        for name in dict.fromkeys(names):
            assert address is not None, "a mirror is one of a run"
            try:  # imported here: packages that not everybody has
                made: Mirror = import_module(f"{__name__}.{_MODULES[name]}").open_mirror(folder, address)
            except Exception as error:
                _tell(name, error)
            else:
                self._mirrors[name] = made

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Hand numbers of one step to every mirror."""
        self._all("metrics", values, step)

    def params(self, values: Mapping[str, Any]) -> None:
        """Hand parameters to every mirror."""
        self._all("params", values)

    def image(self, name: str, picture_HWC: NDArray[np.uint8], step: int) -> None:
        """Hand a picture, ``(H, W, 3)``, RGB, to every mirror."""
        self._all("image", name, picture_HWC, step)

    def close(self) -> None:
        """Close all mirrors; what is told later goes nowhere."""
        self._all("close")
        self._mirrors.clear()

    def _all(self, what: str, *args: Any) -> None:
        for name, mirror in list(self._mirrors.items()):
            try:
                getattr(mirror, what)(*args)
            except Exception as error:  # a page is worth less than what it shows
                del self._mirrors[name]
                _tell(name, error)


_MODULES = {"tensorboard": "event_files", "wandb": "wandb_runs"}
_PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb"}


def check_mirrors(names: Sequence[str], folder: str) -> None:
    """Make sure that the packages of mirrors are there, and that they can write beside a run in ``folder``.

    Raises:
        ConfigError: If not, or there is no such mirror; it says what to install.
    """
    for name in names:
        if name not in _PACKAGES:
            raise ConfigError(f"there is no mirror {name!r}. {suggest(name, _PACKAGES)}")
        if find_spec(_PACKAGES[name]) is None:
            raise ConfigError(
                f"--mirror {name}: the package {_PACKAGES[name]} is not installed. Install it: pip install "
                f"'kinebert[{name}]'; or leave --mirror out, MLflow has it all."
            )
        if not storage.is_local(folder):
            raise ConfigError(f"--mirror {name}: {folder} is no folder of this machine, where a mirror writes.")


def _tell(name: str, error: Exception) -> None:
    reason = next(iter(str(error).splitlines()), type(error).__name__)[:200]
    warn(f"the mirror {name} fails and is left out from here on; MLflow has it all: {reason}")
