"""What a pair of TV-L1 needs before its iterations, as Triton kernels: a warp, then a median filter in every round.

Memory and the state of a pair are those of :mod:`.gpu.kernels`.
"""

import triton
import triton.language as tl

from kinebert.preprocessing.tvl1.gpu.kernels import FIELDS, FILTERED, ITERATES, NEEDS_WARP, PHASE, SIZE, SLOT, tile_of


@triton.jit
def _cubic_weights(t):
    """Weights of the four pixels around a position that lies ``t`` after the second (Keys, a = -0.75)."""
    r = 1.0 - t
    before = t * (r * r) * -0.75
    near = (t * 1.25 - 2.25) * (t * t) + 1.0
    far = (r * 1.25 - 2.25) * (r * r) + 1.0
    return before, near, far, ((1.0 - before) - near) - far


@triton.jit(do_not_specialize=SIZE)
def warp_kernel(
    flow,
    first,
    second,
    gradient,
    constant,
    state,
    order,
    height,
    width,
    BLOCK_Y: tl.constexpr,
    BLOCK_X: tl.constexpr,
):
    """Sample the second image and its gradients at pixel + flow, and linearise the difference to the first.

    Outside of the image there are zeros, as in OpenCV's ``remap`` with a constant border.
    """
    area = height * width
    tiles = tl.cdiv(width, BLOCK_X) * tl.cdiv(height, BLOCK_Y)
    for item in range(tl.program_id(0), tl.load(order) * tiles, tl.num_programs(0)):
        pair, _, top, left = tile_of(item, order, height, width, BLOCK_Y, BLOCK_X)
        y, x = top + tl.arange(0, BLOCK_Y)[:, None], left + tl.arange(0, BLOCK_X)[None, :]
        fields = state + pair * FIELDS
        if tl.load(fields + PHASE) == NEEDS_WARP:
            inside = (y < height) & (x < width)
            pixel = y * width + x
            pair_flow = flow + (pair * 6 + tl.load(fields + SLOT) * 2) * area + pixel
            flow_x = tl.load(pair_flow, mask=inside, other=0.0)
            flow_y = tl.load(pair_flow + area, mask=inside, other=0.0)
            # from three pixels outside on, all four taps lie outside
            at_x = tl.minimum(tl.maximum(flow_x + x.to(tl.float32), -3.0), width + 1.0)
            at_y = tl.minimum(tl.maximum(flow_y + y.to(tl.float32), -3.0), height + 1.0)
            floor_x, floor_y = tl.floor(at_x), tl.floor(at_y)
            weights_x, weights_y = _cubic_weights(at_x - floor_x), _cubic_weights(at_y - floor_y)
            start_x, start_y = floor_x.to(tl.int32) - 1, floor_y.to(tl.int32) - 1

            image = second + pair * 3 * area
            warped = tl.zeros([BLOCK_Y, BLOCK_X], tl.float32)
            gradient_x, gradient_y = warped, warped
            for i in tl.static_range(4):
                row, row_x, row_y = tl.zeros_like(warped), tl.zeros_like(warped), tl.zeros_like(warped)
                for j in tl.static_range(4):
                    tap_y, tap_x = start_y + i, start_x + j
                    exists = inside & (tap_y >= 0) & (tap_y < height) & (tap_x >= 0) & (tap_x < width)
                    tap = image + tap_y * width + tap_x
                    row += tl.load(tap, mask=exists, other=0.0) * weights_x[j]
                    row_x += tl.load(tap + area, mask=exists, other=0.0) * weights_x[j]
                    row_y += tl.load(tap + 2 * area, mask=exists, other=0.0) * weights_x[j]
                warped += row * weights_y[i]
                gradient_x += row_x * weights_y[i]
                gradient_y += row_y * weights_y[i]

            pair_gradient = gradient + pair * 2 * area + pixel
            tl.store(pair_gradient, gradient_x, mask=inside)
            tl.store(pair_gradient + area, gradient_y, mask=inside)
            pair_area = pair * area
            difference = (warped - gradient_x * flow_x) - gradient_y * flow_y
            difference -= tl.load(first + pair_area + pixel, mask=inside, other=0.0)
            tl.store(constant + pair_area + pixel, difference, mask=inside)


@triton.jit
def _compare(wires, LOW: tl.constexpr, HIGH: tl.constexpr, KEEP_LOW: tl.constexpr, KEEP_HIGH: tl.constexpr):
    """Return the wires after one comparator; a result that nobody needs is not computed."""
    a, b = wires[LOW], wires[HIGH]
    if KEEP_LOW:
        wires = wires[:LOW] + (tl.minimum(a, b),) + wires[LOW + 1 :]  # noqa: RUF005 # Triton knows no unpacking
    if KEEP_HIGH:
        wires = wires[:HIGH] + (tl.maximum(a, b),) + wires[HIGH + 1 :]  # noqa: RUF005
    return wires


@triton.jit(do_not_specialize=SIZE)
def median_kernel(
    flow,
    state,
    order,
    height,
    width,
    NETWORK: tl.constexpr,
    MEDIAN: tl.constexpr,
    SIDE: tl.constexpr,
    BLOCK_Y: tl.constexpr,
    BLOCK_X: tl.constexpr,
):
    """Filter the flow of pairs at the start of a round; the border is repeated.

    ``NETWORK`` lists the comparators ``(low, high, keep_low, keep_high)`` on wires ``row * SIDE + column`` of a window;
    the median ends on wire ``MEDIAN``.
    """
    area = height * width
    tiles = tl.cdiv(width, BLOCK_X) * tl.cdiv(height, BLOCK_Y)
    for item in range(tl.program_id(0), tl.load(order) * tiles, tl.num_programs(0)):
        pair, _, top, left = tile_of(item, order, height, width, BLOCK_Y, BLOCK_X)
        y, x = top + tl.arange(0, BLOCK_Y)[:, None], left + tl.arange(0, BLOCK_X)[None, :]
        fields = state + pair * FIELDS
        if tl.load(fields + PHASE) != ITERATES:
            inside = (y < height) & (x < width)
            slot = tl.load(fields + SLOT)
            for component in tl.static_range(2):
                plane = flow + (pair * 6 + slot * 2 + component) * area
                wires = ()
                for wire in tl.static_range(SIDE * SIDE):
                    row = tl.minimum(tl.maximum(y + (wire // SIDE - SIDE // 2), 0), height - 1)
                    column = tl.minimum(tl.maximum(x + (wire % SIDE - SIDE // 2), 0), width - 1)
                    value = tl.load(plane + row * width + column, mask=inside, other=0.0)
                    wires = wires + (value,)  # noqa: RUF005
                for k in tl.static_range(len(NETWORK)):
                    wires = _compare(wires, NETWORK[k][0], NETWORK[k][1], NETWORK[k][2], NETWORK[k][3])
                filtered = flow + (pair * 6 + FILTERED * 2 + component) * area
                tl.store(filtered + y * width + x, wires[MEDIAN], mask=inside)
