"""Backbones and heads by name, each a function whose keyword-only arguments are its options.

A module registers what it has with :func:`register_backbone` or :func:`register_head`.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.lookup import find, suggest
from kinebert.preprocessing.modalities import modality_of
from kinebert.training.models.inputs import Normalization
from kinebert.training.models.interfaces import Backbone, Head


@dataclass(frozen=True)
class BackboneEntry:
    """A backbone's builder, called with ``channels_in``, ``width`` and options, and its normalisation by modality."""

    build: Callable[..., Backbone]
    normalization: Mapping[str, Normalization]
    head_options: Mapping[str, Any]
    """Options that its published heads have instead of their own defaults."""


BACKBONES: dict[str, BackboneEntry] = {}
"""Every backbone by name."""
HEADS: dict[str, Callable[..., Head]] = {}
"""Every head's builder by name, called with the sizes of the backbone's features and options."""
BACKBONE_OPTIONS: dict[str, Mapping[str, Any]] = {}
"""Options that a head's published backbones have instead of their own defaults, by the head's name."""
REDUCTIONS: dict[str, Callable[[Backbone, int], None]] = {
    "frab": lambda backbone, width: backbone.reduce_append(width),
    "frmb": lambda backbone, width: backbone.reduce_replace(width),
}
"""Functions that make a backbone narrower in place: they append a block (FRAB), or modify the last one (FRMB)."""

BackboneBuilder = TypeVar("BackboneBuilder", bound=Callable[..., Backbone])
HeadBuilder = TypeVar("HeadBuilder", bound=Callable[..., Head])


def register_backbone(
    head_options: Mapping[str, Any] | None = None, **normalization: Normalization
) -> Callable[[BackboneBuilder], BackboneBuilder]:
    """Make ``build(channels_in, width, *, options)`` available under its own name.

    Its keyword-only arguments are options, plain values with defaults. ``normalization`` says what it expects for each
    modality that it takes, ``head_options`` with which options heads were published on it, where a head has them.
    """

    def register(build: BackboneBuilder) -> BackboneBuilder:
        _add(BACKBONES, build.__name__, BackboneEntry(build, normalization, head_options or {}), "backbones")
        return build

    return register


def register_head(build: HeadBuilder, backbone_options: Mapping[str, Any] | None = None) -> HeadBuilder:
    """Make ``build(num_features, num_steps, *, options)`` available under its own name.

    A head that takes several pathways is ``build(path_features, path_steps, *, options)``. ``backbone_options`` says
    with which options backbones were published under it, where a backbone has them.
    """
    _add(HEADS, build.__name__, build, "heads")
    BACKBONE_OPTIONS[build.__name__] = backbone_options or {}
    return build


def head_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Complete ``options`` of the head called ``name`` with its defaults.

    Raises:
        ConfigError: For an unknown head, or an option that it does not have.
    """
    return _complete(find(HEADS, name, "head"), options, f"head {name!r}")


def backbone_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Complete ``options`` of the backbone called ``name`` with its defaults.

    Raises:
        ConfigError: For an unknown backbone, or an option that it does not have.
    """
    return _complete(find(BACKBONES, name, "backbone").build, options, f"backbone {name!r}")


def joint_options(
    backbone: str, of_backbone: Mapping[str, Any], head: str, of_head: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Complete the options of a backbone and of the head on it.

    What is given counts first, then that with which the two were published together, then each part's own default.

    Raises:
        ConfigError: For an unknown backbone or head, or an option that it does not have.
    """
    own_backbone, own_head = backbone_options(backbone, {}), head_options(head, {})
    for_backbone = {name: value for name, value in BACKBONE_OPTIONS[head].items() if name in own_backbone}
    for_head = {name: value for name, value in BACKBONES[backbone].head_options.items() if name in own_head}
    return backbone_options(backbone, {**for_backbone, **of_backbone}), head_options(head, {**for_head, **of_head})


def normalization_of(backbone: str, modality: str) -> Normalization:
    """Return how a backbone wants the bytes of a modality: in its own way, or, if it names none, as the modality says.

    Raises:
        ConfigError: If neither says anything.
    """
    known, own = find(BACKBONES, backbone, "backbone").normalization, modality_of(modality)
    if modality in known:
        return known[modality]
    if own.mean is None or own.std is None:
        raise ConfigError(f"The backbone {backbone!r} does not take {modality}, only {', '.join(known)}.")
    return Normalization(mean=own.mean, std=own.std)


def takes_paths(head: str) -> bool:
    """Whether the head of that name is built from the sizes of several pathways."""
    return "path_features" in inspect.signature(find(HEADS, head, "head")).parameters


def _complete(build: Callable[..., Any], options: Mapping[str, Any], owner: str) -> dict[str, Any]:
    parameters = inspect.signature(build).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    for option in options:
        if option not in defaults:
            raise ConfigError(f"The {owner} has no option {option!r}. {suggest(option, defaults)}")
    return {**defaults, **options}


def _add(entries: dict[str, Any], name: str, entry: object, kind: str) -> None:
    if name in entries:
        raise ValueError(f"two {kind} are called {name!r}: rename one of them")
    entries[name] = entry
