"""Segments in lists: which columns say where a video lies in its file, and what is refused."""

import json
from pathlib import Path

import pytest

from kinebert.preprocessing.datasets import READERS
from kinebert.preprocessing.datasets.indexing import groups_of, manifest_rows, segments_beyond
from kinebert.preprocessing.datasets.listing import Video
from kinebert.preprocessing.datasets.manifest import check_ids
from kinebert.preprocessing.datasets.splits import make_split
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.video.intervals import Interval
from kinebert.preprocessing.video.probe import Facts
from tests.helpers.lists import by_id, findings, touch, write


def read(tmp_path: Path, text: str) -> dict[str, Video]:
    touch(tmp_path, ["v/a.mp4", "v/b.mp4", "v/ID_000010_000020.mp4"])
    write(tmp_path, {"list.csv": text})
    return by_id(READERS["csv"]([str(tmp_path / "list.csv")]))


@pytest.mark.parametrize(
    ("columns", "cells", "expected"),
    [
        ("start,end", "0.5,2", Interval(0.5, 2, "s")),
        ("start_time,end_time", "0.5,2.0", Interval(0.5, 2, "s")),
        ("time_start,time_end", "1,2", Interval(1, 2, "s")),
        ("t_start,t_end", "0,2e0", Interval(0, 2, "s")),
        ("start_s,end_s", "0.1,0.3", Interval(0.1, 0.3, "s")),
        ("Start Time,End Time", "0.1,0.3", Interval(0.1, 0.3, "s")),
        ("start_timestamp,stop_timestamp", "00:01:02.5,1:00:03", Interval(62.5, 3603, "s")),
        ("start_ms,end_ms", "33,100", Interval(0.033, 0.1, "s")),
        ("start_frame,end_frame", "10,30.0", Interval(10, 30, "frames")),
        ("frame_start,frame_end", "0,1", Interval(0, 1, "frames")),
        ("start,end", ",2", Interval(0, 2, "s")),
        ("start,end", "2,", Interval(2, None, "s")),
        ("start,end", ",", None),
    ],
)
def test_columns_that_say_where_a_video_lies(
    columns: str, cells: str, expected: Interval | None, tmp_path: Path
) -> None:
    (video,) = read(tmp_path, f"path,label,{columns}\nv/a.mp4,run,{cells}\n").values()
    assert video.interval == expected


@pytest.mark.parametrize(
    ("columns", "cells", "said"),
    [
        ("start,end", "2,2", r"list.csv: line 3: start '2', end '2': a segment ends after it begins, got 2.0 to 2.0 s"),
        ("start,end", "3,2", "line 3: start '3', end '2': a segment ends after it begins"),
        ("start,end", "-1,2", "line 3: start '-1', end '2': a segment begins at 0 or later, got -1.0"),
        ("start,end", "nan,2", "line 3: 'nan' in start and end; expected seconds, such as 12.5"),
        ("start,end", "0,inf", "line 3: 'inf' in start and end; expected seconds"),
        ("start,end", "0,soon", "line 3: 'soon' in start and end; expected seconds"),
        ("start_frame,end_frame", "0,1.5", "frames have whole numbers, got 0.0 to 1.5"),
        ("start_frame,end_frame", "0,0:10", "line 3: '0:10' in start_frame and end_frame; expected numbers of frames"),
        ("start,length", "0,1", "list.csv: there is no end beside the column start"),
        ("end_time,x", "0,1", "list.csv: there is no start beside the column end_time"),
        ("start,end,start_frame,end_frame", "0,1,0,25", "the columns start, end and start_frame, end_frame all say"),
        ("middle_frame_timestamp,x", "902,1", "the column middle_frame_timestamp says a moment, as in AVA's lists"),
        ("Timestamp,x", "902.5,1", "line 2: Timestamp '0' says a moment, and no column a segment"),
        ("first_frame,last_frame", "0,1", "is the frame that the column last_frame names in the segment or not"),
    ],
)
def test_what_is_no_segment_is_refused_with_file_and_line(columns: str, cells: str, said: str, tmp_path: Path) -> None:
    fine = ",".join("01"[i % 2] for i in range(columns.count(",") + 1))
    with pytest.raises(UserError, match=said):
        read(tmp_path, f"path,label,{columns}\nv/b.mp4,run,{fine}\nv/a.mp4,run,{cells}\n")


@pytest.mark.parametrize("stamp", ["2024-05-01 10:00", "1714557600", ""])
def test_a_timestamp_that_is_a_date_is_a_column_without_a_use(stamp: str, tmp_path: Path) -> None:
    (video,) = read(tmp_path, f"path,label,timestamp\nv/a.mp4,run,{stamp}\n").values()
    assert video.interval is None


def test_a_timestamp_beside_a_segment_is_a_column_without_a_use(tmp_path: Path) -> None:
    (video,) = read(tmp_path, "path,label,timestamp,start,end\nv/a.mp4,run,2,1,3\n").values()
    assert video.interval == Interval(1, 3, "s")


