"""Where weights are found: at a path, by name in a folder, on the web by their digest."""

import hashlib
from pathlib import Path

import pytest
import torch

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.fetching import downloads
from kinebert.training.models import build_recognizer, load_published
from kinebert.training.models.weights.known import identify
from kinebert.training.models.weights.sources import found_by_name, local_weights, located, weights_folders
from tests.helpers.https_server import web_server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weights with one file; the present folder is another, an empty one, and torch has none."""
    (tmp_path / "weights" / "split1").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    net = build_recognizer(backbone="resnet18", head="bert", num_classes=2, clip_length=4, width=0.125)
    torch.save({"config": net.config, "state_dict": net.state_dict()}, tmp_path / "weights" / "w.pth")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("KINEBERT_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "weights"


def test_a_name_is_looked_for_in_the_folder(folder: Path) -> None:
    (folder / "split1" / "model_best.pth.tar").touch()
    assert located("w.pth") == str(folder / "w.pth")
    assert located("split1/model_best.pth.tar") == str(folder / "split1" / "model_best.pth.tar")
    assert located(Path("w.pth")) == str(folder / "w.pth")
    assert identify("w.pth")[2]
    net = build_recognizer(backbone="resnet18", head="bert", num_classes=2, clip_length=4, width=0.125)
    assert load_published(net, "w.pth").layout == "kinebert"


def test_a_file_of_that_path_wins(folder: Path) -> None:
    Path("w.pth").touch()
    assert located("w.pth") == str(Path.cwd() / "w.pth")
    assert located("./w.pth") == str(Path.cwd() / "w.pth")
    assert located(str(folder / "lost.pth")) == str(folder / "lost.pth")  # whoever opens it says so
    assert located("s3://bucket/w.pth") == "s3://bucket/w.pth"


def test_files_of_torch_hub_are_found_behind_ones_own(folder: Path, tmp_path: Path) -> None:
    hub = tmp_path / "torch" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    (hub / "w.pth").touch()
    (hub / "r2plus1d_18-91a641e6.pth").touch()
    assert weights_folders() == [str(folder), str(hub)]
    assert located("w.pth") == str(folder / "w.pth")
    assert located("r2plus1d_18-91a641e6.pth") == str(hub / "r2plus1d_18-91a641e6.pth")


def test_a_job_of_a_cluster_finds_names_and_refuses_relative_paths(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("other.pth").touch()
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert located("w.pth") == str(folder / "w.pth")
    with pytest.raises(UserError, match="other.pth: there is no such file of weights: not in the folders "):
        located("other.pth")


def test_what_is_nowhere_is_said_with_where_was_looked(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = tmp_path / "torch" / "hub" / "checkpoints"
    words = f"not at {Path.cwd()}/v.pth, and not in the folders KINEBERT_WEIGHTS .{folder}. and torch's own, {hub}"
    with pytest.raises(UserError, match=rf"v.pth: there is no such file of weights: {words}. Did you mean w.pth\?"):
        located("v.pth")
    monkeypatch.delenv("KINEBERT_WEIGHTS")
    with pytest.raises(UserError, match=r"KINEBERT_WEIGHTS \(which is not set\)"):
        located("w.pth")
    url = "https://docs.pytorch.org/vision/stable/models/video_resnet.html"
    with pytest.raises(UserError, match=f"It is offered at {url}. Put it there, or give its path"):
        located("r2plus1d_18-91a641e6.pth")
    with pytest.raises(UserError, match="It is offered at https://github.com/artest08/"):
        located("hmdb51_rgb_I3D64f_split2/model_best.pth.tar")
    with pytest.raises(ConfigError, match="got an empty text"):
        located("")
    assert found_by_name("../weights/w.pth") is None
    assert found_by_name("split1") is None


def test_files_from_the_web_load_by_their_digest(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = (folder / "w.pth").read_bytes()
    digest = hashlib.sha256(body).hexdigest()
    net = build_recognizer(backbone="resnet18", head="bert", num_classes=2, clip_length=4, width=0.125)
    monkeypatch.setattr(downloads, "_PAUSES_S", ())
    with web_server(tmp_path) as web:
        monkeypatch.setenv("SSL_CERT_FILE", str(web.certificate))
        monkeypatch.setenv("NO_PROXY", "*")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_ENDPOINT", web.address)
        web.files = {"/w.pth": [body], "/a/b/resolve/main/w.pth": [body]}
        assert located(f"{web.address}/w.pth") == f"{web.address}/w.pth"
        with pytest.raises(ConfigError, match="which bytes are meant"):
            load_published(net, f"{web.address}/w.pth")
        assert load_published(net, "hf://a/b/w.pth", digest=digest).layout == "kinebert"
        assert web.asked == ["/a/b/resolve/main/w.pth"]
    assert Path(local_weights("hf://a/b/w.pth", digest)).read_bytes() == body  # without a network by now
