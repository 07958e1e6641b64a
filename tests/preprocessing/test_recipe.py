"""What a recipe of extraction says of itself, and when two recipes are one."""

import dataclasses
import json

import pytest

from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.recipe import RECIPES, FlowRecipe, FrameRecipe, PoseRecipe, describe_tvl1, preset_of
from kinebert.preprocessing.tvl1 import PRESETS, TvL1Params
from tests.helpers.poses import SHA256, bright_backend


@pytest.mark.parametrize("kind", RECIPES.values(), ids=RECIPES)
def test_plain_values_survive_json_and_make_the_same_recipe(kind: type[FrameRecipe]) -> None:
    recipe = kind(resize="short_side", short_side=128, frame_step=2)
    plain = json.loads(json.dumps(recipe.plain()))
    assert (plain.pop("format"), plain.pop("modality")) == (1, kind.modality)
    again = from_mapping(kind, plain, "test")
    assert (again.plain(), again.digest()) == (recipe.plain(), recipe.digest())


def test_whole_numbers_and_their_floats_are_one_recipe() -> None:
    """A Python caller writes 8, a recipe file gives 8.0; a checkpoint must find its recipe again either way."""
    assert FlowRecipe(bound=8).digest() == FlowRecipe(bound=8.0).digest()
    assert FlowRecipe(tvl1=TvL1Params(epsilon=1)).digest() == FlowRecipe(tvl1=TvL1Params(epsilon=1.0)).digest()
    assert json.dumps(FlowRecipe(bound=8).plain()["bound"]) == "8.0"


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(TvL1Params)])
def test_every_parameter_of_the_solver_is_in_the_digest(field: str) -> None:
    other = {
        "median_filtering": 3,
        "estimates": True,
        "level_warps": (2,),
        "level_epsilon": (0.5,),
        "scale_step": 0.6,
        "tau": 0.2,
        "lambda_": 0.2,
        "theta": 0.2,
        "epsilon": 0.2,
        "nscales": 3,
        "warps": 3,
        "inner_iterations": 3,
        "outer_iterations": 3,
    }
    changed = FlowRecipe(tvl1=dataclasses.replace(TvL1Params(), **{field: other[field]}))  # type: ignore[arg-type]
    assert changed.digest() != FlowRecipe().digest()


@pytest.mark.parametrize(
    ("resize", "idle"),
    [("fixed", {"short_side"}), ("short_side", {"width", "height"}), ("none", {"width", "height", "short_side"})],
)
def test_keys_without_effect_are_no_part_of_it(resize: str, idle: set[str]) -> None:
    plain = FrameRecipe(resize=resize).plain()  # type: ignore[arg-type]
    assert not idle & plain.keys()
    for name in {"width", "height", "short_side"}:
        other = FrameRecipe(resize=resize, **{name: 100})  # type: ignore[arg-type]
        assert (other.digest() == FrameRecipe(resize=resize).digest()) == (name in idle)  # type: ignore[arg-type]


def test_one_stream_is_never_taken_for_another() -> None:
    assert len({FrameRecipe().digest(), PoseRecipe().digest(), FlowRecipe().digest()}) == 3


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_told_by_name(name: str) -> None:
    assert preset_of(PRESETS[name]) == describe_tvl1(PRESETS[name]) == name


