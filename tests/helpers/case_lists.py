"""What becomes of each list and folder of ``../shared/cases`` that is indexed: a table."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Understood:
    """What an index is made of: the classes by label, videos of train, val and test, some labels, and what is said."""

    line: str
    classes: tuple[str, ...]
    parts: dict[str, tuple[int, int, int]]
    labels: dict[str, str | None]
    says: str
    status: int = 0


ELEVEN = tuple(str(number) for number in range(11))
UNDERSTOOD = [
    Understood(
        "csv {cases}/float-labels/list.csv",
        ELEVEN,
        {"split1": (9, 1, 1)},
        {"clips_shared/c10": "10", "clips_shared/c2": "2", "clips_shared/c11": None},
        "columns that are not used .*list.csv(.|\n)*video without a label: 1: clips_shared/c11",
    ),
    *(
        Understood(
            "csv {cases}/headerless-list/" + name,
            ("0", "1"),
            {"split1": (4, 1, 1)},
            {"clips_shared/c2": "0", "clips_shared/c3": "1"},
            f"list without a header, taken as path, label: 1: {re.escape(name)}",
        )
        for name in ("mmaction.txt", "slowfast.csv")
    ),
    Understood(
        "csv {cases}/segment-columns/list.csv",
        ("jump", "run"),
        {"split1": (4, 1, 1)},
        {"s1": "run", "s2": "jump"},
        "6 of them are segments of 5 files(.|\n)*file with more than one id: 1: .*c0.mp4",
    ),
    Understood(
        "csv {cases}/segment-columns/list_no_ids.csv",
        ("jump", "run"),
        {},
        {"clips_shared/c0_s0-0.5": "run", "clips_shared/c1_s0.5-1": "jump"},
        "2 of them are segments of 2 files",
    ),
    Understood(
        "csv {cases}/split-name-mlflow/list.csv",
        ("c0", "c1"),
        {"fold #1 (80-20)": (8, 2, 2)},
        {"clips_shared/c9": "c1"},
        r"fold #1 \(80-20\) +8 +2 +2 +0\n",
    ),
    Understood(
        "csv {cases}/split-name-slash/list.csv",
        ("c0", "c1"),
        {"fold/2": (8, 2, 2)},
        {"clips_shared/c8": "c0"},
        "fold/2 +8 +2 +2 +0\n",
    ),
    Understood(
        "csv {cases}/three-part-lists/train.csv {cases}/three-part-lists/val.csv {cases}/three-part-lists/test.csv",
        ("0", "1"),
        {"split1": (6, 2, 4)},
        {"clips_shared/c11": "1"},
        "list whose name says its part of split1: 3: train.csv: train",
    ),
    Understood(
        "folder {cases}/folder-train-val-test/videos",
        ("jump", "run"),
        {"split1": (3, 2, 2)},
        {"test/jump/v_jump_g03_c01": "jump"},
        "outermost folder is a part of split1",
    ),
    Understood(
        "folder {cases}/cover-art-first/videos", ("wave",), {}, {"wave/cover_first": "wave"}, "all videos can be used"
    ),
    Understood(
        "folder {cases}/two-video-streams/videos", ("wave",), {}, {"wave/two_streams": "wave"}, "several video streams"
    ),
    Understood(
        "folder {cases}/cover-art-audio-only/videos",
        ("wave",),
        {},
        {"wave/audio_cover": "wave"},
        "no video stream: 1: wave/audio_cover(.|\n)*FAILED: 1 of 1 videos",
        status=1,
    ),
    *(
        Understood(
            f"csv {{beside}}/{name}.csv",
            ("jump", "run"),
            {},
            {"clips/c0": "run", "clips/c1": "jump"},
            "all videos can be used",
        )
        for name in ("sep", "cap", "back")
    ),
    Understood(
        "hmdb51 {beside}/videos {beside}/hmdb51",
        ("wave",),
        {"split1": (1, 0, 0)},
        {"wave/a_wave_u_cm_np1_fr_med_0": "wave"},
        "all videos can be used",
    ),
    Understood(
        "ucf101 {beside}/videos {beside}/ucf101",
        ("bend", "wave"),
        {"split1": (1, 0, 1)},
        {"wave/v_wave_g01_c01": "wave", "bend/v_bend_g02_c01": "bend"},
        "all videos can be used",
    ),
]


REFUSED = {
    "csv {cases}/excel-lists/back.csv": "{cases}/excel-lists/back.csv: none of the 2 videos is there, .*/clips/c0.mp4",
    "csv {cases}/excel-lists/cap.csv": "{cases}/excel-lists/cap.csv: none of the 2 videos is there, .*/clips/c0.mp4",
    "csv {cases}/excel-lists/sep.csv": "{cases}/excel-lists/sep.csv: none of the 2 videos is there, .*/clips/c0.mp4",
    "csv {cases}/split-column-unknown-word/list.csv": "list.csv: line 12: unknown words in the column split1: tset",
    "csv {cases}/split-column-unknown-word/list_subset.csv": "line 12: unknown words in the column subset: tset",
    "folder {cases}/clips_shared": "{cases}/clips_shared: 12 videos lie directly in this folder",
    "folder {cases}/absent": "{cases}/absent: there is no such folder",
    "folder {cases}/float-labels/list.csv": "{cases}/float-labels/list.csv: there is no such folder",
    "ucf101 {cases}/clips_shared {cases}/tab-lists": "{cases}/tab-lists: trainlist01.txt, testlist01.txt not found",
    "hmdb51 {cases}/clips_shared {cases}/tab-lists": "{cases}/clips_shared: none of the 1 videos that the lists name",
    "csv {cases}/compiled-checkpoint/lfs.pth": "lfs.pth: this is a pointer of Git LFS",
    "csv {cases}/compiled-checkpoint/drive.pth": "drive.pth: this is a web page",
    "csv {cases}/compiled-checkpoint/mk.py": "mk.py: expected the columns path and label",
    "csv {cases}/cover-art-audio-only/videos/wave/audio_cover.mp4": "audio_cover.mp4: .*not UTF-8",
    "csv {cases}/clips_shared": "{cases}/clips_shared: cannot read this file: this is a folder",
    "csv {cases}/absent": "{cases}/absent: cannot read this file: there is no such file",
}
