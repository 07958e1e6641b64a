"""Readers of what is not an official data set, folders and CSV files, and what all readers share."""

import csv
import unicodedata
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from kinebert.preprocessing.datasets import READERS
from kinebert.preprocessing.datasets.indexing import groups_of
from kinebert.preprocessing.datasets.listing import Video, VideoFolder
from kinebert.preprocessing.datasets.manifest import ManifestRow, read_manifest, write_manifest
from kinebert.preprocessing.datasets.readers.table import default_id
from kinebert.preprocessing.errors import ConfigError, UserError
from tests.helpers.lists import by_id, findings, touch, ucf101_lists, write

# folder


def test_folder_takes_classes_from_sub_folders(tmp_path: Path) -> None:
    names = [
        "wave/a (1) + b!.avi",
        "wave/deeper/日本.MP4",
        "öffnen/c.v2.webm",
        "wave/.hidden.avi",
        "__MACOSX/wave/a.avi",
    ]
    root = touch(tmp_path / "videos", [*names, "loose.avi", "notes/readme.txt", "wave/Thumbs.db"])
    listing = READERS["folder"]([root])
    assert listing.labels == {"wave": 0, "öffnen": 1}
    videos = by_id(listing)
    assert {video_id: video.label_name for video_id, video in videos.items()} == {
        "wave/a (1) + b!": "wave",
        "wave/deeper/日本": "wave",
        "öffnen/c.v2": "öffnen",
    }
    assert videos["wave/deeper/日本"].path == f"{root}/wave/deeper/日本.MP4"
    assert findings(listing) == {
        "video outside the class folders, left out": ["loose.avi"],
        "class without videos": ["notes"],
        "file that is not a video by its extension": ["notes/readme.txt", "wave/Thumbs.db"],
    }


def test_folder_follows_links_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", ["a.avi"])
    root = tmp_path / "videos"
    root.mkdir()
    (root / "wave").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(root)
    assert list(by_id(READERS["folder"]([str(root)]))) == ["wave/a"]


def test_folder_leaves_out_names_that_are_not_utf8(tmp_path: Path) -> None:
    touch(tmp_path, ["wave/a.avi"])
    with open(bytes(tmp_path) + b"/wave/\xff.avi", "wb"):
        pass
    listing = READERS["folder"]([str(tmp_path)])
    assert list(by_id(listing)) == ["wave/a"]
    assert [f.kind for f in listing.findings] == ["file name with control characters or not in UTF-8, left out"]


def test_folder_says_what_it_expected(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="there is no video in this folder; it is empty"):
        READERS["folder"]([str(tmp_path / "empty")])
    with pytest.raises(UserError, match="there is no such folder"):
        READERS["folder"]([str(tmp_path / "absent")])
    with pytest.raises(UserError, match=r"no video in this folder \(it has 2 files with .jpg, 1 files with .txt\)"):
        READERS["folder"]([touch(tmp_path / "pictures", ["a/1.jpg", "a/2.jpg", "b.txt"])])
    with pytest.raises(UserError, match="2 videos lie directly in this folder, none in a sub-folder"):
        READERS["folder"]([touch(tmp_path / "flat", ["1.avi", "2.avi"])])


@pytest.mark.parametrize("words", [("train", "val", "test"), ("Training", "VALID", "Testing"), ("train", "dev")])
def test_folders_called_like_parts_are_parts_with_classes_in_them(tmp_path: Path, words: tuple[str, ...]) -> None:
    known = {"train": "train", "val": "val", "valid": "val", "dev": "val", "test": "test"}
    parts = {word: known[word.lower().removesuffix("ing")] for word in words}
    root = touch(tmp_path, [f"{word}/{label}/{i}.avi" for word in words for label in ("run", "walk") for i in (1, 2)])
    listing = READERS["folder"]([root])
    assert listing.labels == {"run": 0, "walk": 1}
    assert {video_id: (v.label_name, v.splits) for video_id, v in by_id(listing).items()} == {
        f"{word}/{label}/{i}": (label, {"split1": part})
        for word, part in parts.items()
        for label in ("run", "walk")
        for i in (1, 2)
    }
    assert findings(listing) == {
        "outermost folder is a part of split1, the folders in it are classes": [
            f"{word} = {parts[word]}" for word in sorted(words)
        ]
    }


def test_folders_of_parts_in_those_of_classes_are_parts(tmp_path: Path) -> None:
    root = touch(tmp_path, ["run/train/a.avi", "run/test/b.avi", "walk/train/c.avi"])
    videos = by_id(READERS["folder"]([root]))
    assert {name: (video.label_name, video.splits["split1"]) for name, video in videos.items()} == {
        "run/train/a": ("run", "train"),
        "run/test/b": ("run", "test"),
        "walk/train/c": ("walk", "train"),
    }