def test_what_is_near_a_preset_is_told_by_its_differences() -> None:
    params = dataclasses.replace(PRESETS["fast"], warps=4)
    assert preset_of(params) is None
    assert describe_tvl1(params) == "fast but warps = 4"
    text = describe_tvl1(TvL1Params(nscales=3, tau=0.2))
    assert text.startswith("classic but ")
    assert {"nscales = 3", "tau = 0.2"} == set(text.removeprefix("classic but ").split(", "))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"height": 15}, r"height must be at least 16 \(pixels\), got 15"),
        ({"short_side": 0}, "short_side must be at least 16"),
        ({"jpeg_quality": 101}, "jpeg_quality must lie between 1 and 100, got 101"),
        ({"jpeg_quality": 0}, "jpeg_quality must lie between 1 and 100, got 0"),
        ({"min_frames": 0}, "min_frames must be at least 1, got 0"),
        ({"resize": "stretch"}, "resize"),
        ({"on_decode_error": "ignore"}, "on_decode_error"),
    ],
)
def test_a_value_out_of_range_is_named(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        from_mapping(FrameRecipe, values, "recipe.toml")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"tau": 0}, "tvl1.tau must be positive, got 0"),
        ({"warps": 0}, "tvl1.warps must be at least 1, got 0"),
        ({"scale_step": 1.0}, "tvl1.scale_step must lie strictly between 0 and 1, got 1.0"),
        ({"median_filtering": 4}, r"tvl1.median_filtering must be 1, 3 or 5 \(pixels\), got 4"),
        ({"level_warps": (1, 0)}, "tvl1.level_warps must be at least 1"),
        ({"level_epsilon": (0.0,)}, "tvl1.level_epsilon positive"),
    ],
)
def test_a_parameter_of_the_solver_out_of_range_is_named(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TvL1Params(**values)  # type: ignore[arg-type]


def test_the_last_value_of_a_list_holds_for_all_coarser_levels() -> None:
    params = TvL1Params(warps=7, level_warps=(2, 3), level_epsilon=(0.5, 0.25))
    assert [params.warps_at(level) for level in range(4)] == [2, 3, 3, 3]
    assert [params.epsilon_at(level) for level in range(4)] == [0.5, 0.25, 0.25, 0.25]
    assert [TvL1Params(warps=7).warps_at(level) for level in (0, 4)] == [7, 7]


def test_poses_that_are_looked_for_name_backend_parameters_and_weights() -> None:
    with bright_backend():
        recipe = PoseRecipe(backend="bright", weights={"network": SHA256}, params={"spread": 1})
        plain = json.loads(json.dumps(recipe.plain()))
        assert plain["params"] == {"people": 1, "spread": 1.0, "fails_at": -1}
        assert plain["weights"] == {"network": SHA256}
        assert "source" not in plain
        del plain["format"], plain["modality"]
        assert from_mapping(PoseRecipe, plain, "test") == recipe
        same = PoseRecipe(backend="bright", weights={"network": SHA256}, params={"spread": 1.0, "people": 1})
        others = [
            dataclasses.replace(recipe, params={"spread": 2.0}),
            dataclasses.replace(recipe, weights={"network": "0" * 64}),
            dataclasses.replace(recipe, source="0123456789ab"),
            dataclasses.replace(recipe, look="cpu"),
            dataclasses.replace(recipe, background="frame"),
            dataclasses.replace(recipe, threshold=0.5),
            PoseRecipe(),
        ]
        assert recipe.digest() == same.digest()
        assert len({recipe.digest(), *(other.digest() for other in others)}) == len(others) + 1
        assert recipe.decoded == FrameRecipe(resize="none")
        assert (recipe.has_joints, recipe.from_video, others[2].from_video) == (True, True, False)
    drawn = PoseRecipe()
    assert drawn.decoded is drawn
    assert (drawn.has_joints, drawn.from_video, drawn.solving) == (False, False, None)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"backend": "brigth"}, r"no pose backend 'brigth'\. Did you mean bright\?"),
        ({"params": {"people": 1}}, "say nothing without a backend"),
        ({"backend": "bright", "params": {"peple": 1}}, "params of bright: unknown key 'peple'.*Did you mean 'people'"),
        ({"backend": "bright", "params": {"people": -1}}, "people must be at least 0, got -1"),
        ({"backend": "bright", "weights": {"netwrk": SHA256}}, "'netwrk'.*Did you mean network"),
        ({"backend": "bright", "weights": {"network": "pose.pth"}}, "weights.network: expected a SHA-256.*'pose.pth'"),
        ({"backend": "bright", "threshold": 1.5}, "threshold must lie between 0 and 1, got 1.5"),
        ({"backend": "bright", "square_pixels": True}, "Take resize = fixed"),
        ({"backend": "bright", "source": "0123", "frame_step": 2}, "say nothing of stored frames"),
    ],
)
def test_a_recipe_of_poses_that_cannot_be_is_refused(values: dict[str, object], said: str) -> None:
    with bright_backend(), pytest.raises(ConfigError, match=said):
        from_mapping(PoseRecipe, values, "test")