def test_an_id_for_each_segment(tmp_path: Path) -> None:
    text = "path,label,start,end\nv/a.mp4,run,0,0.5\nv/a.mp4,jump,0.5,\nv/a.mp4,run,,\nv/b.mp4,run,0,1e1\n"
    videos = read(tmp_path, text)
    assert list(videos) == ["v/a_s0-0.5", "v/a_s0.5-end", "v/a", "v/b_s0-10"]
    check_ids(list(videos))
    groups = groups_of(list(videos.values()), None)
    assert groups["v/a_s0-0.5"] == groups["v/a_s0.5-end"] == groups["v/a"] != groups["v/b_s0-10"]


def test_ids_of_the_list_stay_unless_they_mean_the_file(tmp_path: Path) -> None:
    own = read(tmp_path, "path,label,start,end,video_id\nv/a.mp4,run,0,1,s1\nv/a.mp4,jump,1,2,s2\n")
    assert list(own) == ["s1", "s2"]
    assert len(set(groups_of(list(own.values()), None).values())) == 1
    text = "path,label,start_frame,end_frame,video_id\nv/a.mp4,run,0,9,a\nv/a.mp4,jump,5,20,a\nv/b.mp4,run,0,9,b\n"
    assert list(read(tmp_path, text)) == ["a_f0-9", "a_f5-20", "b_f0-9"]


def test_a_file_that_was_cut_by_its_name_is_not_cut_again(tmp_path: Path) -> None:
    touch(tmp_path, ["v/ID_000010_000020.mp4"])
    write(tmp_path, {"list.csv": "path,label,time_start,time_end\nv/ID_000010_000020.mp4,run,10,20\n"})
    listing = READERS["csv"]([str(tmp_path / "list.csv")])
    assert [(video.video_id, video.interval) for video in listing.videos] == [("v/ID_000010_000020", None)]
    assert findings(listing)["file that is cut already, by its name; taken whole"] == ["1 files"]
    assert next(iter(read(tmp_path, "path,label,start,end\nv/ID_000010_000020.mp4,x,1,2\n").values())).interval


def test_videos_of_one_file_share_a_group_whatever_the_list_says() -> None:
    def video(name: str, path: str, group: str | None = None) -> Video:
        return Video(video_id=name, path=path, label_name="run", group=group)

    videos = [video("a", "/1", "x"), video("b", "/1", "y"), video("c", "/2", "y"), video("d", "/3"), video("e", "/3")]
    assert groups_of(videos, None) == {"a": "x", "b": "x", "c": "x", "d": "d", "e": "d"}
    assert groups_of([video("a1", "/1"), video("b2", "/1")], "[0-9]") == {"a1": "1", "b2": "1"}


def test_a_random_split_never_divides_a_file(tmp_path: Path) -> None:
    lines = [f"v/{f}.mp4,c{k % 2},{k},{k + 1}" for f in "abcdefgh" for k in range(4)]
    touch(tmp_path, [f"v/{f}.mp4" for f in "abcdefgh"])
    videos = read(tmp_path, "path,label,start,end\n" + "\n".join(lines) + "\n")
    labels = {name: video.label_name for name, video in videos.items()}
    split = make_split(labels, groups_of(list(videos.values()), None), {"train": 0.5, "val": 0.25, "test": 0.25}, 0)
    for path in {video.path for video in videos.values()}:
        assert len({split[name] for name, video in videos.items() if video.path == path}) == 1


def test_segments_that_the_file_does_not_reach_are_named(tmp_path: Path) -> None:
    write(tmp_path, {"list.csv": "path,label,start,end\n" + "".join(f"v/a.mp4,x,{s},{e}\n" for s, e in TIMES)})
    touch(tmp_path, ["v/a.mp4"])
    listing = READERS["csv"]([str(tmp_path / "list.csv")])
    facts = [Facts(fps=25.0, duration_s=10.0)] * len(TIMES)
    rows = manifest_rows(listing, groups_of(listing.videos, None), {}, facts)
    assert {(finding.kind, finding.name) for finding in segments_beyond(rows)} == {
        ("segment that begins after the end of its file", "v/a_s12-13"),
        ("segment that ends after the end of its file", "v/a_s5-15"),
    }


TIMES = [(0, 10), (5, 10.2), (5, 15), (12, 13)]


def test_kinetics_cuts_whole_videos_only(tmp_path: Path) -> None:
    root = touch(tmp_path / "v", ["run/abcdefghijk_000010_000020.mp4", "run/whole_video.mp4"])
    text = "label,youtube_id,time_start,time_end,split\n"
    text += "run,abcdefghijk,10,20,train\nrun,whole_video,30,40,train\nrun,whole_video,35,45,val\n"
    lists = write(tmp_path, {"train.csv": text})
    videos = by_id(READERS["kinetics"]([root, f"{lists}/train.csv"]))
    assert {name: video.interval for name, video in videos.items()} == {
        "run/abcdefghijk_000010_000020": None,
        "run/whole_video_000030_000040": Interval(30, 40, "s"),
        "run/whole_video_000035_000045": Interval(35, 45, "s"),
    }
    assert {Path(video.path).name for video in videos.values() if video.interval} == {"whole_video.mp4"}
    write(tmp_path, {"train.csv": "run,whole_video,30,30,train\n"})
    with pytest.raises(UserError, match="whole_video: a segment ends after it begins, got 30.0 to 30.0 s"):
        READERS["kinetics"]([root, f"{lists}/train.csv"])


