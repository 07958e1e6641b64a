"""AVA's lists of keyframes: which become videos, which segments those are, and what is left out or refused."""

from pathlib import Path

import pytest

from kinebert.preprocessing.datasets import READERS
from kinebert.preprocessing.datasets.indexing import groups_of, manifest_rows
from kinebert.preprocessing.datasets.listing import Listing
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.video.probe import Facts
from tests.helpers.lists import by_id, findings, touch, write
from tests.helpers.segments import build, independent
from tests.helpers.videos import moving_texture, write_video

BOX = "0.077,0.151,0.283,0.811"
TRAIN = f"""-5KQ66BBWC4,0902,{BOX},12,1
-5KQ66BBWC4,0902,0.5,0,1.000,1,12,2
-5KQ66BBWC4,0903,{BOX},12,1
-5KQ66BBWC4,0903,{BOX},80,1
-5KQ66BBWC4,0904,,,,,,
-5KQ66BBWC4,0905,{BOX},80,1
"""
VAL = f"1j20qq1JyX4,902.250,{BOX},80,3\n1j20qq1JyX4,902.250,{BOX},80,4\n"
ACTIONS = """label {
  name: "answer phone"
  label_id: 12
  label_type: OBJECT_MANIPULATION
}
item { id: 80 name: "watch (e.g., TV)" }
label {
  name: "bend/bow (at the waist)"
  label_id: 1
}
"""
SEVERAL = "keyframe with several actions, left out (kinebert index csv takes path,label,start,end)"


def ava(tmp_path: Path, lists: dict[str, str], *named: str) -> Listing:
    root = touch(tmp_path / "videos", ["-5KQ66BBWC4.mkv", "deep/1j20qq1JyX4.mp4"])
    write(tmp_path / "lists", lists)
    return READERS["ava"]([root, *(str(tmp_path / "lists" / name) for name in named)])


def test_keyframes_with_one_action_are_segments_of_three_seconds(tmp_path: Path) -> None:
    lists = {"ava_train_v2.2.csv": TRAIN, "ava_val_v2.2.csv": VAL, "ava_action_list_v2.2.pbtxt": ACTIONS}
    lists["ava_action_list_v2.2_for_activitynet_2019.pbtxt"] = "label {}"
    listing = ava(tmp_path, lists, "ava_train_v2.2.csv", "ava_val_v2.2.csv")
    assert {name: (v.label_name, dict(v.splits), v.group, str(v.interval)) for name, v in by_id(listing).items()} == {
        "-5KQ66BBWC4_s900.5-903.5": ("answer phone", {"split1": "train"}, "-5KQ66BBWC4", "[900.5, 903.5) s"),
        "-5KQ66BBWC4_s903.5-906.5": ("watch (e.g., TV)", {"split1": "train"}, "-5KQ66BBWC4", "[903.5, 906.5) s"),
        "deep/1j20qq1JyX4_s900.75-903.75": (
            "watch (e.g., TV)",
            {"split1": "val"},
            "1j20qq1JyX4",
            "[900.75, 903.75) s",
        ),
    }
    assert listing.labels == {"bend/bow (at the waist)": 0, "answer phone": 1, "watch (e.g., TV)": 2}
    found = findings(listing)
    assert found[SEVERAL] == ["-5KQ66BBWC4 903"]
    assert found["keyframe without an action, left out"] == ["-5KQ66BBWC4 904"]
    assert found["boxes are not used; a label means the whole picture"] == ["ava_train_v2.2.csv, ava_val_v2.2.csv"]
    assert found["names of classes"] == ["ava_action_list_v2.2.pbtxt"]
    assert found["class without videos"] == ["bend/bow (at the waist)"]


def test_classes_are_called_by_numbers_where_no_list_names_them(tmp_path: Path) -> None:
    listing = ava(tmp_path, {"boxes.csv": TRAIN.replace(",1\n", "\n").replace(",2\n", "\n")}, "boxes.csv")
    assert listing.labels == {"12": 0, "80": 1}
    assert [video.splits for video in listing.videos] == [{}, {}]
    assert "no list of actions (ava_action_list_*.pbtxt); classes are called by numbers" in findings(listing)


@pytest.mark.parametrize("named", [(), ("some_excluded.csv",)])
def test_excluded_keyframes_are_left_out(named: tuple[str, ...], tmp_path: Path) -> None:
    name = named[0] if named else "ava_train_excluded_timestamps_v2.2.csv"
    lists = {"ava_train_v2.2.csv": TRAIN, name: "-5KQ66BBWC4,905\n1j20qq1JyX4,902\n"}
    listing = ava(tmp_path, lists, "ava_train_v2.2.csv", *named)
    assert list(by_id(listing)) == ["-5KQ66BBWC4_s900.5-903.5"]
    assert findings(listing)["excluded keyframe, left out"] == ["-5KQ66BBWC4 905"]


def test_a_header_is_read_and_what_it_has_more_is_named(tmp_path: Path) -> None:
    text = "Video_ID,timestamp,action_id,entity\n-5KQ66BBWC4,902,7,x\n"
    listing = ava(tmp_path, {"val.csv": text}, "val.csv")
    assert [(v.label_name, str(v.interval)) for v in listing.videos] == [("7", "[900.5, 903.5) s")]
    assert findings(listing)["columns that are not used (entity)"] == ["val.csv"]


