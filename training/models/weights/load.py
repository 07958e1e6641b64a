"""Published weights into our networks, with an account of every one of them.

A file's layout (which source, which names) is recognised from its keys; see :mod:`.keys`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.lookup import find
from kinebert.training.models.inputs import InputSpec, Normalization, joined_spec
from kinebert.training.models.recognizer import Recognizer
from kinebert.training.models.sizes.unallocated import build_unallocated
from kinebert.training.models.weights.accounting import Draft, Report, Rules, Target
from kinebert.training.models.weights.files import (
    own_normalization,
    own_streams,
    read_content,
    strip_prefixes,
    told_aside,
    unwrap,
)
from kinebert.training.models.weights.keys import Inflation, Layout, layouts
from kinebert.training.models.weights.sources import local_weights

State = TypeVar("State", bound=Mapping[str, Any])


class WeightsError(UserError):
    """Weights do not fit the network. ``report`` says all about it."""

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> tuple[type, tuple[str, Report]]:  # survives the trip between processes
        return type(self), (str(self), self.report)


def load_published(
    model: Recognizer,
    source: str | Path | Mapping[str, Any],
    layout: str | None = None,
    *,
    allow: Sequence[str] = (),
    rescale: bool = True,
    inflation: Inflation | None = None,
    digest: str = "",
) -> Report:
    """Put published weights into ``model``, in place; all of them or, on an error, none.

    The network's first convolution takes kernels of another number of channels. Another number of classes leaves the
    classifier fresh; so does a file without head or reduction leave these fresh. A file of another variant of the
    same backbone (its options ``family`` and the like) has the backbone made anew as that variant. ``model.spec`` says
    afterwards what the weights expect of their input. The report tells of all this.

    Args:
        model: A fresh recognizer.
        source: Path or URI of a file, its name in a folder of weights, its ``https://`` or ``hf://`` address, or a
            state dict; prefixes such as ``module.`` and ``_orig_mod.``, and wrappers such as ``{"state_dict": ...}``
            are taken off.
        layout: Name of a layout, see :func:`.layouts`; None recognises it from the keys.
        allow: Patterns (``head.*``) of our names that may be missing, and of published keys without a place.
        rescale: Whether kernels that are averaged over channels grow by the ratio of the numbers of channels, so that
            activations keep their size.
        inflation: How kernels without time are spread over time; None as the published programs do it, which is
            ``divide`` but for networks of pictures under temporal modules.
        digest: SHA-256 of the file, which one from the web needs.

    Returns:
        What became of every weight.

    Raises:
        UserError: If the file cannot be read, its layout is not known, or anything is unaccounted for that ``allow``
            does not name; a :class:`WeightsError` then has the report.
    """
    where, content = _read(source, digest)
    plan = _best_plan(where, model, content, layout, Rules(tuple(allow), rescale, inflation))
    if plan.refused:
        raise WeightsError(_refusal(where, model, plan), plan.report)
    _apply(model, plan)
    return plan.report


def check_published(
    model: Recognizer, source: str | Path | Mapping[str, Any], layout: str | None = None, *, allow: Sequence[str] = ()
) -> tuple[Report, bool]:
    """Return the report of :func:`load_published` and whether it would load; ``model`` stays as it is.

    Raises:
        UserError: If the file cannot be read, or its layout is not known.
    """
    where, content = _read(source)
    plan = _best_plan(where, model, content, layout, Rules(tuple(allow)))
    return plan.report, not plan.refused


@dataclass(frozen=True)
class _Plan:
    options: dict[str, Any]
    spec: InputSpec
    tensors: dict[str, Tensor]
    report: Report
    refused: list[str]


def _read(source: str | Path | Mapping[str, Any], digest: str = "") -> tuple[str, Any]:
    if isinstance(source, Mapping):
        return "these weights", source
    uri = local_weights(source, digest)
    return uri, read_content(uri)


def _best_plan(where: str, model: Recognizer, content: Any, name: str | None, rules: Rules) -> _Plan:
    """Plan with every layout that knows all keys, and return the plan that fits the network best."""
    states = strip_prefixes(unwrap(content, where))
    own = own_normalization(content, model.spec.modality)
    found = readings(states, name, rules)
    if not found:
        raise UserError(_unrecognized(where, states, rules))
    plans, problems = [], []
    for layout, stripped in found:
        try:
            plans.append(_plan(model, layout, stripped, own, rules))
        except ConfigError as error:
            problems.append(f"read as {layout.name}: {error}")
    if not plans:
        raise UserError(f"{where}: these weights do not fit this network: {' '.join(problems)}")
    best = min(plans, key=_strangeness)  # of equal ones the first
    best.report.notes.extend(told_aside(content))
    if model.spec.streams:
        streams = [_spec(stream, own) for stream, own in zip(model.spec.streams, own_streams(content), strict=False)]
        if len(streams) == len(model.spec.streams):
            best = replace(best, spec=joined_spec(model.spec.modality, streams))
    return best


def readings(states: Sequence[State], name: str | None, rules: Rules) -> list[tuple[Layout, State]]:
    """Return in which layouts a file can be read.

    Args:
        states: What the file holds by key, with and without prefixes.
        name: Of the layout; None for those that know every key, or else those to which the fewest are strange, if these
            are less than one in ten: the report then says which.
        rules: What is allowed is not strange.

    Returns:
        Layouts, each with that of ``states`` whose keys it knows.

    Raises:
        ConfigError: If there is no layout of that name.
    """
    if name is not None:
        layout = find({known.name: known for known in layouts()}, name, "layout of weights")
        return [(layout, min(states, key=lambda state: len(_unknown(layout, state, rules))))]
    strange = [(layout, state, len(_unknown(layout, state, rules))) for layout in layouts() for state in states]
    fewest = min(count for _, _, count in strange)
    if fewest and 10 * fewest >= len(states[0]):
        return []
    return [(layout, state) for layout, state, count in strange if count == fewest]


def _strangeness(plan: _Plan) -> tuple[int, ...]:
    report = plan.report
    unplaced = len(report.missing) + len(report.unexpected)  # refused or allowed
    return len(plan.refused), unplaced, len(plan.options), len(report.adapted)


def _unknown(layout: Layout, state: Iterable[str], rules: Rules) -> list[str]:
    return [key for key in state if not (rules.allows(key) or layout.covers([key]))]


def _unrecognized(where: str, states: list[dict[str, Tensor]], rules: Rules) -> str:
    layout, unknown = min(
        ((layout, _unknown(layout, state, rules)) for layout in layouts() for state in states),
        key=lambda pair: len(pair[1]),
    )
    return (
        f"{where}: no known layout has all of these {len(states[0])} keys. The nearest is {layout.name}, to which "
        f"{len(unknown)} are strange, such as {unknown[0]!r}. See kinebert weights for what is known, give layout=, or "
        "allow the strange keys."
    )


def _plan(
    model: Recognizer, layout: Layout, state: dict[str, Tensor], own: Normalization | None, rules: Rules
) -> _Plan:
    if layout.inflated and not any(tensor.ndim == 4 for tensor in state.values()):
        raise ConfigError("they have no kernels without time.")
    options = _options(model, layout, state)
    target = Target.of(model)
    if options:
        config = model.config
        config["backbone_options"].update(options)
        target = Target.of(build_unallocated(**config))
    draft = Draft(layout, target, rules)
    draft.claim(state)
    draft.settle()
    spec = _spec(model.spec, own or layout.normalization.get(model.spec.modality))
    notes = [*_notes(model, spec, options), *[layout.caution] * bool(layout.caution)]
    report = draft.report(notes)
    return _Plan(options, spec, draft.tensors, report, draft.refused())


def _options(model: Recognizer, layout: Layout, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the options that the backbone must change to be what the weights are of."""
    if layout.options is None:
        return {}
    present = model.config["backbone_options"]
    wanted = layout.options({key: tuple(tensor.shape) for key, tensor in state.items()}, present)
    if wanted is None:
        raise ConfigError("their shapes, or some names, are those of another layout.")
    return {name: value for name, value in wanted.items() if name not in present or present[name] != value}


