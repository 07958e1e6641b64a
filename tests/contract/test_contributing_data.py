"""The examples of CONTRIBUTING.md that bring data: a reader, and a modality that goes the whole way to a network."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch

from kinebert.pipelines import describe, index_videos, show
from kinebert.preprocessing.datasets.manifest import read_manifest
from kinebert.preprocessing.datasets.registry import READERS
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.extraction.video_as_set import recipe_of
from kinebert.preprocessing.modalities import MODALITIES, modality_of
from kinebert.preprocessing.recipe import RECIPES
from kinebert.preprocessing.sets.export import export_frames
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.sets.verify import verify_set
from kinebert.preprocessing.video.frames import VideoFrames
from kinebert.training.data.dataset import ClipDataset
from kinebert.training.data.transforms import normalise
from kinebert.training.models import build_recognizer
from kinebert.training.recipe.train import DataRecipe
from tests.helpers.contributing import example, restored
from tests.helpers.lists import by_id, findings, touch, write
from tests.helpers.sets import make_rows, make_set
from tests.helpers.videos import moving_texture, write_video

VOCABULARY = [["Back", "15som", "05Twis", "FREE"], ["Forward", "Dive", "NoTwis", "PIKE"], ["Reverse", "Dive", "a", "b"]]


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    """The page's modules; what they register is gone afterwards, for other tests ask for all that there is."""
    folder = tmp_path_factory.mktemp("examples")
    with restored(READERS, MODALITIES, RECIPES):
        yield {
            "reader": example("Adding a data-set reader", folder),
            "modality": example("Adding a modality of pictures", folder),
        }


def diving_lists(root: Path) -> str:
    train = [{"vid_name": "aa_0001", "label": 1, "start_frame": 0}, {"vid_name": "aa_0002", "label": 0}]
    return write(
        root,
        {
            "Diving48_vocab.json": json.dumps(VOCABULARY),
            "Diving48_V2_train.json": json.dumps(train),
            "Diving48_V2_test.json": json.dumps([{"vid_name": "bb_0001", "label": 1}]),
        },
    )


def test_the_reader_reads_its_lists(examples: dict[str, ModuleType], tmp_path: Path) -> None:
    root = touch(tmp_path / "videos", ["rgb/aa_0001.mp4", "rgb/bb_0001.mp4", "rgb/zz.mp4"])
    listing = READERS["diving48"]([root, diving_lists(tmp_path / "lists")])
    assert listing.labels == {"Back 15som 05Twis FREE": 0, "Forward Dive NoTwis PIKE": 1, "Reverse Dive a b": 2}
    found = {name: (video.path, video.label_name, video.splits) for name, video in by_id(listing).items()}
    assert found == {
        "aa_0001": (f"{root}/rgb/aa_0001.mp4", "Forward Dive NoTwis PIKE", {"split1": "train"}),
        "aa_0002": (f"{root}/aa_0002.mp4", "Back 15som 05Twis FREE", {"split1": "train"}),
        "bb_0001": (f"{root}/rgb/bb_0001.mp4", "Forward Dive NoTwis PIKE", {"split1": "test"}),
    }
    assert findings(listing) == {
        "video that no list names": ["rgb/zz.mp4"],
        "class without videos": ["Reverse Dive a b"],
    }
    with pytest.raises(UserError, match="expected: kinebert index diving48 VIDEOS LISTS; got 1 path"):
        READERS["diving48"]([root])
    with pytest.raises(UserError, match="none of the 3 videos that the lists name is here"):
        READERS["diving48"]([touch(tmp_path / "others", ["x.mp4"]), str(tmp_path / "lists")])


