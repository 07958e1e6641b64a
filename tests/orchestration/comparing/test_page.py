"""The page of a comparison: whole, alone, and safe from the names that it shows."""

import re
from html.parser import HTMLParser

import pytest

from kinebert.orchestration.comparing.figures import draw_all
from kinebert.orchestration.comparing.page import render
from kinebert.orchestration.comparing.runs import Run
from kinebert.orchestration.comparing.verdict import class_changes, judge, pair_changes
from tests.helpers.compared import make_scores, side


class Reader(HTMLParser):
    """Collects what a page would fetch, and whether its tags fit into each other."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else_and_takes_names_as_they_are(three: list[Run]) -> None:
    evil = side("<script>alert(1)</script> & co", make_scores(0.7, seed=9), seed="<b>")
    verdict = judge([*three, evil])
    pictures = draw_all(verdict)
    assert {"accuracy", "classes-1", "confusion-3"} <= pictures.keys()
    text = render("a <title>", verdict, pictures)
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert all(source.startswith("data:image/png;base64,") for source in reader.sources)
    assert len(reader.sources) == len(pictures)
    assert "<script" not in text
    assert not re.search("https?://|url\\(|@import", text)


@pytest.mark.parametrize(("num", "further"), [(2, []), (4, ["top-3"]), (7, ["top-3", "top-5"])])
def test_top_k_that_nobody_can_miss_are_no_columns(num: int, further: list[str]) -> None:
    runs = [side(name, make_scores(0.7, seed=i, classes="abcdefg"[:num])) for i, name in enumerate("ab")]
    text = render("t", judge(runs), {})
    head, *rows = re.findall(r"<tr.*?</tr>", text[text.index(">top-1<") - 500 :], re.DOTALL)[:3]
    assert re.findall("top-[35]", head) == further
    assert [row.count("<td") + 2 * row.count('colspan="3"') for row in rows] == [head.count("<th")] * 2


class Words(Reader):
    """Collects, beside that, what a reader sees, and the attributes of every tag."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        super().handle_starttag(tag, attrs)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words.append(" ".join(data.split()))


def read(page: str) -> Words:
    words = Words()
    words.feed(page)
    assert words.open == []
    return words


HOSTILE = ("<img src=x onerror=alert(1)>", '"><b onclick="y">', "{{ 7 * 7 }}", "a&lt;b 'c'")


def test_class_names_and_places_are_text_whatever_they_hold() -> None:
    one, other = (
        side(name, make_scores(accuracy, classes=HOSTILE, seed=i), note=name)
        for i, (name, accuracy) in enumerate([("x' onload='1", 0.6), ("{% raw %}", 0.8)])
    )
    words = read(render("</title><script>", judge([one, other]), {}))
    for name in (*HOSTILE, one.name, other.name):
        assert name in words.words
    assert {f"{name}: /runs/{name}" for name in (one.name, other.name)} <= set(words.words)
    assert words.words.count("</title><script>") == 2
    assert {name for name, _ in words.attributes} <= {
        "lang", "charset", "name", "content", "class", "style", "title", "colspan"
    }  # fmt: skip
    assert words.sources == []


def test_the_page_says_the_numbers_of_the_verdict(three: list[Run]) -> None:
    verdict = judge(three)
    words = read(render("t", verdict, {})).words
    words = words[words.index("Accuracy") :]
    for standing in verdict.standings:
        at = words.index(standing.run.evaluation, words.index(standing.run.name))
        cells = [word for word in words[at:] if word]
        assert cells[1] == "200"
        assert cells[2] == f"{100 * standing.metrics.top[1]:.1f}"
        between = standing.intervals["top1"]
        assert cells[3] == f"{100 * between.low:.1f} to {100 * between.high:.1f}"
    found = verdict.pairs["a", "b"]
    assert f"{found.only_first} : {found.only_second}" in words
    assert f"{found.only_second} : {found.only_first}" in words
    assert f"p {verdict.p_values['a', 'b']:.2g}" in words
    change = class_changes(verdict.baseline, verdict.others[0])[0]
    assert f"{100 * change.change:+.1f}" in words


