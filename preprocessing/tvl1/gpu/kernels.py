"""TV-L1 on one level of the pyramid as Triton kernels, steered by a state of each pair that lives on the device.

Here are the iterations and what decides who takes part in them; :mod:`.gpu.warping` has what comes before them.

Pairs move through warps, rounds and iterations each at its own pace. A pair's state says what it needs next; a kernel
passes over the pairs that need something else. The host only launches chunks of kernels, always the same ones, until
nobody is left. The work of a kernel is cut into tiles of the pairs that ``order`` lists, and its programs take turns.

A pair's bits depend on its images alone: tiles are cut by the size of the image, every tile leaves its share of the
squared change in a place of its own, and :func:`decide_kernel` adds the shares in a fixed order. No atomics.

Memory, for each pair (H height, W width): ``flow`` 3 slots x 2 components x H x W, where slots 0 and 1 are read and
written in turn and slot 2 holds filtered flow; ``dual`` 2 slots x 4 variables x H x W; ``gradient`` 2 x H x W;
``constant`` H x W; ``first`` H x W; ``second`` 3 x H x W (image, x gradient, y gradient); ``partial`` one number per
tile; ``state`` see below. ``order`` is the number of pairs that are not done, followed by their indices.
"""

import triton
import triton.language as tl

# Columns of the state
FIELDS = tl.constexpr(8)
PHASE = tl.constexpr(0)
SLOT = tl.constexpr(1)  # which slot of flow and dual is the current one
WARP = tl.constexpr(2)
ROUND = tl.constexpr(3)
ITERATION = tl.constexpr(4)  # of this round
# Phases
NEEDS_WARP = tl.constexpr(0)
NEEDS_MEDIAN = tl.constexpr(1)
ITERATES = tl.constexpr(2)
DONE = tl.constexpr(3)

FILTERED = tl.constexpr(2)  # slot of the flow that the median filter writes
TINY = tl.constexpr(1.1920929e-07)  # OpenCV's threshold below which the square of a gradient is none
SIZE = ["height", "width"]  # not specialised: one kernel for every size, whatever divides it
ROUNDER = tl.constexpr(12582912.0)  # 1.5 * 2**23: adding it leaves a number rounded to even in the low bits


