"""What is known of published files: what they expect of their input, and of which network a file is."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kinebert.preprocessing.config import to_plain
from kinebert.preprocessing.errors import UserError
from kinebert.training.models.inputs import InputSpec
from kinebert.training.models.recognizer import Recognizer
from kinebert.training.models.registry import BACKBONES, normalization_of
from kinebert.training.models.sizes.unallocated import build_unallocated
from kinebert.training.models.weights.accounting import Report, Rules
from kinebert.training.models.weights.files import read_content, strip_prefixes, told_aside, unwrap
from kinebert.training.models.weights.keys import Layout, PublishedFile, Shape
from kinebert.training.models.weights.load import check_published, readings
from kinebert.training.models.weights.sources import local_weights

_ABOUT = """\
Written by `kinebert weights --table docs/weights.md`. None of these files is part of this repository: get them from
their authors, under their licence, and give one to a recipe as `model.weights`, or to `load_published`:

- by its path or URI, or by its name in the folder that `KINEBERT_WEIGHTS` names (a path or URI) or in torch's own,
  `~/.cache/torch/hub/checkpoints`, where torchvision keeps what it downloads. `kinebert weights` says of each file
  whether it is there.
- by its address, `https://...` or `hf://OWNER/REPOSITORY[@REVISION]/FILE`, with the SHA-256 of its bytes beside it, as
  `model.weights_digest`. It is fetched once into your own cache, and used if it is the file of that digest; without one
  nothing is fetched. `HF_ENDPOINT` names a mirror of the hub, `SSL_CERT_FILE` an authority of your own.

`kinebert weights --check FILE` says what becomes of every weight."""


def input_spec(layout: Layout, file: PublishedFile) -> InputSpec:
    """Return what the weights in a file expect of their input."""
    known = layout.normalization or BACKBONES[file.backbone].normalization
    normalization = known.get(file.modality) or normalization_of(file.backbone, file.modality)
    stacked = normalization.stacked(file.flow_stack)
    return InputSpec(
        modality=file.modality,
        num_frames=file.num_frames,
        frame_interval=file.frame_interval,
        crop_size=file.crop_size,
        mean=stacked.mean,
        std=stacked.std,
        value_range=stacked.value_range,
        flow_stack=file.flow_stack,
        channel_order=stacked.channel_order,
    )


def identify(
    source: str | Path | Mapping[str, Any], layout: str | None = None, *, allow: tuple[str, ...] = ()
) -> tuple[Recognizer, Report, bool]:
    """Find the network that a file is of, among those of the known files.

    Args:
        source: Path or URI of a file, or a state dict.
        layout: Name of the layout; None tries all.
        allow: As for ``load_published``.

    Returns:
        The network (its shapes only, on the device ``meta``), the report of loading the file into it, and whether it
        would load.

    Raises:
        UserError: If the file cannot be read, or its layout is not known.
    """
    content = source if isinstance(source, Mapping) else read_content(local_weights(source))
    where = "these weights" if isinstance(source, Mapping) else str(source)
    tensors = unwrap(content, where)
    meta = {key: tensor.to("meta") for key, tensor in tensors.items()}
    states = [{key: tuple(tensor.shape) for key, tensor in state.items()} for state in strip_prefixes(meta)]
    best: tuple[Recognizer, Report, bool] | None = None
    reason: UserError | None = None
    for arguments in _candidates(content, readings(states, layout, Rules(allow))):
        try:
            model = build_unallocated(**arguments)
            report, fits = check_published(model, meta, layout, allow=allow)
        except UserError as error:
            reason = reason or error
            continue
        if best is None or _unplaced(report) < _unplaced(best[1]):
            best = model, report, fits
        if not _unplaced(report):
            break
    if best is None:
        raise reason or UserError(
            f"{where}: no known file has such names. Say which network it is of with --backbone and --head."
        )
    best[1].notes.extend(told_aside(content))
    return best


def _candidates(content: Any, found: list[tuple[Layout, dict[str, Shape]]]) -> Iterator[dict[str, Any]]:
    """Return arguments of networks that the file may be of, the likeliest first."""
    if isinstance(content, Mapping) and isinstance(content.get("config"), Mapping):
        yield dict(content["config"])  # a checkpoint of this program says it itself
        return
    tried = []
    for layout, state in found:
        classes = [shape[0] for key, shape in state.items() if layout.rename(key) == "classifier.weight"]
        for file in (*layout.files, *layout.variants):
            present = replace(file, num_classes=classes[-1] if classes else file.num_classes)
            arguments = present.arguments()
            if arguments not in tried:
                tried.append(arguments)
                yield arguments


def _unplaced(report: Report) -> int:
    return len(report.missing) + len(report.unexpected) + len(report.adapted) + len(report.reinitialized)


def markdown(chosen: Iterable[Layout]) -> str:
    """Return the list as a page of tables."""
    parts = ["# Published weights", "", _ABOUT]
    for layout in chosen:
        parts += ["", f"## {layout.name}", "", f"- Source: {layout.source}", f"- Offered at: {_link(layout.url)}"]
        parts += [f"- Paper: {layout.paper}"] * bool(layout.paper)
        parts += [f"- Licence: {layout.licence}"]
        if layout.files:
            parts += ["", "| file | network | trained on | classes | input |", "|---|---|---|---|---|"]
            parts += [f"| {' | '.join(row)} |" for row in rows(layout)]
    return "\n".join(parts) + "\n"


def _link(url: str) -> str:
    return f"<{url}>" if url.startswith("http") else url


def rows(layout: Layout) -> Iterator[tuple[str, ...]]:
    """Return five cells about every file of a layout: file, network, what it was trained on, classes, input."""
    for file in layout.files:
        options = {**file.backbone_options, **file.head_options}
        chosen = f" ({', '.join(f'{name} {value}' for name, value in options.items())})" if options else ""
        network = " + ".join(part for part in (file.backbone, file.reduction, file.head) if part)
        spec = input_spec(layout, file)
        channels = len(spec.mean) // spec.flow_stack  # those of all fields of a stack are the same
        numbers = [" ".join(f"{value:g}" for value in values[:channels]) for values in (spec.mean, spec.std)]
        images = "images" if spec.flow_stack == 1 else f"stacks of {spec.flow_stack}"
        shape = f"{spec.num_frames} {images}, every {spec.frame_interval}," if spec.frame_interval > 1 else ""
        shape = shape or f"{spec.num_frames} {images},"
        scale = f"{spec.value_range[0]:g} to {spec.value_range[1]:g}, mean {numbers[0]}, deviation {numbers[1]}"
        classes = "none" if file.num_classes is None else str(file.num_classes)
        kind = spec.modality if spec.channel_order == "rgb" else f"{spec.modality} in the order {spec.channel_order}"
        yield file.name, network + chosen, file.data, classes, f"{kind}, {shape} {spec.crop_size} px, {scale}"


def plain(layout: Layout) -> dict[str, Any]:
    """Return the same as plain values."""
    facts = {name: getattr(layout, name) for name in ("name", "source", "paper", "licence", "url")}
    files = [
        {"name": file.name, "data": file.data, "classes": file.num_classes, "network": file.arguments()}
        | {"input": to_plain(input_spec(layout, file))}
        for file in layout.files
    ]
    return {**facts, "files": files}
