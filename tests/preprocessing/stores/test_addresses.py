"""Parts of an address, and addresses with keys, which are refused before anything is written of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.stores.addresses import check_no_keys, root_and_path
from tests.helpers.paths import ROOT

WITH_KEYS = [
    "s3://AKIAEXAMPLE:Zm9vYmFy@bucket/set",
    "s3://AKIAEXAMPLE:Zm9v/YmFy@bucket/set?region=eu-west-1",
    "s3://AKIAEXAMPLE:Zm9v%2FYmFy@bucket",
    "s3://AKIAEXAMPLE:12/Zm9vYmFy@bucket/set",
    "s3://bucket/set?access_key=AKIAEXAMPLE&secret_key=Zm9vYmFy",
    "s3://bucket/set?region=eu-west-1&session_token=Zm9vYmFy",
    "s3://bucket/set?AWS_SECRET_ACCESS_KEY=Zm9vYmFy",
    "s3://bucket/set?X-Amz-Signature=Zm9vYmFy",
    "gs://me:Zm9vYmFy@bucket/set",
    "gs://bucket/set?access_token=Zm9vYmFy",
    "abfss://box@account/set?sas_token=Zm9vYmFy",
    "hdfs://me:Zm9vYmFy@host:8020/set",
]
WITHOUT = [
    "s3://bucket/set?endpoint_override=127.0.0.1:9000&scheme=http&region=us-east-1",
    "s3://bucket/a:b@c/d",
    "gs://anonymous@bucket/set",
    "abfss://box@account/set",
    "hdfs://host:8020/set",
    "hdfs://[::1]:8020/set",
    "mock:///set",
]


@pytest.mark.parametrize("uri", WITH_KEYS)
def test_an_address_with_a_key_is_refused_and_the_key_not_told(uri: str) -> None:
    for use in (check_no_keys, storage.resolve_uri, storage.open_filesystem):
        with pytest.raises(ConfigError, match=r"://.*holds a key.*Leave it out.*AWS_SHARED_CREDENTIALS_FILE") as error:
            use(uri)
        assert "Zm9v" not in str(error.value)
        assert "YmFy" not in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("uri", WITHOUT)
def test_others_pass(uri: str) -> None:
    check_no_keys(uri)
    assert storage.resolve_uri(uri) == uri


def test_a_program_says_it_in_one_line(tmp_path: Path) -> None:
    words = ["extract-frames", "--manifest", str(tmp_path / "m.parquet"), "--output", WITH_KEYS[1]]
    command = [sys.executable, "-m", "kinebert.pipelines.cli", *words]
    env = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "s3://***@bucket/set" in done.stderr
    assert "YmFy" not in done.stderr + done.stdout


def test_roots_and_paths() -> None:
    assert root_and_path("s3://b/a/x?region=r") == ("s3://b/?region=r", "b/a/x")
    assert root_and_path("s3://b/what?") == ("s3://b/", "b/what?")
    assert root_and_path("abfss://box@account/a") == ("abfss://box@account/", "box/a")
    assert root_and_path("gs://anonymous@b/a") == ("gs://anonymous@b/", "b/a")
    assert root_and_path("hdfs://host:8020/a/b") == ("hdfs://host:8020/", "/a/b")