@triton.jit
def tile_of(item, order, height, width, BLOCK_Y: tl.constexpr, BLOCK_X: tl.constexpr):
    """Return the pair of an item of work, the number of its tile, and the tile's upper left pixel."""
    tiles_x = tl.cdiv(width, BLOCK_X)
    tiles = tiles_x * tl.cdiv(height, BLOCK_Y)
    tile = item % tiles
    pair = tl.load(order + 1 + item // tiles).to(tl.int64)  # an offset of many planes needs 64 bits
    return pair, tile, (tile // tiles_x) * BLOCK_Y, (tile % tiles_x) * BLOCK_X


@triton.jit
def _shrink(slope_x, slope_y, dual_step):
    """Return ``1 / (1 + dual_step * |slope|)``. The root of a square is two instructions, a division eight."""
    length = tl.sqrt(slope_x * slope_x + slope_y * slope_y) * dual_step + 1.0
    return tl.rsqrt(length * length)


@triton.jit
def _read(pointer, mask, HAS_BORDER: tl.constexpr):
    return tl.load(pointer, mask=mask, other=0) if HAS_BORDER else tl.load(pointer)


@triton.jit
def _zero_unless(mask, value, HAS_BORDER: tl.constexpr):
    return tl.where(mask, value, 0.0) if HAS_BORDER else value


@triton.jit
def _read_dual(pointer, mask, inverse_scale, IS_INT16: tl.constexpr, HAS_BORDER: tl.constexpr):
    value = _read(pointer, mask, HAS_BORDER)
    return value.to(tl.float32) * inverse_scale if IS_INT16 else value


@triton.jit
def _write_dual(pointer, value, mask, scale, IS_INT16: tl.constexpr):
    if IS_INT16:
        value = (value * scale + ROUNDER).to(tl.int32, bitcast=True).to(tl.int16)
    tl.store(pointer, value, mask=mask)


@triton.jit
def _advance(
    flow,
    dual,
    gradient,
    constant,
    slot,
    source_slot,
    moves,
    y,
    x,
    height,
    width,
    tau,
    dual_step,
    limit,
    scale,
    inverse_scale,
    IS_INT16: tl.constexpr,
    HAS_BORDER: tl.constexpr,
):
    """Advance one tile of one pair by an iteration and return its sum of squared change, square pixels.

    ``flow``, ``dual``, ``gradient`` and ``constant`` point to the planes of the pair. ``moves`` is 0 where the dual
    variables must rest, else 1. A tile that touches no border has all its neighbours and needs no masks.
    """
    area = height * width
    inside = (y < height) & (x < width)
    has_left, has_upper = inside & (x > 0), inside & (y > 0)
    has_right, has_lower = inside & (x < width - 1), inside & (y < height - 1)
    has_lower_left, has_upper_right = has_left & has_lower, has_upper & has_right
    pixel = y * width + x

    gradient_x = _read(gradient + pixel, inside, HAS_BORDER)
    gradient_y = _read(gradient + area + pixel, inside, HAS_BORDER)
    source_x = _read(flow + source_slot * 2 * area + pixel, inside, HAS_BORDER)
    source_y = _read(flow + (source_slot * 2 + 1) * area + pixel, inside, HAS_BORDER)
    residual = (_read(constant + pixel, inside, HAS_BORDER) + gradient_x * source_x) + gradient_y * source_y
    square = gradient_x * gradient_x + gradient_y * gradient_y
    inverse = tl.rsqrt(tl.maximum(square, TINY))
    pull = tl.where(square > TINY, -residual * (inverse * inverse), 0.0)
    pull = tl.minimum(tl.maximum(pull, -limit), limit)

    squared_change = tl.zeros_like(square)
    for component in tl.static_range(2):
        old = flow + (slot * 2 + component) * area + pixel
        here = _read(old, inside, HAS_BORDER)
        left, upper = _read(old - 1, has_left, HAS_BORDER), _read(old - width, has_upper, HAS_BORDER)
        right, lower = _read(old + 1, has_right, HAS_BORDER), _read(old + width, has_lower, HAS_BORDER)
        lower_left = _read(old + width - 1, has_lower_left, HAS_BORDER)
        upper_right = _read(old - width + 1, has_upper_right, HAS_BORDER)
        dual_x = dual + (slot * 4 + 2 * component) * area + pixel
        dual_y = dual_x + area

        slope_x = _zero_unless(has_right, right - here, HAS_BORDER) * moves
        slope_y = _zero_unless(has_lower, lower - here, HAS_BORDER) * moves
        shrink = _shrink(slope_x, slope_y, dual_step)
        new_x = (_read_dual(dual_x, inside, inverse_scale, IS_INT16, HAS_BORDER) + slope_x) * shrink
        new_y = (_read_dual(dual_y, inside, inverse_scale, IS_INT16, HAS_BORDER) + slope_y) * shrink

        slope_x = (here - left) * moves
        slope_y = _zero_unless(has_lower, lower_left - left, HAS_BORDER) * moves
        left_x = _read_dual(dual_x - 1, has_left, inverse_scale, IS_INT16, HAS_BORDER) + slope_x
        left_x = _zero_unless(has_left, left_x * _shrink(slope_x, slope_y, dual_step), HAS_BORDER)

        slope_x = _zero_unless(has_right, upper_right - upper, HAS_BORDER) * moves
        slope_y = (here - upper) * moves
        upper_y = _read_dual(dual_y - width, has_upper, inverse_scale, IS_INT16, HAS_BORDER) + slope_y
        upper_y = _zero_unless(has_upper, upper_y * _shrink(slope_x, slope_y, dual_step), HAS_BORDER)

        change = ((new_x - left_x) + (new_y - upper_y)) * tau + pull * (gradient_x if component == 0 else gradient_y)
        squared_change += _zero_unless(inside, change * change, HAS_BORDER)
        new = flow + ((1 - slot) * 2 + component) * area + pixel
        tl.store(new, (source_x if component == 0 else source_y) + change, mask=inside)
        new_dual = dual + ((1 - slot) * 4 + 2 * component) * area + pixel
        _write_dual(new_dual, new_x, inside, scale, IS_INT16)
        _write_dual(new_dual + area, new_y, inside, scale, IS_INT16)
    return tl.sum(squared_change)


@triton.jit(do_not_specialize=SIZE)
def step_kernel(
    flow,
    dual,
    gradient,
    constant,
    state,
    order,
    partial,
    height,
    width,
    tau,
    dual_step,
    limit,
    scale,
    inverse_scale,
    IS_FIRST: tl.constexpr,
    HAS_MEDIAN: tl.constexpr,
    IS_INT16: tl.constexpr,
    BLOCK_Y: tl.constexpr,
    BLOCK_X: tl.constexpr,
):
    """One iteration: the dual variables follow the flow of the current slot, then the flow follows them.

    A pixel needs the new dual variables of its left and upper neighbours too, and computes them again, so that one pass
    over memory is enough. The first step of a chunk takes everyone along; in a new round the flow starts from its
    filtered copy, and before the very first iteration of a level the dual variables rest.
    """
    area = height * width
    tiles = tl.cdiv(width, BLOCK_X) * tl.cdiv(height, BLOCK_Y)
    for item in range(tl.program_id(0), tl.load(order) * tiles, tl.num_programs(0)):
        pair, tile, top, left = tile_of(item, order, height, width, BLOCK_Y, BLOCK_X)
        fields = state + pair * FIELDS
        phase = tl.load(fields + PHASE)
        if IS_FIRST or phase == ITERATES:
            slot = tl.load(fields + SLOT)
            source_slot = slot
            moves = 1.0
            if IS_FIRST:
                is_fresh = phase != ITERATES
                if HAS_MEDIAN:
                    source_slot = tl.where(is_fresh, FILTERED, slot)
                is_start = is_fresh & (tl.load(fields + WARP) == 0) & (tl.load(fields + ROUND) == 0)
                moves = tl.where(is_start, 0.0, 1.0)
            pair_flow, pair_dual = flow + pair * 6 * area, dual + pair * 8 * area
            pair_gradient, pair_constant = gradient + pair * 2 * area, constant + pair * area
            y, x = top + tl.arange(0, BLOCK_Y)[:, None], left + tl.arange(0, BLOCK_X)[None, :]
            inner = (top > 0) & (left > 0) & (top + BLOCK_Y < height) & (left + BLOCK_X < width)
            if inner:
                share = _advance(
                    pair_flow, pair_dual, pair_gradient, pair_constant, slot, source_slot, moves, y, x, height, width,
                    tau, dual_step, limit, scale, inverse_scale, IS_INT16, False,
                )  # fmt: skip
            else:
                share = _advance(
                    pair_flow, pair_dual, pair_gradient, pair_constant, slot, source_slot, moves, y, x, height, width,
                    tau, dual_step, limit, scale, inverse_scale, IS_INT16, True,
                )  # fmt: skip
            tl.store(partial + pair * tiles + tile, share)


@triton.jit(do_not_specialize=["num_tiles", "warps", "rounds", "iterations"])
def decide_kernel(
    state,
    order,
    partial,
    num_tiles,
    threshold,
    warps,
    rounds,
    iterations,
    IS_FIRST: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """After a step: add up a pair's squared change, and say what the pair needs next. One program per listed pair."""
    place = tl.program_id(0)
    is_listed = place < tl.load(order)
    pair = tl.load(order + 1 + place, mask=is_listed, other=0)
    fields = state + pair * FIELDS
    phase = tl.where(is_listed, tl.load(fields + PHASE), DONE)
    if (phase == ITERATES) | ((phase != DONE) & IS_FIRST):
        sums = tl.zeros([BLOCK], tl.float32)
        for start in range(0, num_tiles, BLOCK):
            tile = start + tl.arange(0, BLOCK)
            sums += tl.load(partial + pair.to(tl.int64) * num_tiles + tile, mask=tile < num_tiles, other=0.0)
        stops = tl.sum(sums) <= threshold

        iteration = tl.load(fields + ITERATION) + 1
        ends_round = iteration == iterations
        next_round = tl.load(fields + ROUND) + ends_round.to(tl.int32)
        ends_warp = stops | (next_round == rounds)
        next_warp = tl.load(fields + WARP) + ends_warp.to(tl.int32)
        phase = tl.where(ends_round, NEEDS_MEDIAN, ITERATES)
        phase = tl.where(ends_warp, tl.where(next_warp == warps, DONE, NEEDS_WARP), phase)
        tl.store(fields + PHASE, phase)
        tl.store(fields + SLOT, 1 - tl.load(fields + SLOT))
        tl.store(fields + WARP, next_warp)
        tl.store(fields + ROUND, tl.where(ends_warp, 0, next_round))
        tl.store(fields + ITERATION, tl.where(ends_warp | ends_round, 0, iteration))


@triton.jit(do_not_specialize=["num_pairs"])
def order_kernel(state, order, num_pairs, BLOCK: tl.constexpr):
    """List the pairs that are not done. One program; ``BLOCK`` is at least the number of pairs."""
    pair = tl.arange(0, BLOCK)
    phase = tl.load(state + pair * FIELDS + PHASE, mask=pair < num_pairs, other=DONE)
    is_left = phase != DONE
    tl.store(order + tl.cumsum(is_left.to(tl.int32), 0), pair, mask=is_left)
    tl.store(order, tl.sum(is_left.to(tl.int32)))
