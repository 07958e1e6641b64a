"""Lists as programs and people write them: each is understood, or refused with its file and line."""

import codecs
from pathlib import Path

import pytest

from kinebert.orchestration.jobs.indexing import index
from kinebert.orchestration.jobs.requests import IndexRequest
from kinebert.preprocessing.datasets import READERS
from kinebert.preprocessing.datasets.indexing import groups_of
from kinebert.preprocessing.datasets.same_files import file_findings, same_files
from kinebert.preprocessing.errors import ConfigError, UserError
from tests.helpers.lists import by_id, findings, touch

UNDERSTOOD = {
    "semicolons after sep": "sep=;\r\npath;label\r\nclips/a.avi;0\r\nclips/b.avi;1\r\n",
    "capitals": "Path,Label\nclips/a.avi,0\nclips/b.avi,1\n",
    "backslashes": "path,label\nclips\\a.avi,0\nclips\\b.avi,1\n",
    "floats": "path,label\nclips/a.avi,0.0\nclips/b.avi,1e0\n",
    "pandas' index": ",path,label\n0,clips/a.avi,0.0\n1,clips/b.avi,1.0\n",
    "old Mac": "path,label\rclips/a.avi,0\rclips/b.avi,1\r",
    "trailing delimiters, blanks": "path,label,,\n\nclips/a.avi,0,,\n,,,\nclips/b.avi , 1,,\n",
    "comments": "# mine\npath,label\n# more\nclips/a.avi,0\nclips/b.avi,1\n",
    "header behind a hash": "#path label\nclips/a.avi 0\nclips/b.avi 1\n",
    "mmaction": "clips/a.avi 0\nclips/b.avi 1\n",
    "PySlowFast": "clips/a.avi,0\nclips/b.avi,1\n",
    "tabs": "clips/a.avi\t0\nclips/b.avi\t1\n",
    "TSN": "clips/a.avi 120 0\nclips/b.avi 90 1\n",
    "quotes": '"path","label"\n"clips/a.avi","0"\n"clips/b.avi","1"\n',
    "no header, quotes": '"clips/a.avi" 0\n"clips/b.avi" 1\n',
}
REFUSED = {
    "path,label\nclips/a.avi,3\nclips/b.avi,walk\n": "line 3: label 'walk' is a name, but '3' .* is a number",
    "path,label\nclips/a.avi,0\nclips/b.avi,2e9\n": "line 3: label 2000000000: classes are numbered from 0, and",
    "path,label\nclips/a.avi,-1\nclips/b.avi,99999999999\n": "line 3: label '99999999999'; expected a number from 0",
    "path,label\nclips/a.avi,2.5\nclips/b.avi,1\n": "line 2: label '2.5'",
    "path,label\nclips/a.avi," + "x" * 200_000 + "\n": "line 2: this line cannot be divided into fields: field larger",
    "path,label\nclips/a.avi," + "x" * 20_000 + "\n": r"line 2: the column label holds 'x+'... \(20000 characters\)",
    "path,label\nclips/a.avi,0\nclips/b\x00.avi,1\n": r"line 3: there is a zero byte",
    "path,label\nclips/a, b.avi,0\n": "line 2: 3 fields, but 2 columns",
    'path,label\n"clips/a.avi,0\nclips/b.avi,1\n': "line 2: this line cannot be divided",
    "path,label,split1\nclips/a.avi,0,train\nclips/b.avi,1,tset\n": "line 3: unknown words in the column split1: tset",
    "path,label,cross\nclips/a.avi,0,train\nclips/b.avi,1,tset\n": "line 3: unknown words in the column cross: tset",
    "path,label,fold\nclips/a.avi,0,trian\nclips/b.avi,1,tset\n": "line 2: unknown words in the column fold: trian, t",
    "path,label,label\nclips/a.avi,0,1\n": "two columns are called 'label'",
    "clips/a.avi 0 1 2\nclips/b.avi 1 2 3\n": "line 1: 4 fields and no header",
    "clips/a.avi 0\nclips/b.avi\n": "line 2: expected path and label as in the first line",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    touch(tmp_path, ["clips/a.avi", "clips/b.avi"])
    return tmp_path


@pytest.mark.parametrize("text", UNDERSTOOD.values(), ids=UNDERSTOOD.keys())
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_the_same_list_written_otherwise_is_the_same_list(folder: Path, text: str, encoding: str) -> None:
    (folder / "list.csv").write_bytes(text.encode(encoding))
    listing = READERS["csv"]([str(folder / "list.csv")])
    assert listing.labels == {"0": 0, "1": 1}
    assert {name: (video.path, video.label_name) for name, video in by_id(listing).items()} == {
        "clips/a": (f"{folder}/clips/a.avi", "0"),
        "clips/b": (f"{folder}/clips/b.avi", "1"),
    }
    assert not any(video.splits for video in listing.videos)


@pytest.mark.parametrize(("text", "message"), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_is_not_understood_is_refused_with_its_line(folder: Path, text: str, message: str) -> None:
    (folder / "list.csv").write_text(text)
    with pytest.raises(UserError, match=message) as error:
        READERS["csv"]([str(folder / "list.csv")])
    assert str(folder / "list.csv") in str(error.value)
    assert len(str(error.value)) < 500


def test_the_names_of_lists_say_their_parts_where_nothing_else_does(folder: Path) -> None:
    for name, row in {
        "ucf_train_list.txt": "clips/a.avi 0\n",
        "kinetics_val.csv": "path,label\nclips/b.avi,1\n",
    }.items():
        (folder / name).write_text(row)
    lists = [str(folder / "ucf_train_list.txt"), str(folder / "kinetics_val.csv")]
    listing = READERS["csv"](lists)
    assert [video.splits for video in listing.videos] == [{"split1": "train"}, {"split1": "val"}]
    said = findings(listing)["list whose name says its part of split1"]
    assert said == ["ucf_train_list.txt: train", "kinetics_val.csv: val"]
    (folder / "more.csv").write_text("path,label\nclips/c.avi,1\n")
    with pytest.raises(UserError, match="more.csv: the name of this list says no part of a split"):
        READERS["csv"]([*lists, str(folder / "more.csv")])


def test_a_split_that_is_made_takes_no_name_of_a_column(folder: Path) -> None:
    (folder / "list.csv").write_text("path,label,Fold\nclips/a.avi,0,1\nclips/b.avi,1,2\n")
    request = IndexRequest(source="csv", paths=(str(folder / "list.csv"),), output=str(folder / "m"), split_name="fold")
    with pytest.raises(ConfigError, match="the lists have a column 'Fold', which is no split"):
        index(request)
    assert not (folder / "m").exists()


def test_one_file_under_several_names_is_one_group(folder: Path) -> None:
    (folder / "link.avi").symlink_to(folder / "clips/a.avi")
    (folder / "hard.avi").hardlink_to(folder / "clips/a.avi")
    (folder / "copy.avi").write_bytes((folder / "clips/a.avi").read_bytes())
    (folder / "clips/b.avi").write_bytes(b"y")
    names = ["clips/a", "link", "hard", "copy", "clips/b"]
    rows = "".join(f"{name}.avi,0,{'test' if name == 'hard' else 'train'}\n" for name in names)
    (folder / "list.csv").write_text(f"path,label,split\n{rows}")
    videos = READERS["csv"]([str(folder / "list.csv")]).videos
    one = {"clips/a": "clips/a", "link": "clips/a", "hard": "clips/a", "copy": "copy", "clips/b": "clips/b"}
    assert groups_of(videos, None) == one
    assert groups_of(videos, None, same_files(videos, by_content=True)) == one | {"copy": "clips/a"}
    leak = "WARNING: one file lies in several parts of split1, which then leak"
    assert [(f.kind, f.name) for f in file_findings(same_files(videos))] == [
        ("file with more than one id", f"{folder}/clips/a.avi"),
        (leak, "hard (test) and clips/a (train)"),
    ]


def test_other_files_are_named_for_what_they_are(folder: Path) -> None:
    for data, what in {
        b"PK\x03\x04....": "an Excel workbook or a ZIP archive",
        b"<!DOCTYPE html><html>": "a web page",
        b"version https://git-lfs.github.com/spec/v1\n": "a pointer of Git LFS",
        codecs.BOM_UTF16_LE + b"a\x00b": "not UTF-16 text",
        b"path,label\n\xff.avi,wave\n": "line 2: this list is not UTF-8 text",
    }.items():
        (folder / "list.csv").write_bytes(data)
        with pytest.raises(UserError, match=f"list.csv: .*{what}"):
            READERS["csv"]([str(folder / "list.csv")])
