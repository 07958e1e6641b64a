"""Readers of official lists: the lists are written here in their exact formats, with awkward names."""

import json
from pathlib import Path

import pytest

from kinebert.preprocessing.datasets import READERS
from kinebert.preprocessing.datasets.readers.hmdb51 import movie
from kinebert.preprocessing.errors import UserError
from tests.helpers.lists import UCF_CLASSES, by_id, findings, touch, ucf101_lists, write

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


def test_kinetics_takes_no_part_from_a_column_that_it_does_not_know(tmp_path: Path) -> None:
    root = touch(tmp_path / "videos", ["abcdefghijk_000001_000011.mp4"])
    file = tmp_path / "list.csv"
    for header in ("split1", "sqlit", ""):
        file.write_text(f"label,youtube_id,time_start,time_end,{header},note\nwave,abcdefghijk,1,11,val,x\n")
        with pytest.raises(UserError, match=rf"list.csv: the column '{header}' tells parts; it must be called"):
            READERS["kinetics"]([root, str(file)])
    file.write_text("label,youtube_id,time_start,time_end,split,is_cc\nwave,abcdefghijk,1,11,val,0\n")
    assert findings(READERS["kinetics"]([root, str(file)])) == {"columns that are not used (is_cc)": ["list.csv"]}


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


def test_official_lists_may_have_tabs(tmp_path: Path) -> None:
    root = touch(tmp_path / "videos", ["wave/a.avi", "bend/b.avi"])
    lists = write(
        tmp_path / "ucf",
        {
            "classInd.txt": "1\tbend\r2\twave\r",
            "trainlist01.txt": "wave/a.avi\t2\n",
            "testlist01.txt": "# by hand\nbend\\b.avi\n",
        },
    )
    listing = READERS["ucf101"]([root, lists])
    assert {name: video.splits for name, video in by_id(listing).items()} == {
        "wave/a": {"split1": "train"},
        "bend/b": {"split1": "test"},
    }
    hmdb = write(tmp_path / "hmdb", {"wave_test_split1.txt": "a.avi\t1\n"})
    assert READERS["hmdb51"]([root, hmdb]).videos[0].splits == {"split1": "train"}
