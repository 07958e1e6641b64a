"""What cards can do at most, and what a matrix product reaches on the one that is here."""

import re
import statistics
import time
from collections.abc import Callable

import torch

PEAKS: tuple[tuple[str, float, str], ...] = (
    ("GB200", 2500e12, "GB200 NVL72 data sheet, a GPU"),
    ("B200", 2250e12, "DGX B200 data sheet, an eighth"),
    ("H200 NVL", 835e12, "H200 Tensor Core GPU data sheet, NVL"),
    ("H200", 989e12, "H200 Tensor Core GPU data sheet, SXM"),
    ("GH200", 989e12, "GH200 Grace Hopper Superchip data sheet"),
    ("H100 NVL", 835e12, "H100 Tensor Core GPU data sheet, NVL"),
    ("(H100|H800) PCIe", 756e12, "H100 Tensor Core GPU data sheet of 2022, PCIe"),
    ("H100|H800", 989e12, "H100 Tensor Core GPU data sheet, SXM"),
    ("H20", 148e12, "H20 data sheet"),
    ("A100|A800", 312e12, "A100 Tensor Core GPU data sheet, PCIe and SXM"),
    ("A40", 149.7e12, "A40 data sheet"),
    ("A30", 165e12, "A30 Tensor Core GPU data sheet"),
    ("A10G", 70e12, "A10G data sheet"),
    ("A10", 125e12, "A10 Tensor Core GPU data sheet"),
    ("L40S", 362e12, "L40S data sheet"),
    ("L40", 181e12, "L40 data sheet"),
    ("L4", 121e12, "L4 Tensor Core GPU data sheet"),
    ("RTX 4090", 165.2e12, "Ada GPU architecture, appendix A"),
    ("RTX 3090", 71e12, "Ampere GA102 GPU architecture, appendix A"),
    ("T4", 65e12, "T4 Tensor Core GPU data sheet, fp16"),
    ("V100S", 130e12, "V100 Tensor Core GPU data sheet, fp16, V100S"),
    ("V100-PCIE", 112e12, "V100 Tensor Core GPU data sheet, fp16, PCIe"),
    ("V100", 125e12, "V100 Tensor Core GPU data sheet, fp16, SXM2"),
)
"""Name of a card, operations per second of dense bf16 products that are added up in float32, and who says so; where a
data sheet gives numbers for sparse matrices, half of them. The first that matches whole words of a name counts."""
OTHERS = "Laptop|Max-Q|Mobile|Ti|SUPER|D|FHHL|MIG"
"""Words of cards that share a name with a faster one, and of slices of a card."""


def peak_of(name: str) -> tuple[float, str] | None:
    """Return operations per second of a card of that name, and the source; None if it is not in :data:`PEAKS`."""
    if re.search(rf"\b({OTHERS})\b", name):
        return None
    for words, rate, source in PEAKS:
        if re.search(rf"\b({words})\b", name):
            return rate, source
    return None


def half_precision(device: torch.device) -> torch.dtype:
    """bf16, or fp16 where the card has no bf16 of its own; float32 on a CPU, whose bf16 is many times as slow."""
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16


def product_rate(device: torch.device, size: int, repeats: int = 10) -> float:
    """Operations per second of multiplying two random matrices of ``(size, size)`` in half precision, the median."""
    matrix = torch.randn(size, size, device=device, dtype=half_precision(device))
    return 2 * size**3 / statistics.median(timed(lambda: matrix @ matrix, device, repeats, warm_up=3))


def timed(work: Callable[[], object], device: torch.device, repeats: int, warm_up: int = 1) -> list[float]:
    """Return the seconds on the clock that ``work`` on the device took, each time but the first few."""
    taken = []
    for _ in range(warm_up + repeats):
        synchronize(device)
        began = time.perf_counter()
        work()
        synchronize(device)
        taken.append(time.perf_counter() - began)
    return taken[warm_up:]


def synchronize(device: torch.device) -> None:
    """Wait for what the device was told to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def about(device: torch.device) -> str:
    """Name, memory and versions, in a line."""
    if device.type != "cuda":
        return f"no CUDA device, torch {torch.__version__}"
    facts = torch.cuda.get_device_properties(device)
    return (
        f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB; torch {torch.__version__}, CUDA {torch.version.cuda}, "
        f"cuDNN {torch.backends.cudnn.version()}"
    )
