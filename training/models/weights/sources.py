"""Where weights are: a path or URI, a name in a folder of weights, or an address on the web with a digest."""

import difflib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.fetching.downloads import fetched, is_download
from kinebert.training.models.weights.keys import layouts

FOLDER = "KINEBERT_WEIGHTS"
"""Variable that names the folder (path or URI) in which weights are looked for by name."""


def weights_folders() -> list[str]:
    """Return the folders in which weights are looked for by name: yours, and the one of torch.hub and torchvision."""
    own = os.environ.get(FOLDER, "")
    return [*([storage.resolve_uri(own)] if own else []), os.path.join(torch.hub.get_dir(), "checkpoints")]


def found_by_name(name: str) -> str | None:
    """Return where a file of that name lies in one of the folders; None if it is in neither."""
    for place in _places(name):
        with storage.explained(place, "look for weights"):
            if storage.exists(place) and not storage.is_folder(place):
                return place
    return None


def _places(name: str) -> Iterator[str]:
    if not os.path.isabs(name) and ".." not in Path(name).parts:
        yield from (storage.join(folder, name) for folder in weights_folders())


def located(given: str | Path) -> str:
    """Return the absolute path, the URI or the web address of weights; what lies at a path here counts before a name.

    Raises:
        UserError: If a name or relative path is nowhere; it says where was looked.
    """
    text = str(given)
    if "://" in text or os.path.isabs(os.path.expanduser(text)) or not text:
        return text if is_download(text) else storage.resolve_uri(text)
    here = None if storage.in_submitted_job() else storage.resolve_uri(text)
    if here is not None and os.path.exists(here):
        return here
    found = found_by_name(text)
    if found is not None:
        return found
    raise UserError(_nowhere(text, here))


def local_weights(given: str | Path, digest: str = "", tell: Callable[[str], None] = lambda _: None) -> str:
    """Return a path or URI from which weights can be read now; those of the web are fetched into the user's cache.

    Args:
        given: As a recipe has it in ``model.weights``.
        digest: SHA-256 of the file; those of the web need it.
        tell: Is told what is being fetched.

    Raises:
        UserError: If they are nowhere, or cannot be fetched.
    """
    source = located(given)
    return str(fetched(source, digest, tell)) if is_download(source) else source


def told_folders() -> str:
    """Say in which folders weights are looked for by name."""
    own = os.environ.get(FOLDER)
    return f"{FOLDER} ({own or 'which is not set'}) and torch's own, {weights_folders()[-1]}"


def _nowhere(text: str, here: str | None) -> str:
    near = difflib.get_close_matches(text, _known(), n=1)
    meant = f" Did you mean {near[0]}?" if near else ""
    looked = f"not at {here}, and not in" if here else "not in"
    offered = _offered_at(text)
    whence = f"It is offered at {offered}." if offered else "`kinebert weights` says who offers which."
    return (
        f"{text}: there is no such file of weights: {looked} the folders {told_folders()}.{meant} {whence} Put it "
        "there, or give its path."
    )


def _offered_at(name: str) -> str:
    """Return where the authors of a file that is known offer it; empty for others."""
    for layout in layouts():
        names = (re.escape(file.name).replace("<k>", r"\d") for file in layout.files)
        if any(re.fullmatch(one, name) for one in names):
            return layout.url
    return ""


def _known() -> list[str]:
    return [name for folder in weights_folders() if storage.exists(folder) for name in storage.list_files(folder)]
