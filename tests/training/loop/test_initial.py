"""A training that starts with published weights: with which, and that it goes on with these only."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.preprocessing.errors import UserError
from kinebert.training.checkpoints.recognizer import load_recognizer
from kinebert.training.loop.initial import initial_recognizer, pinned
from kinebert.training.loop.loop import WorkerContext, train
from kinebert.training.loop.preflight import check_training
from kinebert.training.models import Recognizer, build_recognizer
from kinebert.training.recipe.train import DataRecipe, ModelRecipe, OptimRecipe, TrainRecipe
from tests.helpers.fake_shards import make_shards
from tests.helpers.https_server import web_server

RECIPE = TrainRecipe(
    data=DataRecipe(shards="/fake/set", clip_length=4, crop_size=16),
    model=ModelRecipe(backbone="r2plus1d_18", head="bert", width=0.125),
    optim=OptimRecipe(lr=1e-12, weight_decay=0.0),
    batch_size=8,
    micro_batch=4,
    epochs=1,
)


def write_weights(path: Path, seed: int = 0) -> Recognizer:
    """Write a network as the IG-65M files are, and return it."""
    torch.manual_seed(seed)
    net = build_recognizer(
        backbone="r2plus1d_18", head="tgap", num_classes=9, width=0.125, backbone_options={"family": "ig65m"}
    )
    names = {key: key.removeprefix("backbone.").replace("classifier.", "fc.") for key in net.state_dict()}
    torch.save({names[key]: tensor for key, tensor in net.state_dict().items()}, path)
    return net


def with_weights(path: Path | str, **changes: object) -> TrainRecipe:
    return replace(RECIPE, model=replace(RECIPE.model, weights=str(path), **changes))  # type: ignore[arg-type]


def test_a_training_starts_with_them_and_says_so(tmp_path: Path) -> None:
    events: list[Any] = []
    source = write_weights(tmp_path / "w.pth")
    summary = train(with_weights(tmp_path / "w.pth"), make_shards(), WorkerContext(), str(tmp_path), events.append)
    trained, info = load_recognizer(summary.checkpoint)
    for name, tensor in source.backbone.named_parameters():
        torch.testing.assert_close(trained.backbone.get_parameter(name), tensor, rtol=1e-4, atol=1e-6)  # lr is tiny
    assert trained.classifier.out_features == len(make_shards().classes)
    (note,) = [note for note in events[0].notes if "weights of" in note]
    assert "w.pth, read as ig65m: " in note
    assert "reinitialized" in note
    assert len(info.extra["train"]["model"]["weights_digest"]) == 64


def test_a_training_fetches_what_its_recipe_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_weights(tmp_path / "w.pth")
    body = (tmp_path / "w.pth").read_bytes()
    digest, told, events = hashlib.sha256(body).hexdigest(), list[str](), list[Any]()
    with web_server(tmp_path) as web:
        monkeypatch.setenv("SSL_CERT_FILE", str(web.certificate))
        monkeypatch.setenv("NO_PROXY", "*")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        web.files = {"/w.pth": [body]}
        given = with_weights(f"{web.address}/w.pth", weights_digest=digest)
        recipe = pinned(given, told.append)
        assert recipe == given  # an address stays: each node fetches for itself
        assert recipe.digest() == pinned(with_weights(tmp_path / "w.pth")).digest()
        summary = train(recipe, make_shards(), WorkerContext(), str(tmp_path / "run"), events.append)
        assert (web.asked, len(told)) == (["/w.pth"], 1)
        with pytest.raises(UserError, match="which bytes are meant"):
            pinned(with_weights(f"{web.address}/w.pth"))
    trained, info = load_recognizer(summary.checkpoint)
    assert info.extra["train"]["model"]["weights_digest"] == digest
    for name, tensor in source.backbone.named_parameters():
        torch.testing.assert_close(trained.backbone.get_parameter(name), tensor, rtol=1e-4, atol=1e-6)  # lr is tiny


def test_the_seed_decides_what_the_file_lacks(tmp_path: Path) -> None:
    write_weights(tmp_path / "w.pth")

    def start(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)
        return initial_recognizer(with_weights(tmp_path / "w.pth"), make_shards())[0].state_dict()

    first, again, other = start(1), start(1), start(2)
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert torch.equal(first["backbone.stem.0.weight"], other["backbone.stem.0.weight"])
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_a_run_goes_on_with_its_own_file_only_wherever_it_lies(tmp_path: Path) -> None:
    write_weights(tmp_path / "w.pth", seed=0)
    write_weights(tmp_path / "other.pth", seed=1)
    shutil.copy(tmp_path / "w.pth", tmp_path / "moved.pth")
    shards, output = make_shards(), str(tmp_path)
    train(with_weights(tmp_path / "w.pth"), shards, WorkerContext(), output, lambda _: None)
    train(with_weights(tmp_path / "moved.pth"), shards, WorkerContext(), output, lambda _: None)
    with pytest.raises(UserError, match=r"holds a training with other settings .*model\.weights_digest"):
        train(with_weights(tmp_path / "other.pth"), shards, WorkerContext(), output, lambda _: None)
    with pytest.raises(UserError, match=r"holds a training with other settings .*model\.weights_digest"):
        train(RECIPE, shards, WorkerContext(), output, lambda _: None)


def test_what_does_not_fit_is_said_before_a_process_is_started(tmp_path: Path) -> None:
    write_weights(tmp_path / "w.pth")
    shards = make_shards()
    recipe = pinned(with_weights(tmp_path / "w.pth"))
    assert any("read as ig65m" in note for note in check_training(recipe, shards, str(tmp_path / "run")))
    with pytest.raises(UserError, match=r"w\.pth: read as .* the weights do not fit r2plus1d_18 \+ bert"):
        check_training(with_weights(tmp_path / "w.pth", width=0.25), shards, str(tmp_path / "run"))
    with pytest.raises(UserError, match=r"lost\.pth: cannot read the weights: there is no such file"):
        pinned(with_weights(tmp_path / "lost.pth"))
    with pytest.raises(UserError, match=r"the recipe's model\.weights_digest is abc\. Give the file that"):
        pinned(with_weights(tmp_path / "w.pth", weights_digest="abc"))
    with pytest.raises(UserError, match=r"model\.weights_digest is given without model\.weights"):
        with_weights("", weights_digest="abc")


def test_a_checkpoint_of_our_own_starts_another_training(tmp_path: Path) -> None:
    shards = make_shards()
    first = train(replace(RECIPE, seed=3), shards, WorkerContext(), str(tmp_path / "first"), lambda _: None)
    model, notes = initial_recognizer(with_weights(first.checkpoint), shards)
    before, _ = load_recognizer(first.checkpoint)
    assert all(torch.equal(tensor, before.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert "read as kinebert" in notes[0]
