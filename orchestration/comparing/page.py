"""A comparison as one HTML page that needs nothing else: styles and pictures are in it, and no script."""

import base64
from collections.abc import Iterable, Sequence
from html import escape

from kinebert.orchestration.comparing.figures import colours
from kinebert.orchestration.comparing.tables import verdict_of
from kinebert.orchestration.comparing.verdict import Standing, Verdict, class_changes, pair_changes
from kinebert.orchestration.reports.formatting import (
    UNKNOWN,
    between_points,
    cut_middle,
    p_text,
    percent,
    percents,
    points,
)
from kinebert.training.evaluation.metrics import TOP
from kinebert.training.evaluation.significance import ALPHA

MOST_PAIRS = 12
MOST_IN_MATRIX = 12
"""Runs up to which the p-values of all pairs are shown."""
_LONGEST = 84
_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: #222; background: #fff;
  max-width: 68rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p, li { max-width: 52rem; } .faint { color: #666; font-size: .87rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .87rem; }
th, td { padding: .28rem .7rem; border-bottom: 1px solid #e4e4e4; text-align: left; vertical-align: top; }
th { border-bottom: 1px solid #999; font-weight: 600; white-space: nowrap; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.name { white-space: nowrap; }
tr.base td { background: #f6f6f6; } td.value { overflow-wrap: anywhere; min-width: 6rem; max-width: 22rem; }
.chip { display: inline-block; width: .75em; height: .75em; border-radius: 50%; margin-right: .45em; }
.box { border-left: 4px solid #1b7837; background: #f1f8f2; padding: .6rem 1rem; margin: 1rem 0; }
.box.no { border-color: #b3423a; background: #fcf2f1; } .box ul { margin: .3rem 0 0; padding-left: 1.2rem; }
.more { color: #1b7837; } .less { color: #a6373c; } td.sure { font-weight: 600; }
img { max-width: 100%; height: auto; display: block; margin: .4rem 0; }
details { margin: .6rem 0; } summary { cursor: pointer; color: #0b5394; }
"""


def render(title: str, verdict: Verdict, pictures: dict[str, bytes]) -> str:
    """Return the page.

    Args:
        title: What is compared.
        verdict: The comparison.
        pictures: PNG files by the names that :func:`.pictures.draw_all` gives them.
    """
    parts = [f"<h1>{escape(title)}</h1>", _banner(verdict)]
    if verdict.standings:
        parts += ["<h2>Accuracy</h2>", _accuracies(verdict), _picture(pictures, "accuracy", "accuracy of every run")]
    if len(verdict.pairs) > 1 and len(verdict.standings) <= MOST_IN_MATRIX:
        parts += ["<h2>Who differs from whom</h2>", _matrix(verdict)]
    parts += ["<h2>What differs</h2>", _differences(verdict)]
    if "curves" in pictures:
        parts += ["<h2>Training</h2>", _picture(pictures, "curves", "validation by epoch")]
    parts += [
        _against(verdict.baseline, other, pictures, i, is_open=len(verdict.shown) <= 3)
        for i, other in enumerate(verdict.shown, start=1)
    ]
    if len(verdict.shown) < len(verdict.others):
        parts.append(f"<p>The classes of {len(verdict.others) - len(verdict.shown)} more runs are in classes.csv.</p>")
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _banner(verdict: Verdict) -> str:
    obstacles = "".join(f"<li>{escape(obstacle)}</li>" for obstacle in verdict.obstacles)
    notes = "".join(f"<li>{escape(note)}</li>" for note in verdict.notes)
    noted = f'<ul class="faint">{notes}</ul>' if notes else ""
    if not verdict.ranked:
        return (
            f'<div class="box no"><b>Not ranked:</b> the numbers do not mean the same.<ul>{obstacles}</ul></div>{noted}'
        )
    best, base = verdict.standings[0], verdict.baseline
    leaders = [one.run.name for one in verdict.standings if one.metrics.top[1] == best.metrics.top[1]]
    has = "has" if len(leaders) == 1 else "share"
    words = [f"<b>{escape(_listed(leaders))}</b> {has} the highest top-1, {percent(best.metrics.top[1])} %."]
    equal = [
        standing.run.name
        for standing in verdict.standings[len(leaders) :]
        if _p_value(verdict, best.run.name, standing.run.name) >= ALPHA
    ]
    if equal:
        words.append(f"The lead over {escape(_listed(equal))} is within what chance explains.")
    elif len(verdict.standings) > len(leaders):
        words.append("The lead over every other run is more than chance explains.")
    words.append(f"Differences are to <b>{escape(base.run.name)}</b>.")
    text = f'<div class="box">{" ".join(words)}</div>'
    if verdict.obstacles:
        text += f'<div class="box no"><b>Ranked all the same, as was asked:</b><ul>{obstacles}</ul></div>'
    return text + noted


def _accuracies(verdict: Verdict) -> str:
    base = verdict.baseline.run.name
    colour = colours([run.name for run in verdict.runs])
    head = ["run", "tested on", "videos", "top-1", "95 %", *(f"top-{k}" for k in TOP[1:]), "mean class", "ECE"]
    head += ["difference", "95 %", "p"] if verdict.ranked else []
    rows = []
    for standing in verdict.standings:
        name, numbers, interval = standing.run.name, standing.metrics.as_numbers(), standing.intervals["top1"]
        chip = f'<span class="chip" style="background:{colour[name]}"></span>'
        words = f"{chip}{escape(name)}", escape(standing.run.evaluation)
        cells = [f'<td class="name">{word}</td>' for word in words]
        shares = [numbers[f"top{k}"] for k in TOP[1:]] + [numbers["mean_class"]]
        values = [str(standing.metrics.num_videos), percent(numbers["top1"]), percents((interval.low, interval.high))]
        values += [*map(percent, shares), percent(numbers["ece"]) if "ece" in numbers else UNKNOWN]
        cells += [_number(value) for value in values]
        if verdict.ranked:
            cells += _to_baseline(verdict, name) if name != base else ['<td class="n" colspan="3">baseline</td>']
        kind = "base" if name == base and verdict.ranked else ""
        rows.append(f'<tr class="{kind}">{"".join(cells)}</tr>')
    told = (
        "All in percent. 95 %: where top-1 (or the difference) lies in 95 % of 1,000 draws of as many videos with "
        "replacement, the same draws for every run. ECE: expected calibration error."
    )
    if verdict.ranked:
        told += (
            " p: McNemar's exact test on the videos that only one of the two has right, with Holm's allowance for "
            f"{len(verdict.pairs)} comparison{'s' * (len(verdict.pairs) > 1)}; below {ALPHA:g} is called significant."
        )
    return _table(head, rows, text=2) + f'<p class="faint">{told}</p>'


def _to_baseline(verdict: Verdict, name: str) -> list[str]:
    found = verdict.pairs[verdict.baseline.run.name, name].differences["top1"]
    p_value = verdict.p_values[verdict.baseline.run.name, name]
    ends = between_points((found.interval.low, found.interval.high))
    sure = " sure" if p_value < ALPHA else ""
    return [
        f'<td class="n{sure}">{_signed(found.second - found.first)}</td>',
        _number(ends),
        f'<td class="n{sure}" title="{verdict_of(p_value)}">{p_text(p_value)}</td>',
    ]


def _matrix(verdict: Verdict) -> str:
    names = [standing.run.name for standing in verdict.standings]
    rows = []
    for one in names:
        cells = [f"<td>{escape(one)}</td>"]
        for other in names:
            if one == other:
                cells.append('<td class="n">·</td>')
                continue
            p_value = _p_value(verdict, one, other)
            sure = " sure" if p_value < ALPHA else ""
            ahead, behind = _only(verdict, one, other)
            cells.append(
                f'<td class="n{sure}">{ahead} : {behind}<br><span class="faint">p {p_text(p_value)}</span></td>'
            )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    told = (
        "Videos that only the run of the row has right : only the run of the column; below it the p-value. Bold: "
        "significant."
    )
    return _table(["", *names], rows, text=1) + f'<p class="faint">{told}</p>'


def _differences(verdict: Verdict) -> str:
    rows = [
        f"<tr><td>{line.kind}</td><td>{escape(line.name)}</td>"
        + "".join(f'<td class="value">{escape(cut_middle(value, _LONGEST))}</td>' for value in line.values)
        + "</tr>"
        for line in verdict.differences
    ]
    same = f'<p class="faint">{verdict.num_same} values of the recipes are the same in all runs.</p>'
    where = "".join(f"<li>{escape(run.name)}: {escape(run.where)}</li>" for run in verdict.runs)
    places = f"<details><summary>where the runs are</summary><ul>{where}</ul></details>"
    if not rows:
        return "<p>Nothing that was kept.</p>" + same + places
    return _table(["", "", *(run.name for run in verdict.runs)], rows, text=2 + len(verdict.runs)) + same + places


def _against(before: Standing, after: Standing, pictures: dict[str, bytes], place: int, is_open: bool) -> str:
    """One run against the baseline: classes and confusions."""
    names = f"{escape(after.run.name)} against {escape(before.run.name)}"
    classes = class_changes(before, after)
    moved = sum(bool(row.change) for row in classes)
    if not moved and f"confusion-{place}" not in pictures:
        return f"<h2>{names}</h2><p>Every class fares the same.</p>"
    parts = [f"<p>{moved} of {len(classes)} classes fare differently.</p>"]
    parts.append(_picture(pictures, f"classes-{place}", "accuracy of classes, before and after"))
    parts.append(f"<details><summary>all classes</summary>{_class_table(before, after)}</details>")
    parts += ["<h3>Confusion</h3>", _pair_table(before, after)]
    told = "Points of a class (row) that are taken for another more or less often; green is better."
    parts.append(f'<p class="faint">{told}</p>' if f"confusion-{place}" in pictures else "")
    parts.append(_picture(pictures, f"confusion-{place}", "change of the confusion"))
    inside = "\n".join(part for part in parts if part)
    if is_open:
        return f"<h2>{names}</h2>\n{inside}"
    return f"<details><summary><b>{names}</b></summary>\n{inside}\n</details>"


def _class_table(before: Standing, after: Standing) -> str:
    rows = []
    for row in sorted(class_changes(before, after), key=lambda row: (-abs(row.change), row.name)):
        sure = " sure" if row.p_value < ALPHA else ""
        values = [str(row.num_videos), percent(row.before), percent(row.after)]
        cells = [
            f"<td>{escape(row.name)}</td>",
            *map(_number, values),
            f'<td class="n{sure}">{_signed(row.change)}</td>',
        ]
        cells += [_number(f"{row.only_before} : {row.only_after}"), _number(p_text(row.p_value))]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    names = [before.run.name, after.run.name]
    return _table(["class", "videos", *names, "change", "only one right", "p"], rows, text=1)


def _pair_table(before: Standing, after: Standing) -> str:
    changes = pair_changes(before, after)
    if not changes:
        return "<p>No pair of classes is confused more or less often.</p>"
    rows = []
    for row in changes[:MOST_PAIRS]:
        change = row.after - row.before
        sign = f'<span class="{"less" if change > 0 else "more"}">{change:+d}</span>'
        cells = [f"<td>{escape(row.name)}</td><td>{escape(row.taken_for)}</td>"]
        cells += [_number(str(row.before)), _number(str(row.after)), f'<td class="n">{sign}</td>']
        rows.append(f"<tr>{''.join(cells)}</tr>")
    more = len(changes) - len(rows)
    rest = f'<p class="faint">and {more} more pairs, see confusions.csv.</p>' if more > 0 else ""
    return _table(["class", "taken for", before.run.name, after.run.name, "videos"], rows, text=2) + rest


def _p_value(verdict: Verdict, one: str, other: str) -> float:
    return verdict.p_values[(one, other) if (one, other) in verdict.pairs else (other, one)]


def _only(verdict: Verdict, one: str, other: str) -> tuple[int, int]:
    if (one, other) in verdict.pairs:
        found = verdict.pairs[one, other]
        return found.only_first, found.only_second
    found = verdict.pairs[other, one]
    return found.only_second, found.only_first


def _table(head: Sequence[str], rows: Iterable[str], text: int) -> str:
    """Return a table whose first ``text`` columns are words, and the others numbers."""
    cells = "".join(f'<th class="{"n" if i >= text else ""}">{escape(name)}</th>' for i, name in enumerate(head))
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _picture(pictures: dict[str, bytes], name: str, about: str) -> str:
    if name not in pictures:
        return ""
    data = base64.b64encode(pictures[name]).decode()
    return f'<img alt="{escape(about)}" src="data:image/png;base64,{data}">'


def _listed(names: Sequence[str]) -> str:
    if len(names) > 4:
        return f"{len(names)} others"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _number(text: str) -> str:
    return f'<td class="n">{escape(text)}</td>'


def _signed(share: float) -> str:
    sign = "more" if share > 0 else "less" if share < 0 else ""
    return f'<span class="{sign}">{points(share)}</span>'