def test_seconds_of_the_original_are_found_in_clips_that_were_cut_from_it(tmp_path: Path) -> None:
    root = touch(tmp_path / "videos", ["run/a_b_000010_000020.mp4", "run/a_b_000040_000050.mp4"])
    lists = write(tmp_path, {"kinetics_val_v1.0.csv": "".join(f"a_b,{t},{BOX},3,1\n" for t in (15, 41, 33))})
    listing = READERS["ava"]([root, f"{lists}/kinetics_val_v1.0.csv"])
    assert {name: str(video.interval) for name, video in by_id(listing).items()} == {
        "run/a_b_000010_000020_s3.5-6.5": "[3.5, 6.5) s",
        "run/a_b_000040_000050_s0-2.5": "[0, 2.5) s",
        "a_b_s31.5-34.5": "[31.5, 34.5) s",  # no file has it: probing says so
    }
    assert findings(listing)["keyframe near the beginning of its file; less than 3 s"] == ["a_b 41"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a,902,1", "expected lines like"),
        (f"a,soon,{BOX},1,1", "line 2: expected a video and the seconds of a keyframe, got 'a,soon'"),
        (f",902,{BOX},1,1", "line 2: expected a video and the seconds"),
        (f"a,-1,{BOX},1,1", "line 2: expected a video and the seconds"),
        ("a,902,0,0,1,1.5,1,1", r"line 2: expected four corners of a box, 0 to 1, got '0,0,1,1.5'"),
        ("a,902,0,0,1,,1,1", "line 2: expected four corners"),
        (f"a,902,{BOX},run,1", "line 2: action_id 'run'; expected a number from 0"),
        (f"a,902,{BOX},-1,1", "line 2: action_id '-1'"),
        (f"a,902,{BOX},1,me", "line 2: person_id 'me'; expected a number"),
        (f"a,902,{BOX},81,1", r"line 2: action_id 81 is not in .*ava_action_list_v2.2.pbtxt"),
        (f"a,902,{BOX},1,1,9", "9 fields"),
        (
            f"1j20qq1JyX4,902.25,{BOX},80,1",
            "ava_val_v2.2.csv: line 1: the keyframe 1j20qq1JyX4 902.25",
        ),
    ],
)
def test_a_line_that_is_not_understood_is_named(line: str, said: str, tmp_path: Path) -> None:
    first = line if line.startswith("a,902,1") or line.endswith(",9") else f"-5KQ66BBWC4,902,{BOX},12,1"
    lists = {"ava_train_v2.2.csv": f"{first}\n{line}\n", "ava_val_v2.2.csv": VAL, "ava_action_list_v2.2.pbtxt": ACTIONS}
    with pytest.raises(UserError, match=said):
        ava(tmp_path, lists, "ava_train_v2.2.csv", "ava_val_v2.2.csv")


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        ('label {\n  name: "x"\n}\n', "line 1: expected label"),
        (ACTIONS + "label {\n", "line 11: expected label"),
        (ACTIONS + 'label { name: "y" label_id: 80 }', "line 11: the action 80 .'y'. is named twice"),
        ("# nothing\n", "line 2: expected label|names no action"),
    ],
)
def test_a_list_of_actions_that_is_not_understood_is_named(actions: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"ava_action_list.pbtxt: ({said})"):
        ava(tmp_path, {"ava_train.csv": TRAIN, "ava_action_list.pbtxt": actions}, "ava_train.csv")


def test_lists_of_which_nothing_is_left_or_two_are_possible(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none of the 1 keyframes has one action.*path, label, start and end instead"):
        ava(tmp_path, {"ava_test.csv": "-5KQ66BBWC4,0902\n"}, "ava_test.csv")
    lists = {"ava_train.csv": TRAIN} | {f"ava_action_list_v2.{i}.pbtxt": ACTIONS for i in (1, 2)}
    with pytest.raises(UserError, match="several lists of actions. Name one of them"):
        ava(tmp_path, lists, "ava_train.csv")
    assert len(ava(tmp_path, lists, "ava_train.csv", "ava_action_list_v2.1.pbtxt").labels) == 3


def test_frames_are_those_of_an_independent_decode(tmp_path: Path) -> None:
    path = write_video(tmp_path / "videos" / "film.mp4", moving_texture(120))
    text = "".join(f"film,{t},{BOX},{i},1\n" for i, t in enumerate(("1", "1.5", "2.02", "3.31")))
    lists = write(tmp_path, {"ava_train.csv": text})
    listing = READERS["ava"]([str(path.parent), f"{lists}/ava_train.csv"])
    facts = Facts(width=64, height=48, fps=25.0, duration_s=4.8, bytes=path.stat().st_size)
    rows = manifest_rows(listing, groups_of(listing.videos, None), {}, [facts] * len(listing.videos))
    times = [float(time) for time, _ in independent(path)]
    made = build(rows, tmp_path / "set")
    expected = {
        f"film_s{start}-{end}": sum(start <= time < end for time in times)
        for start, end in ((0, 2.5), (0, 3), (0.52, 3.52), (1.81, 4.81))
    }
    assert {video.video_id: video.num_frames for video in made.videos} == expected
    assert list(expected.values()) == [63, 75, 75, 74]
