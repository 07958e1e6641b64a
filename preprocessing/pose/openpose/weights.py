"""A user's file of OpenPose's weights into the network it belongs to, every entry accounted for."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from kinebert.preprocessing import storage
from kinebert.preprocessing.checked.torch_files import ExcessiveError, load_bytes
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.plain_text import visible
from kinebert.preprocessing.pose.openpose.caffemodel import read_caffemodel
from kinebert.preprocessing.pose.openpose.models import MODELS, ModelName
from kinebert.preprocessing.pose.openpose.network import PoseNetwork, unallocated

_TELLING: dict[str, ModelName] = {"Mconv1_stage0_L2_0.weight": "body25", "conv5_1_CPM_L1.weight": "coco18"}
"""A layer that only one of the models has."""
_SHOWN = 5
_OURS = "OpenPose's pose_iter_584000 (BODY_25) or pose_iter_440000 (COCO), as .caffemodel, .pth or .pt"


def load_network(path: str) -> tuple[ModelName, PoseNetwork]:
    """Return the network whose weights lie at ``path``, on the CPU; its keys say which of the two it is.

    Args:
        path: A ``.caffemodel``, or a file of PyTorch with the same names, whatever a program put in front of them.

    Raises:
        UserError: If it cannot be read, or an entry is missing, foreign, there twice or misshapen; it names them.
    """
    state = _by_published_names(_read(path), path)
    name = next((model for key, model in _TELLING.items() if key in state), None)
    if name is None:
        raise UserError(
            f"{path}: no weights of OpenPose's body networks: none of the layers "
            f"{' and '.join(key.partition('.')[0] for key in _TELLING)} is there, among {_some(list(state))}. "
            f"Give {_OURS}."
        )
    network = unallocated(name)
    _check(state, network.state_dict(), name, path)
    network.load_state_dict({key: value.float().contiguous() for key, value in state.items()}, assign=True)
    return name, network.eval().requires_grad_(False)


def _read(path: str) -> dict[str, Tensor]:
    with storage.explained(path, "read the weights"):
        data = storage.read_bytes(path)
    if data[:2] == b"PK" or torch.serialization.MAGIC_NUMBER.to_bytes(10, "little") in data[:64]:
        try:
            return _tensors(load_bytes(data), path)
        except UserError:
            raise
        except ExcessiveError as error:
            raise UserError(f"{path}: refused: {error}. Give a file as torch.save writes it.") from None
        except Exception as error:  # what torch raises for bytes of a stranger has no common class
            raise UserError(
                f"{path}: a file of PyTorch that is damaged, or holds more than tensors and plain values. No code of a "
                f"file is ever run. Save the state dict alone, or give {_OURS}."
            ) from error
    try:
        arrays = read_caffemodel(data)
    except ValueError as error:
        raise UserError(f"{path}: neither a file of PyTorch nor a .caffemodel: {error}. Give {_OURS}.") from None
    if not arrays:
        raise UserError(f"{path}: neither a file of PyTorch nor a .caffemodel with numbers in it. Give {_OURS}.")
    return {key: torch.from_numpy(value) for key, value in arrays.items()}


def _tensors(content: Any, path: str) -> dict[str, Tensor]:
    """Return the tensors by name, out of a training program's wrapper if need be."""
    while isinstance(content, Mapping) and not any(isinstance(value, Tensor) for value in content.values()):
        inside = [value for value in content.values() if isinstance(value, Mapping) and value]
        if len(inside) != 1:
            break
        content = inside[0]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path}: holds no tensors by name, or other things beside them. Save the state dict alone.")
    return {str(key): value for key, value in content.items()}


def _by_published_names(state: Mapping[str, Tensor], path: str) -> dict[str, Tensor]:
    """Take off what programs put in front: a published name is the last two parts of a key."""
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        name = ".".join(key.split(".")[-2:])
        if name in found:
            raise UserError(f"{path}: two entries are called {visible(name)}. Save one network's state dict alone.")
        found[name] = value
    return found


def _check(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], name: ModelName, path: str) -> None:
    problems = []
    if missing := [key for key in expected if key not in state]:
        problems.append(f"{len(missing)} entries are missing: {_some(missing)}")
    if foreign := [key for key in state if key not in expected]:
        problems.append(f"{len(foreign)} are not of this network: {_some(foreign)}")
    known = [key for key in expected if key in state]
    if shapes := [
        f"{key} is {_shape(state[key])} instead of {_shape(expected[key])}"
        for key in known
        if state[key].shape != expected[key].shape
    ]:
        problems.append(f"{len(shapes)} have another shape: {_some(shapes)}")
    if broken := [
        key for key in known if not (state[key].is_floating_point() and bool(torch.isfinite(state[key]).all()))
    ]:
        problems.append(f"{len(broken)} do not hold finite real numbers: {_some(broken)}")
    if problems:
        joints = len(MODELS[name].joints)
        raise UserError(
            f"{path}: looks like OpenPose's network of {joints} joints, but of its {len(expected)} entries "
            f"{'; '.join(problems)}. Give {_OURS}."
        )


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "a single number"


def _some(names: list[str]) -> str:
    shown = ", ".join(re.sub(r"\s+", " ", visible(name)) for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
