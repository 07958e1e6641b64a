"""What a recipe and a command should say on this machine, by the numbers of the stages."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

LEAST_GAIN = 1.03
"""Times by which a setting must be faster: below it, measurements of another day say otherwise."""


def advice(results: Mapping[str, Any]) -> list[str]:
    """Return lines to print; results are those of the stages by name, as far as there are some."""
    lines = []
    by_network: dict[str, list[Any]] = {}
    for row in results.get("networks", {}).get("rows", []):
        by_network.setdefault(row["network"], []).append(row)
    feed = results.get("feed", {})
    for name, rows in by_network.items():
        best = fastest(rows)
        lines += [f"# {name}: {best['clips_per_s']:.0f} clips/s, {best['times_plain']:.2f} times the plain reading"]
        lines += [*settings(rows, best), *feeding(best["clip"], best["clips_per_s"], feed), ""]
    return lines + sharing(results.get("flow", {}))


def fastest(rows: Sequence[Any]) -> Any:
    """Return the row of the simplest settings that no other beats by :data:`LEAST_GAIN`.

    cuDNN measures its algorithms there, as it does in trainings, if that was tried.
    """
    ours = [row for row in rows if not row["variant"]["is_plain"]]
    ours = [row for row in ours if row["variant"]["benchmark"]] or ours
    most = max(row["clips_per_s"] for row in ours)
    enough = [row for row in ours if row["clips_per_s"] * LEAST_GAIN >= most]
    return min(
        enough, key=lambda row: (row["variant"]["compiled"], row["variant"]["channels_last"], -row["clips_per_s"])
    )


def settings(rows: Sequence[Any], best: Any) -> list[str]:
    """Lines of TOML: layout, compiling, and what determinism costs by cuDNN's guesses alone."""
    chosen = best["variant"]
    lines = [f"channels_last = {str(chosen['channels_last']).lower()}"]
    eager = fastest([row for row in rows if not row["variant"]["compiled"]] or [best])
    if any(row["variant"]["compiled"] for row in rows):
        line = f"compile = {str(chosen['compiled']).lower()}"
        if chosen["compiled"]:
            gain = best["clips_per_s"] / eager["clips_per_s"]
            if gain > 1:
                repaid = best["first_s"] * gain / (gain - 1) / 60
                line += f"  # {gain:.2f} times as fast; "
                line += f"the {best['first_s']:.0f} s at each start are repaid in {repaid:.0f} min"
        lines.append(line)
    else:
        lines.append("# compile: not measured")
    guessed = [row for row in rows if {**row["variant"], "benchmark": False} == {**chosen, "benchmark": False}]
    rate = {row["variant"]["benchmark"]: row["clips_per_s"] for row in guessed}
    if len(rate) == 2:
        lines.append(f"# cudnn.benchmark, on unless deterministic = true: {rate[True] / rate[False]:.2f} times as fast")
    return lines


def feeding(clip: Sequence[int], clips_per_s: float, feed: Mapping[str, Any]) -> list[str]:
    """Lines of TOML: who resizes, and how many loaders keep up."""
    rows = {row["resize_on"]: row for row in feed.get("rows", []) if [row["frames"], row["size"]] == [*clip]}
    if not rows:
        return []
    loader = rows.get("loader")
    where = (
        "loader"
        if loader and loader["clips_per_s"] >= clips_per_s
        else max(rows, key=lambda on: rows[on]["clips_per_s"])
    )
    row = rows[where]
    needed = math.ceil(clips_per_s * row["loaders"] / row["clips_per_s"])
    lines = [f'data.resize_on = "{where}"']
    if row["clips_per_s"] >= clips_per_s:
        return [*lines, f'loader_workers = "auto"  # {needed} of {row["loaders"]} loaders would do for one GPU']
    share = row["clips_per_s"] / clips_per_s
    return [
        *lines,
        f'loader_workers = "auto"  # {row["loaders"]} loaders keep the GPU {share:.0%} busy; it would take {needed}: '
        "more cores, or smaller stored pictures (width = 171, height = 128 for clips of 112 px)",
    ]


def sharing(flow: Mapping[str, Any]) -> list[str]:
    """Lines about the extraction of flow: how many tasks share a GPU, and whether MPS pays."""
    rates = flow.get("rates", [])
    if not rates:
        return []
    best = max(rates, key=lambda one: one["pairs_per_s"])
    enough = [one for one in rates if one["pairs_per_s"] * LEAST_GAIN >= best["pairs_per_s"]]
    chosen = min(enough, key=lambda one: (one["mps"], one["tasks"]))
    share = f"{1 / chosen['tasks']:g}"
    line = f"# kinebert extract-flow --gpus-per-task {share}: {chosen['pairs_per_s']:.0f} pairs/s"
    if chosen["mps"]:
        return [f"{line}, with MPS: start nvidia-cuda-mps-control -d on each node before Ray"]
    if any(one["mps"] for one in rates):
        return [f"{line}; MPS brings nothing here"]
    return [f"{line}; MPS was not measured"]
