"""What a step of training asks of a device beside the network itself: operators, and launches on a GPU.

python -m tests.benchmarks.launches

Counted on the meta device, so that no clip is computed; launches are reckoned from torch's limits on lists. The step
has two micro-batches on the second of two workers. Norm by norm, as torch's own modules would have it, the statistics
are 14 operators a norm (three clones, two zeros, six multiplications, two copies, one addition), and the average of its
counter four.
"""

from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from kinebert.training.distributed.batch_norms import RunningStatistics
from kinebert.training.models import Recognizer, build_recognizer
from kinebert.training.optim.ema import WeightAverage
from tests.helpers.measuring import print_table
from tests.helpers.operators import CountedOperators

NETWORKS: dict[str, dict[str, Any]] = {
    "resnext101": {"clip_length": 64, "size": 112},
    "r2plus1d_34": {"clip_length": 32, "size": 112},
    "i3d": {"clip_length": 64, "size": 224},
    "slowfast_50": {"clip_length": 64, "size": 224},
    "resnet18": {"clip_length": 16, "size": 224},
}


def statistics_of(model: Recognizer) -> CountedOperators:
    """Count what a step costs for the running statistics."""
    statistics = RunningStatistics(model, 1, 2)
    with patch("torch.distributed.all_reduce"), CountedOperators() as counted:
        statistics.begin()
        for _ in range(2):
            statistics.before_batch()
        statistics.finish()
    return counted


def average_of(model: Recognizer) -> CountedOperators:
    """Count what an update of the average costs."""
    average = WeightAverage(model, 0.99)
    average.update(model)
    with CountedOperators() as counted:
        average.update(model)
    return counted


def row(name: str, model: Recognizer) -> list[object]:
    """Return the line of one network."""
    norms = sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    statistics, average = statistics_of(model.train()), average_of(model)
    operators = statistics.total, average.total
    return [name, norms, 14 * norms, 4 * norms, *operators, statistics.launches + average.launches]


def main() -> None:
    """Print the table."""
    rows = []
    for name, shape in NETWORKS.items():
        with torch.device("meta"):
            rows.append(row(name, build_recognizer(backbone=name, head="tgap", num_classes=101, **shape)))
    head = ["network", "norms", "norm by norm", "its average", "statistics", "average", "launches of both"]
    print_table("Operators of a step beside the network", head, rows, words=1)


if __name__ == "__main__":
    main()