def test_classes_called_like_parts_stay_classes_which_is_said(tmp_path: Path) -> None:
    said = "folder called like a part of a split, taken for a class"
    flat = READERS["folder"]([touch(tmp_path / "flat", ["train/a.avi", "test/b.avi"])])
    assert (flat.labels, findings(flat)) == ({"test": 0, "train": 1}, {said: ["test", "train"]})
    mixed = READERS["folder"]([touch(tmp_path / "mixed", ["train/x/a.avi", "bus/x/b.avi"])])
    assert (mixed.labels, findings(mixed)) == ({"bus": 0, "train": 1}, {said: ["train"]})
    assert not any(video.splits for video in (*flat.videos, *mixed.videos))
    with pytest.raises(UserError, match="test, train are called like parts .* videos lie directly in test, beside"):
        READERS["folder"]([touch(tmp_path / "half", ["train/run/a.avi", "test/b.avi"])])


# CSV


def test_csv_reads_names_splits_and_groups(tmp_path: Path) -> None:
    touch(tmp_path, ["clips/a, b.avi", "clips/ü.mp4", "c.avi"])
    outside = touch(tmp_path / "out side", ["d.avi"])
    with (tmp_path / "list.csv").open("w", newline="", encoding="utf-8-sig") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "split", "cross", "group", "video_id", "set"])
        table.writerow(["clips/a, b.avi", "wave", "train", "test", "seq1", "", "1"])
        table.writerow(["./clips/ü.mp4", "wave", "Validation", "", "seq1", "my/id", "2"])
        table.writerow(["gone/c.avi", "clap", "test", "train", "", "", "1"])
        table.writerow([f"{outside}/d.avi", "", "", "", "", "d", "1"])
        table.writerow(["s3://bucket/e.mp4", "clap", "test", "train", "", "", "1"])
    listing = READERS["csv"]([str(tmp_path / "list.csv")])
    assert listing.labels == {"clap": 0, "wave": 1}
    videos = by_id(listing)
    assert {video_id: (v.path, v.label_name, v.group, v.splits) for video_id, v in videos.items()} == {
        "clips/a, b": (f"{tmp_path}/clips/a, b.avi", "wave", "seq1", {"split1": "train", "cross": "test"}),
        "my/id": (f"{tmp_path}/clips/ü.mp4", "wave", "seq1", {"split1": "val"}),
        "gone/c": (f"{tmp_path}/gone/c.avi", "clap", None, {"split1": "test", "cross": "train"}),
        "d": (f"{outside}/d.avi", "", None, {}),
        "bucket/e": ("s3://bucket/e.mp4", "clap", None, {"split1": "test", "cross": "train"}),
    }
    assert findings(listing) == {"video without a label": ["d"], "columns that are not used (set)": ["list.csv"]}


def test_csv_keeps_numbers_as_labels(tmp_path: Path) -> None:
    touch(tmp_path, ["a.avi"])
    file = tmp_path / "list.csv"
    file.write_text("path;label;label_name\na.avi;10;wave\nb.avi;2;clap\nc.avi;-1;\n")
    listing = READERS["csv"]([str(file)])
    assert listing.labels == {"wave": 10, "clap": 2}
    assert [video.label_name for video in listing.videos] == ["wave", "clap", ""]
    file.write_text("path,label,video_id\na.avi,10,x\na.avi,2,y\n")
    assert READERS["csv"]([str(file)]).labels == {"10": 10, "2": 2}


def test_csv_says_what_is_wrong(tmp_path: Path) -> None:
    touch(tmp_path, ["a.avi"])
    file = tmp_path / "list.csv"
    for text, message in {
        "": "expected the columns path and label .* got ''",
        "file,label\na.avi,1\n": "expected the columns path and label .* got 'file,label'",
        "path,label\n": "names no video",
        "path,label\n,wave\n": "row 2 has no path",
        "path,label,split\na.avi,wave,training set\n": "unknown words in the column split: training set; use train",
        "path,label\nb.avi,wave\n": "none of the 1 videos is there, the first is .*/b.avi. Relative paths",
        "path,label,label_name\na.avi,0,wave\nb.avi,0,clap\n": "label 0 is 'clap' here, elsewhere 'wave' is 0",
        "path,label,label_name\na.avi,0,wave\nb.avi,1,wave\n": "label 1 is 'wave' here",
        "path,label\na.avi,0\nb.avi,-2\n": "label '-2'",
    }.items():
        file.write_text(text)
        with pytest.raises(UserError, match=message):
            READERS["csv"]([str(file)])
    file.write_bytes(b"path,label\n\xff.avi,wave\n")
    with pytest.raises(UserError, match="not UTF-8"):
        READERS["csv"]([str(file)])


