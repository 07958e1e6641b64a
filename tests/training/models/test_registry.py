"""Networks by name: where they come from."""

from pathlib import Path
from types import ModuleType

import pytest

from kinebert.preprocessing.discovery import modules_of
from kinebert.training.models import BACKBONES, HEADS, backbones, build_recognizer, heads
from kinebert.training.models.heads.average import tgap
from kinebert.training.models.registry import register_backbone, register_head

HALVED = """
from kinebert.training.models.backbones.frames.resnet import resnet18
from kinebert.training.models.inputs import KINETICS
from kinebert.training.models.registry import register_backbone

@register_backbone(rgb=KINETICS)
def halved(channels_in: int = 3, width: float = 1.0):
    return resnet18(channels_in, width / 2)
"""


@pytest.mark.parametrize(
    ("package", "builders"), [(backbones, [entry.build for entry in BACKBONES.values()]), (heads, HEADS.values())]
)
def test_every_file_of_the_folder_registers_something(package: ModuleType, builders: list[object]) -> None:
    folder = Path(package.__path__[0])
    files = {path.relative_to(folder).with_suffix("") for path in folder.rglob("*.py") if path.stem != "__init__"}
    assert files
    assert {builder.__module__ for builder in builders} == {".".join([package.__name__, *name.parts]) for name in files}


def test_a_file_put_beside_them_is_all_that_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "halved.py").write_text(HALVED)
    monkeypatch.setattr(backbones, "__path__", [*backbones.__path__, str(tmp_path)])
    monkeypatch.setitem(BACKBONES, "halved", None)  # so that it is gone afterwards
    del BACKBONES["halved"]
    modules_of(backbones.__name__)
    assert build_recognizer(backbone="halved", num_classes=2, width=0.5).backbone.num_features == 128


def test_a_taken_name_is_an_error() -> None:
    with pytest.raises(ValueError, match="two heads are called 'tgap'"):
        register_head(tgap)

    def resnet18() -> None: ...

    with pytest.raises(ValueError, match="two backbones are called 'resnet18'"):
        register_backbone()(resnet18)  # type: ignore[type-var]
