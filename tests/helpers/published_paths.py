"""The BERT papers' I3D and SlowFast, read plainly: their published keys, and what they compute of weights under these.

Written from the papers and from facts about the published implementations, with no layer of ours, so that networks
without a golden file have an answer too. The networks are an eighth as wide.

Axes: N batch, C channels, T frames, H height, W width, S steps with the classification token in front, F features.
"""

import zlib
from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from kinebert.training.models.arguments import scaled

NUM_CLASSES = 5
Shapes = dict[str, tuple[int, ...]]
State = Mapping[str, Tensor]

MIXED = {
    5: (64, 96, 128, 16, 32, 32),
    6: (128, 128, 192, 32, 96, 64),
    8: (192, 96, 208, 16, 48, 64),
    9: (160, 112, 224, 24, 64, 64),
    10: (128, 128, 256, 24, 64, 64),
    11: (112, 144, 288, 32, 64, 64),
    12: (256, 160, 320, 32, 128, 128),
    14: (256, 160, 320, 32, 128, 128),
    15: (384, 192, 384, 48, 128, 128),
}
"""Channels of I3D's blocks, by their places among ``features``."""
POOLS = {1: (1, 3, 2), 4: (1, 3, 2), 7: (3, 3, 2), 13: (2, 2, 2)}
"""Extents in time and space, and the step in space (in time it is 2 where the extent is not 1)."""
REDUCED = (24, 12, 24, 3, 8, 8)
BRANCHES = ("b0", "b1a", "b1b", "b2a", "b2b", "b3b")
BLOCKS = (3, 4, 6, 3)


def small(channels: int) -> int:
    return scaled(channels, 0.125)


def make_state(shapes: Shapes) -> dict[str, Tensor]:
    """Return a tensor for every key that depends on the key alone, of a size that deep networks keep."""
    state = {}
    for key, shape in shapes.items():
        generator, last = torch.Generator().manual_seed(zlib.crc32(key.encode())), key.rsplit(".", 1)[-1]
        if last == "num_batches_tracked":
            state[key] = torch.zeros((), dtype=torch.long)
        elif len(shape) > 1:
            state[key] = torch.randn(shape, generator=generator) * (2 / prod(shape[1:])) ** 0.5
        elif last in ("running_var", "weight", "a_2"):
            state[key] = torch.rand(shape, generator=generator) * 0.5 + 0.75
        else:
            state[key] = torch.randn(shape, generator=generator) * 0.1
    return state


def norm_shapes(name: str, channels: int) -> Shapes:
    vectors = ("weight", "bias", "running_mean", "running_var")
    return {**{f"{name}.{part}": (channels,) for part in vectors}, f"{name}.num_batches_tracked": ()}


def bert_shapes(name: str, features: int, steps: int) -> Shapes:
    block, wide = f"{name}.transformer_blocks.0", 4 * features
    shapes: Shapes = {f"{name}.clsToken": (1, 1, features)}
    shapes[f"{name}.embedding.learnedPosition.pe"] = (1, steps + 1, features)
    layers = [f"attention.linear_layers.{i}" for i in range(3)] + ["attention.output_linear"]
    sizes = {**dict.fromkeys(layers, (features, features)), "feed_forward.w_1": (wide, features)}
    for layer, size in {**sizes, "feed_forward.w_2": (features, wide)}.items():
        shapes |= {f"{block}.{layer}.weight": size, f"{block}.{layer}.bias": size[:1]}
    for sublayer in ("input_sublayer", "output_sublayer"):
        shapes |= {f"{block}.{sublayer}.norm.{part}": (features,) for part in ("a_2", "b_2")}
    return shapes


def bert(state: State, name: str, tokens_NTF: Tensor) -> Tensor:
    """Return the row of the classification token, ``(N, F)``."""
    block, heads = f"{name}.transformer_blocks.0.", 8

    def linear(layer: str, x: Tensor) -> Tensor:
        return functional.linear(x, state[f"{block}{layer}.weight"], state[f"{block}{layer}.bias"])

    def norm(sublayer: str, x: Tensor) -> Tensor:
        scale, shift = state[f"{block}{sublayer}.norm.a_2"], state[f"{block}{sublayer}.norm.b_2"]
        return scale * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6) + shift

    token = state[f"{name}.clsToken"].expand(len(tokens_NTF), -1, -1)
    x_NSF = torch.cat([token, tokens_NTF], dim=1) + state[f"{name}.embedding.learnedPosition.pe"]
    y = norm("input_sublayer", x_NSF)
    query, key, value = (
        linear(f"attention.linear_layers.{i}", y).unflatten(2, (heads, -1)).transpose(1, 2) for i in range(3)
    )
    weights = (query @ key.transpose(2, 3) / query.shape[-1] ** 0.5).softmax(dim=-1)
    x_NSF = x_NSF + linear("attention.output_linear", (weights @ value).transpose(1, 2).flatten(2))
    y = functional.gelu(linear("feed_forward.w_1", norm("output_sublayer", x_NSF)), approximate="tanh")
    return (x_NSF + linear("feed_forward.w_2", y))[:, 0]