def test_default_ids_stay_below_a_folder() -> None:
    assert default_id("../a/./b.avi") == "a/b"
    assert default_id("/data/v.1/b.c") == "data/v.1/b.c"
    assert default_id("s3://bucket/x/y (1).webm") == "bucket/x/y (1)"


# what they share


def test_files_are_found_under_other_spellings(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "Tür")
    root = touch(tmp_path, [f"wave/{decomposed}.mp4", "wave/a.avi", "clap/a.avi", "x/twice.avi", "y/twice.avi"])
    folder = VideoFolder(root)
    assert folder.find("wave", "Tür") == f"wave/{decomposed}.mp4"
    assert folder.find("clap", "a") == "clap/a.avi"
    assert folder.find("wave", "A") == "wave/a.avi"
    assert folder.find("wave", "twice") is None  # two files, and no telling which
    assert [finding.name for finding in folder.unlisted()] == ["x/twice.avi", "y/twice.avi"]


def test_a_file_of_another_class_is_not_taken_for_a_missing_one(tmp_path: Path) -> None:
    root = touch(tmp_path, ["hmdb/clap/same_0.avi", "hmdb/other/wave_0.avi"])
    assert VideoFolder(root, ["clap", "shake_hands"]).find("shake_hands", "same_0") is None
    assert VideoFolder(root, ["clap", "wave"]).find("wave", "wave_0") == "hmdb/other/wave_0.avi"


def test_reads_from_an_object_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local folder plays the store; what is tested is that nothing goes around pyarrow."""
    store = pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem())
    monkeypatch.setattr("kinebert.preprocessing.storage.opened", lambda root: store)
    touch(tmp_path / "bucket" / "ucf", ["YoYo/v_YoYo_g01_c01.avi", "YoYo/deep/er/v_YoYo_g02_c01.avi", "YoYo/.x.avi"])
    ucf101_lists(tmp_path / "bucket" / "lists")
    listing = READERS["ucf101"](["s3://bucket/ucf", "s3://bucket/lists"])
    paths = {video.video_id: video.path for video in listing.videos}
    assert paths["YoYo/v_YoYo_g01_c01"] == "s3://bucket/ucf/YoYo/v_YoYo_g01_c01.avi"
    assert paths["YoYo/v_YoYo_g02_c01"] == "s3://bucket/ucf/YoYo/deep/er/v_YoYo_g02_c01.avi"
    write(tmp_path / "bucket", {"list.csv": "path,label\nucf/a.avi,wave\n"})
    assert READERS["csv"](["s3://bucket/list.csv"]).videos[0].path == "s3://bucket/ucf/a.avi"
    rows = [ManifestRow(video_id="a", path="s3://bucket/ucf/a.avi", label=0, label_name="wave", group="a")]
    write_manifest("s3://bucket/manifest.parquet", rows)
    assert read_manifest("s3://bucket/manifest.parquet") == rows
    with pytest.raises(UserError, match="s3://bucket/absent: there is no such folder"):
        READERS["folder"](["s3://bucket/absent"])


def test_wrong_number_of_paths_names_the_right_command() -> None:
    with pytest.raises(UserError, match="expected: kinebert index hmdb51 VIDEOS LISTS; got 1 path"):
        READERS["hmdb51"](["/a"])


def test_groups_by_regular_expression() -> None:
    ids = [f"{c}/set1_seq{s}_{c}" for c in "ab" for s in (1, 2)]
    videos = [Video(video_id=name, path=f"/{name}.mp4", label_name=name[0], group="g") for name in ids]
    assert groups_of(videos, None)["a/set1_seq1_a"] == "g"
    assert groups_of(videos, r"set\d_seq\d")["b/set1_seq2_b"] == "set1_seq2"
    assert groups_of(videos, r"(set\d)_seq(\d)")["b/set1_seq2_b"] == "set1/2"
    assert groups_of(videos, r"seq1")["b/set1_seq2_b"] == "g"
    with pytest.raises(ConfigError, match=r"it fits no video id; one is 'a/set1_seq1_a'"):
        groups_of(videos, "scene")
    with pytest.raises(ConfigError, match="no regular expression"):
        groups_of(videos, "(")