def _notes(model: Recognizer, new: InputSpec, options: Mapping[str, Any]) -> list[str]:
    notes = [
        f"the backbone becomes the variant with {name} = {value!r} (it was {model.config['backbone_options'][name]!r})"
        for name, value in options.items()
    ]
    if new != model.spec:
        mean, std = (" ".join(f"{value:g}" for value in values) for values in (new.mean, new.std))
        low, high = new.value_range
        order = f", in the order {new.channel_order}" if new.channel_order != model.spec.channel_order else ""
        expected = f"{low:g} to {high:g}, mean {mean}, deviation {std}{order}"
        notes.append(f"the input becomes what the weights expect: {expected}")
    return notes


def _spec(spec: InputSpec, normalization: Normalization | None) -> InputSpec:
    if normalization is None or spec.streams:  # of several streams each has its own
        return spec
    stacked = normalization.stacked(spec.flow_stack)
    return replace(
        spec,
        mean=stacked.mean,
        std=stacked.std,
        value_range=stacked.value_range,
        channel_order=stacked.channel_order,
    )


def _apply(model: Recognizer, plan: _Plan) -> None:
    if plan.options:
        model.rebuild(plan.options)
    if "classifier.weight" in plan.report.reinitialized:
        model.reset_classifier()
    model.spec = plan.spec
    if not model.classifier.weight.is_meta:  # else there is nothing to fill: only the account was wanted
        model.load_state_dict(plan.tensors, strict=False)


def _refusal(where: str, model: Recognizer, plan: _Plan) -> str:
    report, config = plan.report, model.config
    missing = [name for name in report.missing if name in plan.refused]
    unexpected = [key for key in report.unexpected if key in plan.refused]
    parts = [config["backbone"], config["reduction"], config["head"]]
    return (
        f"{where}: read as {report.layout}, the weights do not fit {' + '.join(part for part in parts if part)}: "
        f"{len(missing)} parameters are missing{_first(missing, report)}, {len(unexpected)} keys of the file have no "
        f"place{_first(unexpected, report)}. Build the network that they are of, or allow these names."
    )


def _first(names: list[str], report: Report) -> str:
    if not names:
        return ""
    why = report.reasons.get(names[0])
    return f" (such as {names[0]}{f': {why}' if why else ''})"
