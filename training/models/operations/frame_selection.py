"""Temporal triplet cosine frame selection: half of the frames, chosen by how like their neighbours they are.

Source: "Multi-temporal convolutions for human action recognition in videos", IJCNN 2021, arXiv:2011.03949, section
III-A, equations 6 and 7. The paper keeps the frames that are least like their neighbours; its program
(alexandrosstergiou/Squeeze-and-Recursion-Temporal-Gates) squares the similarities and keeps those that are most alike.

Axes: N batch, C channels, T frames, H height, W width, K frames that are kept.
"""

import torch
from torch import Tensor
from torch.nn import functional

from kinebert.training.models.operations.frames import frame_averages


def triplet_similarity(x_NCTHW: Tensor, *, squared: bool = False) -> Tensor:
    """Return how like its two neighbours each frame between the first and the last is: ``(N, T - 2)``.

    A frame is the vector of its channels' sums over the picture. The two cosines are added: -2 to 2, or 0 to 2 where
    each is squared first.
    """
    precise = torch.promote_types(x_NCTHW.dtype, torch.float32)  # half precision would make frames equal
    frames_NCT = frame_averages(x_NCTHW, precise)  # the cosine of the sums, and no overflow
    cosines_NT = functional.cosine_similarity(frames_NCT[..., :-1], frames_NCT[..., 1:], dim=1, eps=1e-4)
    if squared:
        cosines_NT = cosines_NT.square()
    return cosines_NT[:, :-1] + cosines_NT[:, 1:]


def chosen_frames(x_NCTHW: Tensor, *, alike: bool = False, squared: bool = False) -> Tensor:
    """Return which T // 2 frames are chosen, ascending: ``(N, T // 2)``. The first and the last never are.

    Args:
        x_NCTHW: At least three frames.
        alike: Whether those most like their neighbours are chosen, instead of those least like them.
        squared: Whether cosines are squared before two are added.
    """
    kept = x_NCTHW.shape[2] // 2
    order_NT = triplet_similarity(x_NCTHW, squared=squared).argsort(dim=1, descending=alike, stable=True)
    return order_NT[:, :kept].sort(dim=1).values + 1  # stable: of equal ones the earlier, on every machine


def select_frames(x_NCTHW: Tensor, *, alike: bool = False, squared: bool = False) -> Tensor:
    """Keep T // 2 frames of each clip, in their order: ``(N, C, T, H, W)`` to ``(N, C, T // 2, H, W)``.

    Fewer than three frames have no triplet: the first is kept then. Gradients reach the frames that are kept; the
    choice has none.
    """
    if x_NCTHW.shape[2] < 3:
        return x_NCTHW[:, :, :1]
    chosen_NK = chosen_frames(x_NCTHW.detach(), alike=alike, squared=squared)
    clips, channels, _, height, width = x_NCTHW.shape
    index_NCKHW = chosen_NK[:, None, :, None, None].expand(clips, channels, -1, height, width)
    return x_NCTHW.gather(2, index_NCKHW)
