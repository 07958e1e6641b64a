"""Files and listings for the tests of data set readers."""

from collections.abc import Iterable
from pathlib import Path

from kinebert.preprocessing.datasets.listing import Listing, Video


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
