"""Small ONNX files of pose networks whose answers are known: constants, or where a picture is brightest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers.requirements import imported


def constant_network(path: Path, height: Any, width: Any, outputs: Mapping[str, np.ndarray]) -> str:
    """Write a network that answers the same to every picture; ``height`` may be a word, where files leave it open."""
    helper, numpy_helper = imported("onnx", "pose").helper, imported("onnx.numpy_helper", "pose")
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    initial = [numpy_helper.from_array(np.zeros((), np.float32), "zero")]
    for name, value in outputs.items():
        initial.append(numpy_helper.from_array(value, f"{name}_is"))
        added = "nothing"
        if value.dtype != np.float32:
            nodes.append(
                helper.make_node(
                    "Cast", ["nothing"], [f"{name}_nothing"], to=helper.np_dtype_to_tensor_dtype(value.dtype)
                )
            )
            added = f"{name}_nothing"
        nodes.append(helper.make_node("Add", [f"{name}_is", added], [name]))
    shapes = {name: (helper.np_dtype_to_tensor_dtype(value.dtype), value.shape) for name, value in outputs.items()}
    return _write(path, height, width, nodes, shapes, initial)


def brightest_network(path: Path, height: int, width: int, joints: int) -> str:
    """Write an RTMPose whose joints all lie where the red of a picture is largest, two bins a pixel.

    Scores are a quarter of the largest value in the row.
    """
    onnx = imported("onnx", "pose")
    helper, numpy_helper, numbers = onnx.helper, imported("onnx.numpy_helper", "pose"), np.int64
    initial = [
        numpy_helper.from_array(np.array(values, numbers), name)
        for name, values in {"from": [0], "to": [1], "channel": [1], "down": [2], "across": [3], "last": [3]}.items()
    ]
    initial.append(numpy_helper.from_array(np.full((), 0.25, np.float32), "quarter"))
    nodes = [
        helper.make_node("Slice", ["input", "from", "to", "channel"], ["red"]),
        helper.make_node("Mul", ["red", "quarter"], ["value"]),
    ]
    for name, over, size in (("simcc_x", "down", width), ("simcc_y", "across", height)):
        initial += [
            numpy_helper.from_array(np.array([1, size, 1], numbers), f"{name}_rows"),
            numpy_helper.from_array(np.array([1, 1, 2], numbers), f"{name}_twice"),
            numpy_helper.from_array(np.array([1, 1, 2 * size], numbers), f"{name}_bins"),
            numpy_helper.from_array(np.array([1, joints, 1], numbers), f"{name}_joints"),
        ]
        nodes += [
            helper.make_node("ReduceMax", ["value", over], [f"{name}_largest"], keepdims=0),
            helper.make_node("Reshape", [f"{name}_largest", f"{name}_rows"], [f"{name}_column"]),
            helper.make_node("Tile", [f"{name}_column", f"{name}_twice"], [f"{name}_pairs"]),
            helper.make_node("Reshape", [f"{name}_pairs", f"{name}_bins"], [f"{name}_row"]),
            helper.make_node("Tile", [f"{name}_row", f"{name}_joints"], [name]),
        ]
    floats = onnx.TensorProto.FLOAT
    shapes = {"simcc_x": (floats, (1, joints, 2 * width)), "simcc_y": (floats, (1, joints, 2 * height))}
    return _write(path, height, width, nodes, shapes, initial)


def mean_score_detector(path: Path, height: int, width: int, box: tuple[float, ...], factor: float) -> str:
    """Write a detector with suppression inside: one box, and ``factor`` times the mean of its input as score."""
    onnx = imported("onnx", "pose")
    helper, numpy_helper = onnx.helper, imported("onnx.numpy_helper", "pose")
    initial = [
        numpy_helper.from_array(np.full((), factor, np.float32), "factor"),
        numpy_helper.from_array(np.array(box, np.float32).reshape(1, 1, 4), "box"),
        numpy_helper.from_array(np.array([1, 1, 1], np.int64), "shape"),
        numpy_helper.from_array(np.zeros((1, 1), np.int64), "class"),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "factor"], ["scaled"]),
        helper.make_node("Reshape", ["scaled", "shape"], ["score"]),
        helper.make_node("Concat", ["box", "score"], ["dets"], axis=2),
        helper.make_node("Identity", ["class"], ["labels"]),
    ]
    shapes = {"dets": (onnx.TensorProto.FLOAT, (1, 1, 5)), "labels": (onnx.TensorProto.INT64, (1, 1))}
    return _write(path, height, width, nodes, shapes, initial)


def _write(path: Path, height: Any, width: Any, nodes: list, shapes: Mapping[str, tuple], initial: list) -> str:
    onnx = imported("onnx", "pose")
    helper = onnx.helper
    picture = helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, (1, 3, height, width))
    outputs = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in shapes.items()]
    graph = helper.make_graph(nodes, "small", [picture], outputs, initial)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return str(path)
