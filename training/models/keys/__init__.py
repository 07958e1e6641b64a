"""Published weights, read under our parameter names. One file per source; every key is accounted for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from preprocessing.errors import UserError


@dataclass(frozen=True)
class KeyMap:
    """How one source names its parameters.

    Args:
        source: Where the weights come from, for messages.
        rules: Pairs of a regular expression for whole published keys and our key (a template of its groups).
    """

    source: str
    rules: tuple[tuple[str, str], ...]

    def rename(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``state`` under our names.

        Raises:
            UserError: For a key that no rule covers, or two keys with one name.
        """
        ours: dict[str, Tensor] = {}
        for key, tensor in state.items():
            name = self._rename(key)
            if name in ours:
                raise UserError(f"{self.source} weights: {key!r} is a second {name!r}: this is another layout.")
            ours[name] = tensor
        return ours

    def load(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Put published weights into ``model``, which then holds nothing else.

        Raises:
            UserError: If a key is not known, is missing, is left over, or has another shape.
        """
        ours, wanted = self.rename(state), model.state_dict()
        missing, extra = sorted(wanted.keys() - ours.keys()), sorted(ours.keys() - wanted.keys())
        if missing or extra:
            raise UserError(
                f"{self.source} weights do not fit this network: {len(missing)} keys are missing{_first(missing)}, "
                f"{len(extra)} have no place in it{_first(extra)}."
            )
        for key, tensor in ours.items():
            if tensor.shape != wanted[key].shape:
                raise UserError(
                    f"{self.source} weights do not fit this network: {key} has the shape {tuple(tensor.shape)}, "
                    f"the network's is {tuple(wanted[key].shape)}."
                )
        model.load_state_dict(ours)

    def _rename(self, key: str) -> str:
        for pattern, template in self.rules:
            match = re.fullmatch(pattern, key)
            if match:
                return match.expand(template)
        raise UserError(f"{self.source} weights: the key {key!r} is not known: this is another layout.")


def _first(keys: list[str]) -> str:
    return f" (such as {keys[0]})" if keys else ""
