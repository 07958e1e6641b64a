"""What stores' libraries say becomes one line with the file, their words and the way out."""

import pickle

import pytest

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.stores import limits
from kinebert.preprocessing.stores.answers import StorageError, StoreAwayError, answering, told

AWAY = {
    "When reading information for key 'a' in bucket 'b': AWS Error UNKNOWN (HTTP status 503) during HeadObject "
    "operation: No response body.": "HTTP status 503",
    "When uploading part: AWS Error SLOW_DOWN during UploadPart operation: Please reduce your request rate.": (
        "SLOW_DOWN: Please reduce your request rate"
    ),
    "AWS Error NETWORK_CONNECTION during GetObject operation: curlCode: 56, Failure when receiving": "Failure when rec",
    "google::cloud::Status(UNAVAILABLE: Retry policy exhausted)": "Retry policy exhausted",
}
REFUSED = {
    "When reading information for key 'a' in bucket 'b': AWS Error ACCESS_DENIED during HeadObject operation: "
    "No response body.": "ACCESS_DENIED",
    "AWS Error INVALID_ACCESS_KEY_ID during ListObjectsV2 operation: The key does not exist": "INVALID_ACCESS_KEY_ID",
}


@pytest.mark.parametrize(("said", "shown"), AWAY.items())
def test_a_store_that_is_away(said: str, shown: str) -> None:
    error = told("s3://b/a", OSError(said))
    assert isinstance(error, StoreAwayError)
    assert str(error).startswith("s3://b/a: the store does not answer as it should, asked 12 times in a minute: ")
    assert shown in str(error)
    assert str(error).endswith("give the same command again: what is done stays done.")


@pytest.mark.parametrize(("said", "shown"), REFUSED.items())
def test_a_store_that_refuses(said: str, shown: str) -> None:
    error = told("s3://b/a", OSError(said))
    assert not isinstance(error, StoreAwayError)
    assert str(error).startswith(f"s3://b/a: the store refuses: {shown}")
    assert "keys in the environment" in str(error)


def test_the_error_is_a_users_and_the_systems_and_travels() -> None:
    """So whoever suppresses either suppresses it, and a worker's reaches the driver."""
    error = told("s3://b/a", OSError("AWS Error SLOW_DOWN during PutObject operation: later"))
    assert isinstance(error, UserError)
    assert isinstance(error, OSError)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (StoreAwayError, str(error))


def test_what_is_not_there_is_said_as_ever() -> None:
    with pytest.raises(FileNotFoundError), answering("s3://b/a"):
        raise FileNotFoundError("a")
    with pytest.raises(StorageError, match="s3://b/a: the store refuses: odd"), answering("s3://b/a"):
        raise OSError("odd\n")
    with pytest.raises(StorageError, match="does not answer"), storage.explained("s3://b/a", "read it"):
        raise OSError("AWS Error SLOW_DOWN during PutObject operation: later")


def test_limits_reach_the_clients_and_other_options_stay() -> None:
    s3 = limits.opened("s3://bucket/?region=eu-west-1&endpoint_override=127.0.0.1:1&scheme=http")
    _, (options,) = s3.__reduce__()
    assert (options["region"], options["endpoint_override"], options["scheme"]) == ("eu-west-1", "127.0.0.1:1", "http")
    assert options["allow_delayed_open"]
    assert options["access_key"] is None, "keys are looked for in the environment each time, not kept"
    _, (options,) = limits.opened("gs://anonymous@bucket/").__reduce__()
    assert options["retry_time_limit"].total_seconds() == limits.SECONDS
    _, (options,) = limits.opened("gs://anonymous@bucket/?retry_limit_seconds=5").__reduce__()
    assert options["retry_time_limit"].total_seconds() == 5
