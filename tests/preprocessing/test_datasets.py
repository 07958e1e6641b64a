"""Readers of official lists: the lists are written here in their exact formats, with awkward names."""

import csv
import json
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from preprocessing.datasets import READERS
from preprocessing.datasets.hmdb51 import movie
from preprocessing.datasets.indexing import groups_of
from preprocessing.datasets.listing import Listing, Video, VideoFolder
from preprocessing.datasets.table import default_id
from preprocessing.errors import ConfigError, UserError
from preprocessing.manifest import ManifestRow, read_manifest, write_manifest


def touch(root: Path, names: Iterable[str]) -> str:
    """Make files with one byte; readers never open videos."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return str(root)


def write(root: Path, files: dict[str, str]) -> str:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / name).write_bytes(text.encode())
    return str(root)


def by_id(listing: Listing) -> dict[str, Video]:
    assert len({video.video_id for video in listing.videos}) == len(listing.videos)
    return {video.video_id: video for video in listing.videos}


def findings(listing: Listing) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for finding in listing.findings:
        found.setdefault(finding.kind, []).append(finding.name)
    return found


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


# HMDB51

HMDB_CLIMB = "(HQ)_Rock_Climbing_-_Free_Solo_Speed_Climb_-_Dan_Osman_climb_f_cm_np1_le_med_2.avi"
HMDB_NAMES = {
    "climb": [HMDB_CLIMB, "#20_Rhythm_clap_u_nm_np1_fr_goo_0.avi", "Ballfangen_;_!_climb_f_nm_np1_fr_goo_12.avi"],
    "brush_hair": [
        "April_09_brush_hair_u_nm_np1_ba_goo_0.avi",
        "April_09_brush_hair_u_nm_np1_ba_goo_1.avi",
        "Blonde_being_brushed_+_more_brush_hair_f_nm_np2_ri_med_0.avi",
    ],
}


def hmdb51_lists(root: Path, codes: str = "120") -> str:
    """Lists as distributed: a blank at the end of each line, and here Windows line ends in one of them."""
    files = {}
    for label, names in HMDB_NAMES.items():
        for split in (1, 2, 3):
            moved = codes[split - 1 :] + codes[: split - 1]
            end = " \r\n" if split == 2 else " \n"
            files[f"{label}_test_split{split}.txt"] = "".join(
                f"{n} {c}{end}" for n, c in zip(names, moved, strict=True)
            )
    return write(root, files)


def test_hmdb51_reads_its_three_splits(tmp_path: Path) -> None:
    lists = hmdb51_lists(tmp_path / "testTrainMulti_7030_splits")
    files = [f"{label}/{name}" for label, names in HMDB_NAMES.items() for name in names]
    root = touch(tmp_path / "hmdb51_org", [*files[1:], "climb/extra_climb_f_nm_np1_fr_goo_0.avi"])
    listing = READERS["hmdb51"]([root, lists])
    assert listing.labels == {"brush_hair": 0, "climb": 1}
    videos = by_id(listing)
    assert videos.keys() == {name.removesuffix(".avi") for name in files}
    assert videos["brush_hair/" + HMDB_NAMES["brush_hair"][0][:-4]].splits == {"split1": "train", "split2": "test"}
    assert videos["brush_hair/" + HMDB_NAMES["brush_hair"][1][:-4]].splits == {"split1": "test", "split3": "train"}
    assert videos["brush_hair/" + HMDB_NAMES["brush_hair"][2][:-4]].splits == {"split2": "train", "split3": "test"}
    missing = videos[files[0].removesuffix(".avi")]
    assert missing.path == f"{root}/{files[0]}"  # expected there; looking into it will say that it is missing
    assert findings(listing) == {"video that no list names": ["climb/extra_climb_f_nm_np1_fr_goo_0.avi"]}
    assert by_id(READERS["hmdb51"]([lists, root])) == videos  # in either order


@pytest.mark.parametrize(
    ("name", "label", "expected"),
    [
        (HMDB_CLIMB[:-4], "climb", "(HQ)_Rock_Climbing_-_Free_Solo_Speed_Climb_-_Dan_Osman"),
        ("April_09_brush_hair_u_nm_np1_ba_goo_0", "brush_hair", "April_09"),
        ("20060723sfjffbartsinger_wave_f_cm_np1_ba_med_0", "wave", "20060723sfjffbartsinger"),
        ("Fellowship_5_walk_f_cm_np12_fr_bad_10", "walk", "Fellowship_5"),
        ("not an HMDB name", "walk", "not an HMDB name"),
    ],
)
def test_hmdb51_groups_are_films(name: str, label: str, expected: str) -> None:
    assert movie(name, label) == expected


def test_hmdb51_refuses_lists_that_are_not_its_own(tmp_path: Path) -> None:
    root = touch(tmp_path / "videos", ["climb/a.avi"])
    lists = tmp_path / "lists"
    lists.mkdir()
    with pytest.raises(UserError, match=r"expected files like brush_hair_test_split1.txt"):
        READERS["hmdb51"]([root, str(lists)])
    write(lists, {"climb_test_split1.txt": "a.avi 3\n"})
    with pytest.raises(UserError, match=r"climb_test_split1.txt: line 1: expected 'NAME.avi 0', 1 or 2; got 'a.avi 3'"):
        READERS["hmdb51"]([root, str(lists)])
    write(lists, {"climb_test_split1.txt": "a.avi 1 \na.avi 2 \n"})
    with pytest.raises(UserError, match=r"1 video named more than once: a.avi"):
        READERS["hmdb51"]([root, str(lists)])
    write(lists, {"climb_test_split1.txt": "b.avi 1 \nc.avi 2 \n"})
    with pytest.raises(
        UserError, match=r"none of the 2 videos .* expected, for example, climb/b.avi, found climb/a.avi"
    ):
        READERS["hmdb51"]([root, str(lists)])
    write(lists, {"climb_test_split1.txt": "a.avi 1 \n", "wave_test_split2.txt": "w.avi 2 \n"})
    listing = READERS["hmdb51"]([root, str(lists)])
    assert findings(listing) == {"list that is not there": ["climb_test_split2.txt", "wave_test_split1.txt"]}


# UCF101

UCF_CLASSES = ["ApplyEyeMakeup", "HandstandPushups", "YoYo"]


def ucf101_lists(root: Path) -> str:
    """Lists as distributed: Windows line ends; HandstandPushups holds files called v_HandStandPushups."""
    files = {"classInd.txt": "".join(f"{i} {name}\r\n" for i, name in enumerate(UCF_CLASSES, start=1))}
    for split in (1, 2, 3):
        train, test = "", ""
        for i, name in enumerate(UCF_CLASSES, start=1):
            spelt = name.replace("Handstand", "HandStand")
            for group in (1, 2, 3):
                line = f"{name}/v_{spelt}_g{group:02d}_c01.avi"
                if group == split:
                    test += f"{line}\r\n"
                else:
                    train += f"{line} {i}\r\n"
        files |= {f"trainlist{split:02d}.txt": train, f"testlist{split:02d}.txt": test}
    return write(root, files)


@pytest.mark.parametrize("spelling", ["HandStand", "Handstand"])
@pytest.mark.parametrize("flat", [False, True])
def test_ucf101_reads_its_three_splits(tmp_path: Path, spelling: str, flat: bool) -> None:
    lists = ucf101_lists(tmp_path / "ucfTrainTestlist")
    names = [
        ("" if flat else f"{name}/") + f"v_{name.replace('Handstand', spelling)}_g{g:02d}_c01.avi"
        for name in UCF_CLASSES
        for g in (1, 2, 3)
    ]
    root = touch(tmp_path / "UCF-101", names)
    listing = READERS["ucf101"]([root, lists])
    assert listing.labels == {"ApplyEyeMakeup": 0, "HandstandPushups": 1, "YoYo": 2}
    assert listing.findings == []
    videos = by_id(listing)
    assert len(videos) == 9
    video = videos["HandstandPushups/v_HandStandPushups_g02_c01"]
    assert video.splits == {"split1": "train", "split2": "test", "split3": "train"}
    assert video.group == "HandstandPushups/g02"
    assert sorted(Path(v.path).relative_to(root).as_posix() for v in videos.values()) == sorted(names)


def test_ucf101_class_order_is_the_official_one(tmp_path: Path) -> None:
    lists = write(
        tmp_path / "lists",
        {"classInd.txt": "2 A\n1 B\n3 C\n", "trainlist01.txt": "A/a.avi 2\n", "testlist01.txt": "B/b.avi\n"},
    )
    listing = READERS["ucf101"]([touch(tmp_path / "v", ["A/a.avi", "B/b.avi"]), lists])
    assert listing.labels == {"A": 1, "B": 0, "C": 2}
    assert findings(listing) == {"class without videos": ["C"]}


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("trainlist01.txt", None, r"trainlist01.txt not found; every split needs trainlist0N.txt and testlist0N.txt"),
        ("classInd.txt", None, r"classInd.txt is not here; expected classInd.txt, trainlist01.txt and testlist01.txt"),
        ("classInd.txt", "ApplyEyeMakeup\n", r"line 1: expected '1 ApplyEyeMakeup'"),
        ("classInd.txt", "1 A\n1 B\n", r"a number of its own"),
        ("trainlist01.txt", "Archery/v_Archery_g01_c01.avi 3\n", r"line 1: the class 'Archery' is not in classInd.txt"),
        ("trainlist01.txt", "YoYo/v_YoYo_g01_c01.avi 2\n", r"line 1: says class 2, but classInd.txt says 3"),
        ("trainlist01.txt", "YoYo/v_YoYo_g01_c01.avi 3\n", r"1 video named more than once: YoYo/v_YoYo_g01_c01.avi"),
        ("testlist01.txt", "v_YoYo_g01_c01.avi\n", r"line 1: expected 'CLASS/NAME.avi', got 'v_YoYo_g01_c01.avi'"),
    ],
)
def test_ucf101_says_which_list_is_wrong(tmp_path: Path, file: str, text: str | None, message: str) -> None:
    lists = ucf101_lists(tmp_path / "lists")
    root = touch(tmp_path / "videos", ["YoYo/v_YoYo_g01_c01.avi"])
    (tmp_path / "lists" / file).unlink()
    if text is not None:
        write(tmp_path / "lists", {file: text})
    with pytest.raises(UserError, match=message):
        READERS["ucf101"]([root, lists])


# Kinetics

KINETICS = """label,youtube_id,time_start,time_end,split
"playing 'cards', alone",-3B32lodo2M,59,69,train
playing cards,_dbcJuKJQNs,40.0,50.0,validate
washing feet,--GkrdYZ9Tc,0,10,test
washing feet,gonegonegon,3,13,train
"""


def test_kinetics_finds_clips_by_id_and_times(tmp_path: Path) -> None:
    lists = write(tmp_path, {"kinetics700.csv": KINETICS})
    names = [
        "playing 'cards', alone/-3B32lodo2M_000059_000069.mp4",
        "playing_cards/_dbcJuKJQNs_000040_000050.mkv",
        "--GkrdYZ9Tc_000000_000010.mp4",
        "--gkrdYZ9Tc_000000_000010.mp4",  # another video: ids tell capitals apart
        "replacement/_dbcJuKJQNs_000040_000050.mp4",
    ]
    root = touch(tmp_path / "videos", names)
    listing = READERS["kinetics"]([f"{lists}/kinetics700.csv", root])
    assert listing.labels == {"playing 'cards', alone": 0, "playing cards": 1, "washing feet": 2}
    videos = by_id(listing)
    assert {video_id: (v.label_name, v.splits["split1"], v.group) for video_id, v in videos.items()} == {
        "playing 'cards', alone/-3B32lodo2M_000059_000069": ("playing 'cards', alone", "train", "-3B32lodo2M"),
        "playing_cards/_dbcJuKJQNs_000040_000050": ("playing cards", "val", "_dbcJuKJQNs"),
        "--GkrdYZ9Tc_000000_000010": ("washing feet", "test", "--GkrdYZ9Tc"),
        "gonegonegon_000003_000013": ("washing feet", "train", "gonegonegon"),
    }
    assert videos["gonegonegon_000003_000013"].path == f"{root}/gonegonegon_000003_000013.mp4"
    assert findings(listing) == {"video that no list names": sorted(names[3:])}


@pytest.mark.parametrize(
    ("name", "text", "label", "part"),
    [
        (
            "train.csv",
            "label,youtube_id,time_start,time_end,split,is_cc\nwave,abcdefghijk,1,11,train,0\n",
            "wave",
            "train",
        ),
        ("val.csv", "label,youtube_id,time_start,time_end\nwave,abcdefghijk,1,11\n", "wave", "val"),
        ("kinetics_600_test.csv", "wave,abcdefghijk,1,11,test\n", "wave", "test"),
        ("kinetics-400_val.csv", "wave,abcdefghijk,1,11\n", "wave", "val"),
        ("test.csv", "youtube_id,time_start,time_end,split\nabcdefghijk,1,11,test\n", "", "test"),
        ("t.csv", "abcdefghijk,1,11,test\n", "", "test"),
        ("all.csv", "YouTube Identifier,Start time,End time,Class label\nabcdefghijk,1,11,wave\n", "wave", ""),
    ],
)
def test_kinetics_reads_the_variants_of_its_lists(tmp_path: Path, name: str, text: str, label: str, part: str) -> None:
    root = touch(tmp_path / "videos", ["abcdefghijk_000001_000011.mp4"])
    write(tmp_path, {name: text})
    (video,) = READERS["kinetics"]([root, str(tmp_path / name)]).videos
    assert (video.label_name, video.splits) == (label, {"split1": part} if part else {})
    assert video.path == f"{root}/abcdefghijk_000001_000011.mp4"


def test_kinetics_says_what_is_wrong(tmp_path: Path) -> None:
    root = touch(tmp_path / "videos", ["abcdefghijk_000001_000011.mp4"])
    file = tmp_path / "list.csv"
    for text, message in {
        "": "expected lines like 'label,youtube_id,time_start,time_end,split', got 'nothing'",
        "label,youtube_id\nwave,abc\n": "expected the columns youtube_id, time_start and time_end",
        "wave,abcdefghijk,1,11,trian\n": "abcdefghijk: unknown split 'trian'",
        "wave,abcdefghijk,1,11,val\nwave,abcdefghijk,1,x,val\n": "two times in seconds, got 'wave,abcdefghijk,1,x,val'",
        "wave,abcdefghijk,1,11,val\nwave,abcdefghijk,1,11,train\n": "1 video named more than once: abcdefghijk",
        "wave,bbbdefghijk,1,11,val\n": "none of the 1 videos that the lists name is here",
    }.items():
        file.write_text(text)
        with pytest.raises(UserError, match=message):
            READERS["kinetics"]([root, str(file)])
    with pytest.raises(UserError, match="got 2 folders and 0 files that end in .csv"):
        READERS["kinetics"]([root, root])
    with pytest.raises(UserError, match=r"absent.csv: cannot read this file: there is no such file"):
        READERS["kinetics"]([root, str(tmp_path / "absent.csv")])


# Something-Something v2


@pytest.mark.parametrize("prefix", ["something-something-v2-", ""])
def test_ssv2_reads_its_json_files(tmp_path: Path, prefix: str) -> None:
    labels = {"Showing something behind something": "1", "Holding something similar to others": "0", "Unused": "2"}
    train = [
        {"id": "78687", "label": "showing potato behind ü", "template": "Showing [something] behind [something]"},
        {
            "id": "5",
            "label": "holding pens",
            "template": "Holding [something similar to others]",
            "placeholders": ["p"],
        },
    ]
    files = {
        "labels.json": json.dumps(labels),
        "train.json": json.dumps(train),
        "validation.json": json.dumps([{"id": "6", "template": "Showing [something] behind [something]"}]),
        "test.json": json.dumps([{"id": "1420"}]),
    }
    lists = write(tmp_path / "labels", {prefix + name: text for name, text in files.items()})
    root = touch(tmp_path / "20bn-something-something-v2", ["78687.webm", "5.webm", "1420.webm", "9.webm"])
    listing = READERS["ssv2"]([root, lists])
    assert listing.labels == {name: int(number) for name, number in labels.items()}
    assert {video_id: (v.label_name, v.splits) for video_id, v in by_id(listing).items()} == {
        "78687": ("Showing something behind something", {"split1": "train"}),
        "5": ("Holding something similar to others", {"split1": "train"}),
        "6": ("Showing something behind something", {"split1": "val"}),
        "1420": ("", {"split1": "test"}),
    }
    assert findings(listing) == {
        "video without a label": ["1420"],
        "video that no list names": ["9.webm"],
        "class without videos": ["Unused"],
    }
    assert READERS["ssv2"]([*sorted(str(p) for p in Path(lists).iterdir()), root]) == listing

    write(tmp_path / "labels", {prefix + "train.json": json.dumps([{"id": "5", "template": "Nothing [x]"}])})
    with pytest.raises(UserError, match=r"1 videos have a template that labels.json lacks: 5 \('Nothing x'\)"):
        READERS["ssv2"]([root, lists])
    write(tmp_path / "labels", {prefix + "train.json": "[{]"})
    with pytest.raises(UserError, match="this is not JSON"):
        READERS["ssv2"]([root, lists])
    (tmp_path / "labels" / f"{prefix}labels.json").unlink()
    with pytest.raises(UserError, match=r"something-something-v2-labels.json not found"):
        READERS["ssv2"]([root, lists])


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
    assert findings(listing) == {"video without a label": ["d"]}


def test_csv_keeps_numbers_as_labels(tmp_path: Path) -> None:
    touch(tmp_path, ["a.avi"])
    file = tmp_path / "list.csv"
    file.write_text("path;label;label_name\na.avi;10;wave\nb.avi;2;clap\nc.avi;-1;\n")
    listing = READERS["csv"]([str(file)])
    assert listing.labels == {"wave": 10, "clap": 2}
    assert [video.label_name for video in listing.videos] == ["wave", "clap", ""]
    file.write_text("path,label,video_id\na.avi,10,x\na.avi,2,y\n")
    listing = READERS["csv"]([str(file)])
    assert listing.labels == {"10": 10, "2": 2}
    assert findings(listing) == {"file with more than one id": [f"{tmp_path}/a.avi"]}


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
    monkeypatch.setattr("preprocessing.storage._remote", lambda root: store)
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
    videos = [Video(video_id=f"{c}/set1_seq{s}_{c}", path="", label_name=c, group="g") for c in "ab" for s in (1, 2)]
    assert groups_of(videos, None)["a/set1_seq1_a"] == "g"
    assert groups_of(videos, r"set\d_seq\d")["b/set1_seq2_b"] == "set1_seq2"
    assert groups_of(videos, r"(set\d)_seq(\d)")["b/set1_seq2_b"] == "set1/2"
    assert groups_of(videos, r"seq1")["b/set1_seq2_b"] == "g"
    with pytest.raises(ConfigError, match=r"it fits no video id; one is 'a/set1_seq1_a'"):
        groups_of(videos, "scene")
    with pytest.raises(ConfigError, match="no regular expression"):
        groups_of(videos, "(")