def test_runs_that_share_the_lead_and_those_within_chance_are_named() -> None:
    scores = make_scores(0.8)
    sharing = judge([side("a", scores), side("b", scores), side("c", make_scores(0.76, seed=4))])
    words = " ".join(read(render("t", sharing, {})).words)
    assert "a and b share the highest top-1" in words
    assert "The lead over c is within what chance explains." in words
    assert "Every class fares the same." in words


@pytest.mark.parametrize(("others", "folded"), [(3, 0), (5, 4)])
def test_many_runs_are_folded_and_those_that_are_not_shown_are_counted(others: int, folded: int) -> None:
    verdict = judge([side(f"r{i}", make_scores(0.5 + i / 20, seed=i)) for i in range(1 + others)])
    page = render("t", verdict, {})
    assert len(re.findall(r"<summary><b>r\d against r0</b></summary>", page)) == folded
    assert len(re.findall(r"<h2>r\d against r0</h2>", page)) == (0 if folded else others)
    assert ("The classes of 1 more runs are in classes.csv." in page) == (others == 5)
    read(page)


def test_runs_that_are_not_ranked_have_no_differences_on_the_page() -> None:
    words = " ".join(read(render("t", judge([side("a", make_scores(0.7)), side("b", None)]), {})).words)
    assert "Not ranked: the numbers do not mean the same." in words
    assert "no scores of b" in words
    assert "baseline" not in words
    assert "against" not in words


def test_no_name_hides_or_turns_what_the_page_says(three: list[Run]) -> None:
    evil = side("gnp\u202e.exe\u200b\x9b2J", make_scores(0.7, seed=9), seed="\x1b[2J")
    verdict = judge([*three, evil])
    text = render("a\u2066title\n", verdict, {})
    assert all(one.isprintable() for one in text if one != "\n")
    assert r"gnp\u202e.exe\u200b\x9b2J" in text
    assert r"<title>a\u2066title\n</title>" in text


def coloured(page: str) -> list[str]:
    return re.findall(r'<span class="(?:more|less)">([^<]*)</span>', page)


def test_a_difference_within_chance_has_a_word_and_no_colour() -> None:
    close = judge([side(name, make_scores(share, seed=1)) for name, share in (("a", 0.7), ("b", 0.72))])
    change = close.others[0].metrics.top[1] - close.baseline.metrics.top[1]
    assert change > 0
    page = render("t", close, {})
    assert coloured(page) == []
    assert '<div class="box even">' in page
    assert f"{close.p_values['a', 'b']:.2g}, not significant" in read(page).words
    clear = judge([side(name, make_scores(share, seed=1)) for name, share in (("a", 0.5), ("b", 0.95))])
    page = render("t", clear, {})
    gain = clear.others[0].metrics.top[1] - clear.baseline.metrics.top[1]
    assert f"{100 * gain:+.1f}" in coloured(page)
    assert '<div class="box">' in page
    assert f"{clear.p_values['a', 'b']:.2g}, significant" in read(page).words


def test_confusions_are_coloured_where_videos_moved_by_more_than_chance() -> None:
    shares = {"a": [0.75, 0.5], "b": [0.79, 0.9]}
    verdict = judge([side(name, make_scores(of, classes=("x", "y"), seed=1)) for name, of in shares.items()])
    rows = {(row.name, row.taken_for): row for row in pair_changes(verdict.baseline, verdict.others[0])}
    assert rows["y", "x"].p_value < 0.05 < rows["x", "y"].p_value
    changes = {name: f"{row.after - row.before:+d}" for name, row in rows.items()}
    shown = coloured(render("t", verdict, {}))
    assert changes["y", "x"] in shown
    assert changes["x", "y"] not in shown