def batch_norm(state: State, name: str, x: Tensor, eps: float) -> Tensor:
    mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return functional.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"], eps=eps)


def same(x_NCTHW: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Pad with zeros as TensorFlow does."""
    pads: list[int] = []
    for size, extent, step in zip(x_NCTHW.shape[2:], kernel, stride, strict=True):
        total = max((-(-size // step) - 1) * step + extent - size, 0)
        pads = [total // 2, total - total // 2, *pads]
    return functional.pad(x_NCTHW, pads)


def mixed_shapes(name: str, channels_in: int, widths: Sequence[int]) -> Shapes:
    sources = (channels_in, channels_in, widths[1], channels_in, widths[3], channels_in)
    shapes: Shapes = {}
    for branch, source, channels in zip(BRANCHES, sources, widths, strict=True):
        kernel = (3, 3, 3) if branch in ("b1b", "b2b") else (1, 1, 1)
        shapes[f"{name}.{branch}.conv3d.weight"] = (channels, source, *kernel)
        shapes |= norm_shapes(f"{name}.{branch}.bn", channels)
    return shapes


def i3d_shapes(reduction: str | None, with_bert: bool, channels_in: int = 3) -> Shapes:
    shapes: Shapes = {}
    for place, (source, channels, kernel) in {0: (channels_in, 8, 7), 2: (8, 8, 1), 3: (8, 24, 3)}.items():
        shapes[f"features.{place}.conv3d.weight"] = (channels, source, kernel, kernel, kernel)
        shapes |= norm_shapes(f"features.{place}.bn", channels)
    channels = 24
    for place, full in MIXED.items():
        widths = REDUCED if place == 15 and reduction == "frmb" else [small(width) for width in full]
        shapes |= mixed_shapes(f"features.{place}", channels, widths)
        channels = widths[0] + widths[2] + widths[4] + widths[5]
    if reduction == "frab":
        shapes |= mixed_shapes("mapper", channels, REDUCED)
        channels = 64
    if with_bert:
        shapes |= bert_shapes("bert", channels, 8)
    return {**shapes, "fc_action.weight": (NUM_CLASSES, channels), "fc_action.bias": (NUM_CLASSES,)}


def i3d(state: State, x_NCTHW: Tensor) -> Tensor:
    """Return the logits of a clip of 64 frames."""

    def unit(name: str, x: Tensor, step: int = 1) -> Tensor:
        weight = state[f"{name}.conv3d.weight"]
        x = functional.conv3d(same(x, weight.shape[2:], (step,) * 3), weight, stride=step)
        return batch_norm(state, f"{name}.bn", x, 1e-3).relu()

    def mixed(name: str, x: Tensor) -> Tensor:
        pooled = functional.max_pool3d(same(x, (3, 3, 3), (1, 1, 1)), 3, 1)
        first = unit(f"{name}.b1b", unit(f"{name}.b1a", x))
        second = unit(f"{name}.b2b", unit(f"{name}.b2a", x))
        return torch.cat([unit(f"{name}.b0", x), first, second, unit(f"{name}.b3b", pooled)], dim=1)

    for place in range(16):
        if place in POOLS:
            time, space, step = POOLS[place]
            kernel, stride = (time, space, space), (1 if time == 1 else 2, step, step)
            x_NCTHW = functional.max_pool3d(same(x_NCTHW, kernel, stride), kernel, stride)
        elif place in MIXED:
            x_NCTHW = mixed(f"features.{place}", x_NCTHW)
        else:
            x_NCTHW = unit(f"features.{place}", x_NCTHW, step=2 if place == 0 else 1)
    if "mapper.b0.bn.weight" in state:
        x_NCTHW = mixed("mapper", x_NCTHW)
    steps_NTF = x_NCTHW.mean(dim=(3, 4)).transpose(1, 2)
    if "bert.clsToken" in state:
        pooled_NF = bert(state, "bert", steps_NTF / steps_NTF.norm(dim=-1, keepdim=True))
    else:
        pooled_NF = steps_NTF.mean(dim=1)
    return functional.linear(pooled_NF, state["fc_action.weight"], state["fc_action.bias"])


def reducing_shapes(name: str, channels_in: int, channels: int) -> Shapes:
    middle = channels // 2
    sizes = {"conv1": (middle, channels_in, 1, 1, 1), "conv2": (middle, middle, 3, 3, 3)}
    sizes |= {"conv3": (channels, middle, 1, 1, 1), "downsample.0": (channels, channels_in, 1, 1, 1)}
    shapes: Shapes = {}
    for conv, size in sizes.items():
        shapes[f"{name}.{conv}.weight"] = size
        norm = "downsample.1" if conv == "downsample.0" else conv.replace("conv", "bn")
        shapes |= norm_shapes(f"{name}.{norm}", size[0])
    return shapes


def path_shapes(number: int, stem: int, added: int, channels_in: int, kernel: int) -> Shapes:
    """Return the keys of one pathway of PySlowFast; ``added`` channels come from the other per channel of its stem."""
    times = ((1, 1, 3, 3), (3, 3, 3, 3))[number]
    name = f"s1.pathway{number}_stem"
    shapes: Shapes = {
        f"{name}.conv.weight": (stem, channels_in, (1, 5)[number], 7, 7),
        **norm_shapes(f"{name}.bn", stem),
    }
    if number == 1:
        for i, channels in enumerate((stem, 4 * stem, 8 * stem, 16 * stem), start=1):
            shapes[f"s{i}_fuse.conv_f2s.weight"] = (2 * channels, channels, kernel, 1, 1)
            shapes |= norm_shapes(f"s{i}_fuse.bn", 2 * channels)
    wide, middle = stem + added, stem
    for stage, (count, time) in enumerate(zip(BLOCKS, times, strict=True), start=2):
        for i in range(count):
            block = f"s{stage}.pathway{number}_res{i}"
            sizes = {"branch2.a": (middle, wide, time, 1, 1), "branch2.b": (middle, middle, 1, 3, 3)}
            sizes["branch2.c"] = (4 * middle, middle, 1, 1, 1)
            if i == 0:
                sizes["branch1"] = (4 * middle, wide, 1, 1, 1)
            for conv, size in sizes.items():
                shapes |= {f"{block}.{conv}.weight": size, **norm_shapes(f"{block}.{conv}_bn", size[0])}
            wide = 4 * middle
        wide, middle = 4 * middle + 4 * middle * added // stem, 2 * middle
    return shapes


def pyslowfast_shapes(num_classes: int = NUM_CLASSES, kernel: int = 7, channels_in: int = 3) -> Shapes:
    shapes = path_shapes(0, 8, 2, channels_in, kernel) | path_shapes(1, 1, 0, channels_in, kernel)
    return {**shapes, "head.projection.weight": (num_classes, 288), "head.projection.bias": (num_classes,)}


def slowfast_shapes(reduction: str | None, fusion: str | None) -> Shapes:
    """Return the keys of the BERT papers' SlowFast; its ``model`` has the unused classifier of 400 classes."""
    shapes = {f"model.{key}": shape for key, shape in pyslowfast_shapes(400 if fusion else NUM_CLASSES).items()}
    mappers = {None: {}, "late": {"mapper": 0}, "early": {"mapper_slow": 0, "mapper_fast": 1}}[fusion]
    beside: Shapes = {}
    for name, number in mappers.items():
        block, sizes = f"model.s5.pathway{number}_res2", ((256, 64), (32, 16))[number]
        beside |= reducing_shapes(name, *sizes)
        if reduction == "frmb":
            shapes = {key: shape for key, shape in shapes.items() if not key.startswith(f"{block}.")}
            shapes |= reducing_shapes(block, *sizes)
    heads = {
        None: {},
        "late": {**bert_shapes("bert_fast", 32, 32), **bert_shapes("bert_slow", 64, 8)},
        "early": bert_shapes("bert", 80, 8),
    }[fusion]
    features = {None: 288, "late": 96, "early": 80}[fusion]
    classifier = {"fc_action.weight": (NUM_CLASSES, features), "fc_action.bias": (NUM_CLASSES,)}
    return {**shapes, **heads, **beside, **classifier}


def slowfast_paths(state: State, slow: Tensor, fast: Tensor, prefix: str = "", alpha: int = 4) -> tuple[Tensor, Tensor]:
    """Return the maps of both pathways."""

    def unit(conv: str, norm: str, x: Tensor, stride: tuple[int, ...] = (1, 1, 1), relu: bool = True) -> Tensor:
        weight = state[f"{prefix}{conv}.weight"]
        x = functional.conv3d(x, weight, stride=stride, padding=[length // 2 for length in weight.shape[2:]])
        x = batch_norm(state, f"{prefix}{norm}", x, 1e-5)
        return x.relu() if relu else x

    def block(name: str, x: Tensor, step: int) -> Tensor:
        if f"{prefix}{name}.conv1.weight" in state:
            return reducing(state, f"{prefix}{name}", x)
        y, stride = unit(f"{name}.branch2.a", f"{name}.branch2.a_bn", x), (1, step, step)
        y = unit(f"{name}.branch2.b", f"{name}.branch2.b_bn", y, stride)
        y = unit(f"{name}.branch2.c", f"{name}.branch2.c_bn", y, relu=False)
        if f"{prefix}{name}.branch1.weight" in state:
            x = unit(f"{name}.branch1", f"{name}.branch1_bn", x, stride, relu=False)
        return (x + y).relu()

    paths = [slow, fast]
    for number in (0, 1):
        stem = f"s1.pathway{number}_stem"
        x = unit(f"{stem}.conv", f"{stem}.bn", paths[number], (1, 2, 2))
        paths[number] = functional.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    for stage, count in enumerate(BLOCKS, start=2):
        lateral = unit(f"s{stage - 1}_fuse.conv_f2s", f"s{stage - 1}_fuse.bn", paths[1], (alpha, 1, 1))
        paths[0] = torch.cat([paths[0], lateral], dim=1)
        for number in (0, 1):
            for i in range(count):
                step = 2 if i == 0 and stage > 2 else 1
                paths[number] = block(f"s{stage}.pathway{number}_res{i}", paths[number], step)
    return paths[0], paths[1]


def reducing(state: State, name: str, x: Tensor) -> Tensor:
    def unit(conv: str, norm: str, x: Tensor, padding: int = 0) -> Tensor:
        x = functional.conv3d(x, state[f"{name}.{conv}.weight"], padding=padding)
        return batch_norm(state, f"{name}.{norm}", x, 1e-5)

    y = unit("conv1", "bn1", x).relu()
    y = unit("conv3", "bn3", unit("conv2", "bn2", y, padding=1).relu())
    return (y + unit("downsample.0", "downsample.1", x)).relu()


def slowfast(state: dict[str, Tensor], x_NCTHW: Tensor) -> Tensor:
    """Return the logits of the BERT papers' SlowFast for a clip of 64 frames."""
    state, names = dict(state), {"mapper": 0, "mapper_slow": 0, "mapper_fast": 1}
    mappers = {name: number for name, number in names.items() if f"{name}.conv1.weight" in state}
    for name, number in mappers.items():  # one tensor with two names: the later one counts
        block = f"model.s5.pathway{number}_res2"
        if f"{block}.conv1.weight" in state:
            state |= {f"{block}{key.removeprefix(name)}": state[key] for key in state if key.startswith(f"{name}.")}
    paths = list(slowfast_paths(state, x_NCTHW[:, :, ::8], x_NCTHW[:, :, ::2], "model."))
    for name, number in mappers.items():
        if f"model.s5.pathway{number}_res2.conv1.weight" not in state:
            paths[number] = reducing(state, name, paths[number])
    slow, fast = (path.mean(dim=(3, 4)).transpose(1, 2) for path in paths)
    if "bert.clsToken" in state:
        fast = functional.adaptive_avg_pool1d(fast.transpose(1, 2), 8).transpose(1, 2)
        pooled_NF = bert(state, "bert", torch.cat([slow, fast], dim=2))
    elif "bert_slow.clsToken" in state:
        pooled_NF = torch.cat([bert(state, "bert_slow", slow), bert(state, "bert_fast", fast)], dim=1)
    else:
        pooled_NF = torch.cat([slow.mean(dim=1), fast.mean(dim=1)], dim=1)
    return functional.linear(pooled_NF, state["fc_action.weight"], state["fc_action.bias"])
