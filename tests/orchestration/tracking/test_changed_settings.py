"""What a run that is gone on with says of itself: what it began with, what became of it, and since when."""

from kinebert.orchestration.tracking.changed_settings import LONGEST_TAG, NOTE, as_texts, present, settle

NOTE_OF_OURS = "resnet18 + bert on rgb, 4 images, {} epochs; 2 classes of /set"


def test_a_new_run_has_what_it_is_given_and_nothing_changed() -> None:
    found = settle({}, {}, {"epochs": "2"}, {"commit": "a"}, "")
    assert (found.params, found.tags, found.changed) == ({"epochs": "2"}, {"commit": "a"}, [])


def test_changes_of_parameters_and_tags_add_up() -> None:
    params, tags = {"epochs": "2", "seed": "0"}, {"commit": "a"}
    for epochs, commit, when in (("4", "b", "from epoch 3"), ("4", "b", "from epoch 4"), ("6", "b", "from epoch 5")):
        found = settle(params, tags, {"epochs": epochs, "seed": "0", "new": "1"}, {"commit": commit}, when)
        params, tags = params | found.params, tags | found.tags
    assert params == {"epochs": "2", "seed": "0", "new": "1"}
    assert tags == {
        "commit": "b",
        "changed.commit": "a -> b from epoch 3",
        "now.epochs": "6",
        "changed.epochs": "2 -> 4 from epoch 3; 4 -> 6 from epoch 5",
    }
    assert present(params, tags) == {"epochs": "6", "seed": "0", "new": "1"}


def test_a_value_that_comes_back_is_what_it_was() -> None:
    tags = {"now.epochs": "4", "changed.epochs": "2 -> 4 from epoch 3"}
    found = settle({"epochs": "2"}, tags, {"epochs": "2"}, {}, "from epoch 4")
    assert present({"epochs": "2"}, tags | found.tags) == {"epochs": "2"}
    assert found.changed == ["epochs: 4 -> 2"]


def test_a_note_is_ours_until_somebody_writes_another() -> None:
    ours = NOTE_OF_OURS.format(2)
    new = {NOTE: NOTE_OF_OURS.format(4)}
    assert settle({}, {NOTE: ours}, {}, new, "").tags == new
    for theirs in ("the good one", f"{ours}\n\nthe good one"):
        assert settle({}, {NOTE: theirs}, {}, new, "").tags == {}


def test_long_values_fit_into_tags() -> None:
    before, after = as_texts({"x": "a" * 9000}), as_texts({"x": "b" * 9000})
    found = settle(before, {}, after, {}, "from epoch 2")
    assert all(len(value) <= LONGEST_TAG for value in found.tags.values())


def test_what_a_run_does_not_tell_began_as_usual() -> None:
    usual, shown = {"seed": "0", "eval_batch": "16"}, {"epochs"}
    began = settle({}, {}, {"epochs": "2", "seed": "0", "eval_batch": "16"}, {}, "", shown, usual)
    assert (began.params, began.tags) == ({"epochs": "2"}, {})
    again = settle(began.params, {}, {"epochs": "2", "seed": "0", "eval_batch": "3"}, {}, "from epoch 2", shown, usual)
    assert again.params == {}
    assert again.tags == {"now.eval_batch": "3", "changed.eval_batch": "16 -> 3 from epoch 2"}
    assert present(began.params, again.tags) == {"epochs": "2", "eval_batch": "3"}


def test_a_run_of_an_earlier_version_that_tells_everything_goes_on_telling_what_changes() -> None:
    params = {"epochs": "2", "seed": "0", "eval_batch": "8"}
    found = settle(params, {}, {**params, "eval_batch": "16"}, {}, "from epoch 2", {"epochs"}, {"eval_batch": "16"})
    assert found.params == {}
    assert found.tags["changed.eval_batch"] == "8 -> 16 from epoch 2"
