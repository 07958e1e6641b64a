"""Recipes as people write them: what is taken, and what each mistake is told."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.config import (
    differences,
    digest,
    flatten,
    load_config,
    nested,
    parse_toml,
    read_toml,
    to_toml,
)
from kinebert.preprocessing.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.5
    kind: Literal["a", "b"] = "a"

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ConfigError(f"inner.rate must be positive, got {self.rate}.")


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    count: Annotated[int, "noted"] = 3
    flag: bool = False
    limit: int | None = None
    scales: tuple[float, ...] = (1.0,)
    pair: tuple[float, float] = (0.9, 0.999)
    inner: Inner = field(default_factory=Inner)
    options: dict[str, Any] = field(default_factory=dict)


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_a_whole_recipe_is_read(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        'name = "x"\ncount = 4\nflag = true\nlimit = 7\nscales = [1, 0.5]\npair = [0, 1]\n'
        '[inner]\nrate = 2\nkind = "b"\n[options]\nheads = 4\n',
    )
    found = load_config(Outer, path)
    inner, pair = Inner(rate=2.0, kind="b"), (0.0, 1.0)
    assert found == Outer(
        name="x", count=4, flag=True, limit=7, scales=(1.0, 0.5), pair=pair, inner=inner, options={"heads": 4}
    )
    assert [type(value) for value in (found.inner.rate, found.scales[0], found.pair[0])] == [float] * 3
    assert load_config(Outer, write(tmp_path, 'name = "x"')) == Outer(name="x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("count = 4", "the key 'name' of Outer is required and is not there"),
        ('name = "x"\ncuont = 4', "unknown key 'cuont' in Outer. Did you mean 'count'?"),
        ('name = "x"\nzzz = 4', "unknown key 'zzz' in Outer. Known keys: count, flag, inner, limit, name, options,"),
        ('name = "x"\n[inner]\nraet = 4', "inner: unknown key 'raet' in Inner. Did you mean 'rate'?"),
        ('name = "x"\ncount = "four"', "count: expected int, got 'four'"),
        ('name = "x"\ncount = 4.0', "count: expected int, got 4.0"),
        ('name = "x"\ncount = true', "count: expected int, got True"),
        ('name = "x"\nflag = 1', "flag: expected bool, got 1"),
        ('name = "x"\nlimit = "many"', "limit: expected int or nothing, got 'many'"),
        ('name = "x"\nscales = [1, "half"]', r"scales[1]: expected float, got 'half'"),
        ('name = "x"\nscales = 0.5', "scales: expected tuple"),
        ('name = "x"\npair = [1]', "pair: expected 2 values, got 1"),
        ('name = "x"\ninner = 4', "inner: expected Inner, got 4"),
        ('name = "x"\ninner.kind = "c"', "inner: kind: 'c' is not one of 'a', 'b'"),
        ('name = "x"\ninner.rate = -1', "inner.rate must be positive, got -1.0"),
        ("name = x", "cannot be read as TOML"),
    ],
)
def test_each_mistake_is_named_with_its_file(text: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load_config(Outer, path)
    assert message in str(error.value)
    assert str(path) in str(error.value) or "inner.rate" in message  # what a class checks itself names its own key
    assert "\n" not in str(error.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent.toml: there is no such recipe file"):
        read_toml(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match=r"cannot be read as TOML: .*directory"):
        read_toml(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(ConfigError, match=r"cannot be read as TOML: .*utf-8"):
        read_toml(tmp_path / "latin.toml")


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("count=5", "count", 5),
        ("inner.rate=1e-3", "inner.rate", 0.001),
        ("inner.rate = 2", "inner.rate", 2),
        ("name=plain words", "name", "plain words"),
        ('name="quoted"', "name", "quoted"),
        ("name=/data/a=b", "name", "/data/a=b"),
        ("name=", "name", ""),
        ("flag=true", "flag", True),
        ("scales=[1, 0.5]", "scales", [1, 0.5]),
        ("options.new.deep=1", "options.new.deep", 1),
    ],
)
def test_overrides_are_toml_and_else_text(override: str, key: str, value: object, tmp_path: Path) -> None:
    values = read_toml(write(tmp_path, 'name = "x"\n[inner]\nkind = "b"\n'), [override])
    assert flatten(values)[key] == value
    assert values["inner"]["kind"] == "b"


def test_the_last_override_wins_and_is_checked_like_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, 'name = "x"')
    assert load_config(Outer, path, ["count=4", "count=5"]).count == 5
    with pytest.raises(ConfigError, match="unknown key 'cuont' in Outer. Did you mean 'count'"):
        load_config(Outer, path, ["cuont=5"])
    with pytest.raises(ConfigError, match=r"--set count: expected key=value, for example"):
        load_config(Outer, path, ["count"])
    with pytest.raises(ConfigError, match=r"--set name.sub=1: 'name' is a value, not a table"):
        load_config(Outer, path, ["name.sub=1"])


def test_absent_values_stand_in_for_required_keys_only() -> None:
    missing = object()
    found = from_mapping(Outer, {}, "here", absent={"name": missing, "count": missing})
    assert found.name is missing
    assert found.count == 3


def test_differences_name_keys_and_both_values() -> None:
    ours = {"bound": 20.0, "tvl1": {"tau": 0.25, "scales": 5}, "only": 1}
    theirs = {"bound": 20, "tvl1": {"tau": 0.1, "scales": 5}}
    assert differences(ours, theirs) == ["only: 1 != None", "tvl1.tau: 0.25 != 0.1"]
    assert differences(ours, ours) == []


def test_a_digest_is_of_values_not_of_their_order() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1, "b": [1, 2]}) != digest({"a": 1, "b": [2, 1]})
    assert digest(Inner()) == digest({"rate": 0.5, "kind": "a"})
    assert len({digest(Inner()), digest(Inner(rate=1.0)), digest(Inner(kind="b"))}) == 3


def test_toml_reads_back(tmp_path: Path) -> None:
    plain = {"a": 1, "b": [1.0, 0.5], "c": {"d": 'ü "quoted"', "e": True, "f": {"g": 1e-05}}, "none": None}
    path = tmp_path / "x.toml"
    path.write_text(to_toml(plain))
    assert read_toml(path) == {key: value for key, value in plain.items() if key != "none"}


@dataclass(frozen=True)
class _Solver:
    warps: int = 5


@dataclass(frozen=True)
class _Inner:
    bound: float = 20.0
    solver: _Solver = field(default_factory=_Solver)


@dataclass(frozen=True)
class _Outer:
    output: str = ""
    inner: _Inner = field(default_factory=_Inner)


@pytest.mark.parametrize(
    "values",
    [
        {"output": "o", "bound": 15.0, "warps": 2},
        {"output": "o", "inner": {"bound": 15.0, "warps": 2}},
        {"output": "o", "inner": {"bound": 15.0, "solver": {"warps": 2}}},
        {"output": "o", "warps": 2, "inner": {"bound": 15.0}},
    ],
)
def test_a_flat_recipe_does_as_well_as_a_nested_one(values: dict[str, Any]) -> None:
    assert from_mapping(_Outer, nested(_Outer, values), "x") == _Outer("o", _Inner(15.0, _Solver(2)))


def test_what_no_table_knows_is_still_unknown() -> None:
    with pytest.raises(ConfigError, match="unknown key 'bonud'"):
        from_mapping(_Outer, nested(_Outer, {"bonud": 1, "warps": 2}), "x")
    with pytest.raises(ConfigError, match="unknown key 'bonud' in _Inner. Did you mean 'bound'?"):
        from_mapping(_Outer, nested(_Outer, {"inner": {"bonud": 1}}), "x")


def test_a_folder_and_a_value_out_of_range_are_named_with_the_recipe(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"^\S*: cannot be read as TOML: this is a directory, a recipe file was expected\.$"
    ):
        read_toml(tmp_path)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("rate = 0\n")
    with pytest.raises(ConfigError, match=r"^\S*recipe\.toml: inner\.rate must be positive, got 0\.0\.$"):
        load_config(Inner, recipe)


def test_values_are_written_with_what_is_to_be_said_of_them() -> None:
    plain = {"a": 1, "none": None, "table": {"b": "x", "inner": {"c": [1]}}, "rows": [{"d": 2}, {"d": 3}]}
    text = to_toml(plain, about=lambda name: f"of {name}")
    assert parse_toml(text.encode(), "text") == parse_toml(to_toml(plain).encode(), "plain")
    said = [line.split("  # ") for line in text.splitlines() if "  # " in line]
    assert [(value.rstrip(), about) for value, about in said] == [
        ("a = 1", "of a"),
        ("# none is not given", "of none"),
        ('b = "x"', "of table.b"),
        ("c = [1]", "of table.inner.c"),
        ("d = 2", "of rows.d"),
        ("d = 3", "of rows.d"),
    ]
