"""What is recommended follows from what was measured."""

from typing import Any

from tests.gpu.advice import advice


def row(clips_per_s: float, *settings: str, network: str = "I3D-BERT", first_s: float = 5.0) -> dict[str, Any]:
    names = ("benchmark", "channels_last", "compiled", "is_plain")
    return {
        "network": network,
        "variant": {name: name in settings for name in names},
        "clip": [64, 224],
        "clips_per_s": clips_per_s,
        "times_plain": clips_per_s / 100,
        "first_s": first_s,
    }


def fed(resize_on: str, clips_per_s: float, loaders: int = 10) -> dict[str, Any]:
    return {"frames": 64, "size": 224, "resize_on": resize_on, "clips_per_s": clips_per_s, "loaders": loaders}


EAGER = [row(100, "is_plain"), row(110), row(120, "benchmark"), row(150, "channels_last")]
BEST = row(200, "benchmark", "channels_last")


def test_the_fastest_settings_are_recommended() -> None:
    compiled = row(250, "benchmark", "channels_last", "compiled", first_s=60)
    lines = advice({"networks": {"rows": [*EAGER, BEST, compiled]}})
    assert lines == [
        "# I3D-BERT: 250 clips/s, 2.50 times the plain reading",
        "channels_last = true",
        "compile = true  # 1.25 times as fast; the 60 s at each start are repaid in 5 min",
        "",
    ]


def test_what_gains_less_than_the_noise_is_not() -> None:
    compiled = row(203, "benchmark", "channels_last", "compiled")
    lines = advice({"networks": {"rows": [*EAGER, BEST, compiled]}})
    assert lines[1:-1] == [
        "channels_last = true",
        "compile = false",
        "# cudnn.benchmark, on unless deterministic = true: 1.33 times as fast",
    ]
    first = advice({"networks": {"rows": [*EAGER, row(122, "benchmark", "channels_last")][:3]}})
    assert first[1:3] == ["channels_last = false", "# compile: not measured"]


def test_loaders_that_keep_up_resize_and_those_that_do_not_leave_it_to_the_device() -> None:
    rows = [*EAGER, BEST]
    enough = advice({"networks": {"rows": rows}, "feed": {"rows": [fed("loader", 300), fed("device", 400)]}})
    assert 'data.resize_on = "loader"' in enough
    assert 'loader_workers = "auto"  # 7 of 10 loaders would do for one GPU' in enough
    helped = advice({"networks": {"rows": rows}, "feed": {"rows": [fed("loader", 150), fed("device", 400)]}})
    assert 'data.resize_on = "device"' in helped
    slow = advice({"networks": {"rows": rows}, "feed": {"rows": [fed("loader", 50), fed("device", 100)]}})
    assert slow[-2].startswith('loader_workers = "auto"  # 10 loaders keep the GPU 50% busy; it would take 20: ')


def flow(**rates: float) -> dict[str, Any]:
    """By names such as ``four`` and ``four_mps``."""
    tasks = {"one": 1, "two": 2, "four": 4}
    rows = [
        {"tasks": tasks[name.removesuffix("_mps")], "mps": name.endswith("_mps"), "pairs_per_s": rate}
        for name, rate in rates.items()
    ]
    return {"flow": {"rates": rows}}


def test_fewest_tasks_and_no_service_unless_they_pay() -> None:
    (few,) = advice(flow(one=1000, two=1200, four=1210, four_mps=1220))
    assert few == "# kinebert extract-flow --gpus-per-task 0.5: 1200 pairs/s; MPS brings nothing here"
    (served,) = advice(flow(one=1000, two=1200, four=1210, four_mps=1800))
    assert served.startswith("# kinebert extract-flow --gpus-per-task 0.25: 1800 pairs/s, with MPS: start ")
    (unknown,) = advice(flow(one=1000, two=900))
    assert unknown == "# kinebert extract-flow --gpus-per-task 1: 1000 pairs/s; MPS was not measured"


def test_nothing_measured_means_nothing_said() -> None:
    assert advice({"tests": {"counts": {}}}) == []