def test_the_program_indexes_with_it(
    examples: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_video(tmp_path / "videos" / "aa_0001.mp4", moving_texture(4))
    shutil.copy(tmp_path / "videos" / "aa_0001.mp4", tmp_path / "videos" / "bb_0001.mp4")
    manifest = str(tmp_path / "m.parquet")
    paths = (str(tmp_path / "videos"), diving_lists(tmp_path / "lists"))
    config = index_videos.IndexConfig(source="diving48", paths=paths, output=manifest, num_workers=1, max_problems=0.5)
    assert index_videos.main(config) == 0
    assert "1 of 3 videos (33.3%) cannot be used" in capsys.readouterr().out
    rows = {row.video_id: row for row in read_manifest(manifest)}
    assert {name: row.problem for name, row in rows.items() if row.problem} == {"aa_0002": rows["aa_0002"].problem}
    assert (rows["bb_0001"].label, rows["bb_0001"].width) == (1, 64)


@pytest.fixture(scope="module")
def outlines(examples: dict[str, ModuleType], tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """A set of outlines, of four videos."""
    folder = tmp_path_factory.mktemp("outlines")
    rows = make_rows(folder / "videos", [6, 40, 6, 6])
    recipe = examples["modality"].EdgesRecipe(width=40, height=32, low=20.0, high=60.0, jpeg_quality=100)
    return make_set(rows, folder / "edges", recipe)


def test_a_set_of_outlines_holds_them(examples: dict[str, ModuleType], outlines: ShardSet) -> None:
    assert outlines.modality == "edges"
    assert (outlines.recipe["low"], outlines.recipe["high"]) == (20.0, 60.0)
    entry = outlines.entry("class1/v01")
    assert entry.num_images == entry.num_frames == 40
    clip = outlines.read_clip(entry, [0, 33, 39])
    assert clip.shape == (3, 32, 40, 1)
    recipe = recipe_of(outlines.recipe, outlines.digest, "the set")
    folder = Path(outlines.uri).parent / "videos"
    frames = list(VideoFrames(str(folder / "class1" / "v01.mp4"), recipe))
    for image, number in zip(clip, (0, 33, 39), strict=True):
        truth = cv2.Canny(frames[number], 20, 60)
        assert truth.any()
        assert np.abs(image[..., 0].astype(int) - truth).max() <= 24  # what JPEG of quality 100 does to hard edges
    assert verify_set(outlines.uri).problems == ()
    assert recipe.digest() != examples["modality"].EdgesRecipe(width=40, height=32, jpeg_quality=100).digest()


def test_verification_finds_a_damaged_outline(outlines: ShardSet, tmp_path: Path) -> None:
    copied = tmp_path / "edges"
    shutil.copytree(outlines.uri, copied)
    shard = next(copied.glob("shard-*.parquet"))
    data = bytearray(shard.read_bytes())
    data[data.index(b"\xff\xd8\xff") + 1] = 0
    shard.write_bytes(data)
    assert verify_set(str(copied)).problems


def test_outlines_are_exported_and_drawn(
    outlines: ShardSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export_frames(outlines, tmp_path / "out") == 6 + 40 + 6 + 6
    assert len(list((tmp_path / "out" / "class0" / "v00").glob("edges_0000[1-6].jpg"))) == 6
    picture = cv2.imread(str(tmp_path / "out" / "class0" / "v00" / "edges_00006.jpg"), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    assert picture.shape == (32, 40)
    assert show.cli([outlines.uri, "class0/v00", "--output", str(tmp_path / "sheet.png")]) == 0
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_clips_of_outlines_are_cut_mirrored_and_learnt_from(outlines: ShardSet) -> None:
    data = DataRecipe(shards=outlines.uri, modality="edges", clip_length=4, crop_size=32, multi_scale=False)
    videos = outlines.select("split1", "train")
    dataset = ClipDataset(outlines, videos, data, seed=3, training=True)
    clips, labels, _ = zip(*(dataset[(epoch, i)] for epoch in range(4) for i in range(len(videos))), strict=True)
    assert all(clip.shape == (4, 32, 32, 1) and clip.dtype == np.uint8 for clip in clips)
    assert all(clip.max() > 200 for clip in clips), "white stays white: nothing is negated by the mirror"
    assert all(np.median(clip) < 60 for clip in clips)
    network = build_recognizer(
        backbone="resnet18", head="bert", width=0.125, num_classes=2, modality="edges", clip_length=4, size=32
    )
    assert (network.spec.mean, network.spec.std) == ((0.1,), (0.3,))
    x_NCTHW = normalise(torch.from_numpy(np.stack(clips)), network.spec)
    torch.testing.assert_close(x_NCTHW[0, 0, 0], (torch.from_numpy(clips[0][0, ..., 0]) / 255 - 0.1) / 0.3)
    loss = torch.nn.functional.cross_entropy(network.train()(x_NCTHW), torch.tensor(labels))
    loss.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    with pytest.raises(ConfigError, match="only flow is stacked, and this is edges"):
        build_recognizer(backbone="resnet18", head="tgap", num_classes=2, modality="edges", flow_stack=2)


def test_it_is_described(examples: dict[str, ModuleType], capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        describe.cli(["--backbone", "resnet18", "--modality", "edges", "--frames", "4", "--size", "32", "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["input_shape"] == [1, 1, 4, 32, 32]
    assert modality_of("edges").words == "outlines"