DATABASE = {
    "version": "VERSION 1.3",
    "database": {
        "aaa": {
            "subset": "training",
            "annotations": [{"label": "Long jump", "segment": [1.5, 9]}, {"label": "Run", "segment": [20.25, 30]}],
        },
        "bbb": {"subset": "validation", "annotations": [{"label": "Run", "segment": [0, 4.5]}]},
        "ccc": {"subset": "testing", "annotations": []},
    },
}


def activitynet(tmp_path: Path, database: object) -> list[str]:
    root = touch(tmp_path / "v", ["v_aaa.mp4", "deep/bbb.webm"])
    write(tmp_path, {"list.json": json.dumps(database)})
    return [root, str(tmp_path / "list.json")]


def test_activitynet_and_hacs_segments(tmp_path: Path) -> None:
    listing = READERS["activitynet"](activitynet(tmp_path, DATABASE))
    videos = by_id(listing)
    assert {name: (v.label_name, v.splits["split1"], v.group, str(v.interval)) for name, v in videos.items()} == {
        "v_aaa_s1.5-9": ("Long jump", "train", "aaa", "[1.5, 9) s"),
        "v_aaa_s20.25-30": ("Run", "train", "aaa", "[20.25, 30) s"),
        "deep/bbb_s0-4.5": ("Run", "val", "bbb", "[0, 4.5) s"),
    }
    assert listing.labels == {"Long jump": 0, "Run": 1}
    assert findings(listing) == {"video without an annotated segment, left out": ["ccc"]}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"subset": "training", "annotations": [{"label": "x", "segment": [5, 5]}]}, "aaa: a segment ends after it"),
        ({"subset": "training", "annotations": [{"label": "x", "segment": [-1, 5]}]}, "aaa: a segment begins at 0"),
        ({"subset": "training", "annotations": [{"label": "x", "segment": [5]}]}, r"aaa: the segment \[5\] is no pair"),
        ({"subset": "training", "annotations": [{"label": "x", "segment": ["a", 5]}]}, "is no pair of seconds"),
        ({"subset": "training", "annotations": [{"label": 3, "segment": [1, 5]}]}, "the label 3 is no name of a class"),
        ({"subset": "trainig", "annotations": []}, "aaa: unknown subset 'trainig'"),
        ({"annotations": []}, 'expected {"database"'),
        (7, 'expected {"database"'),
    ],
)
def test_activitynet_says_what_is_wrong(entry: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        READERS["activitynet"](activitynet(tmp_path, {"database": {"aaa": entry}}))


def test_hacs_clips_leave_out_what_does_not_show_the_class(tmp_path: Path) -> None:
    root = touch(tmp_path / "v", ["aaa.mp4"])
    text = "classname,youtube_id,subset,start,end,label\nRun,aaa,training,9.4,11.4,1\nRun,aaa,training,20,22,-1\n"
    write(tmp_path, {"clips.csv": text + ",zzz,testing,,,\n"})
    listing = READERS["activitynet"]([root, str(tmp_path / "clips.csv")])
    assert [(v.video_id, v.label_name, v.interval) for v in listing.videos] == [
        ("aaa_s9.4-11.4", "Run", Interval(9.4, 11.4, "s"))
    ]
    assert findings(listing) == {
        "clip that does not show its class (label -1), left out": ["aaa"],
        "video without an annotated segment, left out": ["zzz"],
    }
    write(tmp_path, {"clips.csv": text + "Run,aaa,training,5,4,1\n"})
    with pytest.raises(UserError, match=r"clips.csv: line 4: a segment ends after it begins, got 5.0 to 4.0 s"):
        READERS["activitynet"]([root, str(tmp_path / "clips.csv")])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"{'R' * 200_000},aaa,training,1,2,1", "line 2: "),
        ("Run,aaa,tset,1,2,1", "line 2: unknown subset 'tset'"),
        ("Run,aaa,training,1,2,1,7", "line 2: 7 fields, but 6 columns"),
        ('Run,"aaa,training,1,2,1', "line 2: this line cannot be divided into fields"),
    ],
)
def test_a_clip_that_cannot_be_understood_is_named_by_its_line(line: str, said: str, tmp_path: Path) -> None:
    touch(tmp_path / "videos", ["v_aaa.mp4"])
    write(tmp_path, {"clips.csv": f"classname,youtube_id,subset,start,end,label\n{line}\n"})
    with pytest.raises(UserError, match=f"clips.csv: {said}"):
        READERS["activitynet"]([str(tmp_path / "videos"), str(tmp_path / "clips.csv")])
