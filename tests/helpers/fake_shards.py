"""A shard set in memory, with the attributes of kinebert.preprocessing.sets.reader.ShardSet that training uses."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FakeVideo:
    video_id: str
    label: int
    num_images: int
    splits: dict[str, str]
    seed: int = 0


@dataclass(frozen=True)
class FakeRejected:
    video_id: str
    problem: str
    splits: dict[str, str]


class FakeVideos(list[FakeVideo]):
    def numbers(self, name: str) -> NDArray[np.int64]:
        return np.array([getattr(video, name) for video in self], np.int64)


@dataclass
class FakeShards:
    """Pictures of one colour per class (with noise), so that a network of any kind can learn them in seconds."""

    videos: list[FakeVideo]
    classes: list[str]
    modality: str = "rgb"
    digest: str = "d1g35t"
    content: str = "c0nt3nt"
    uri: str = "/fake/set"
    size: tuple[int, int] = (24, 32)
    rejected: list[FakeRejected] = field(default_factory=list)
    recipe: dict[str, object] = field(default_factory=lambda: {"width": 32})

    @property
    def flow_bound(self) -> float | None:
        return float(str(self.recipe["bound"])) if self.modality == "flow" else None

    def splits(self) -> list[str]:
        return sorted({split for video in self.videos for split in video.splits})

    def select(self, split: str, part: str) -> "FakeVideos":
        return FakeVideos(video for video in self.videos if video.splits.get(split) == part)

    def read_clip(self, entry: FakeVideo, indices: Sequence[int]) -> NDArray[np.uint8]:
        assert min(indices) >= 0
        assert max(indices) < entry.num_images
        channels = 3 if self.modality == "rgb" else 2
        frames = []
        for index in indices:
            rng = np.random.default_rng([entry.seed, index])
            noise = rng.integers(0, 40, (*self.size, channels))
            frames.append(noise + 60 * (np.arange(channels) == entry.label % channels) + 50)
        return np.stack(frames).astype(np.uint8)


def make_shards(
    num_train: int = 24, num_val: int = 9, num_classes: int = 3, modality: str = "rgb", images: int = 6
) -> FakeShards:
    videos = [
        FakeVideo(f"v{i:03d}", i % num_classes, images + i % 5, {"split1": "train" if i < num_train else "val"}, seed=i)
        for i in range(num_train + num_val)
    ]
    return FakeShards(videos, [f"class{i}" for i in range(num_classes)], modality)
