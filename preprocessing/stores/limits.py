"""Stores as pyarrow opens them, and for how long one is asked again that is throttled, ill or out of reach.

S3: each request up to :data:`TRIES` times, with pauses of 25 ms and then twice as long each time, 51 s in all; a
connection that says nothing for 3 s counts as broken. Google's: for :data:`SECONDS`. Others: as their libraries do.
"""

import functools

import pyarrow as pa
import pyarrow.fs as pafs

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.plain_text import without_passwords
from kinebert.preprocessing.stores.addresses import check_no_keys, split_query

TRIES = 12
SECONDS = 60


@functools.lru_cache(maxsize=64)
def opened(root: str) -> pafs.FileSystem:
    """Return the filesystem of a store, such as ``s3://bucket/?region=eu-west-1``.

    Raises:
        ConfigError: If the address holds a key.
        UserError: If pyarrow knows no such filesystem, or not an option of it.
    """
    check_no_keys(root)
    base, query = split_query(root)
    if base.startswith(("gs://", "gcs://")) and "retry_limit_seconds=" not in query:
        root = f"{base}?{query}{'&' * bool(query)}retry_limit_seconds={SECONDS}"
    try:
        found = pafs.FileSystem.from_uri(root)[0]
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{without_passwords(root)}: pyarrow cannot open this filesystem: {error}") from None
    return patient(found) if isinstance(found, pafs.S3FileSystem) else found


def pauses_s() -> list[float]:
    """Seconds to wait after each try but the last."""
    return [0.025 * 2**i for i in range(TRIES - 1)]


def patient(s3: pafs.S3FileSystem) -> pafs.S3FileSystem:
    """Return an S3 filesystem with these limits, which its address cannot say; else it is as it was.

    Small files are put by one request, which either comes to pass or not.
    """
    make, (options,) = s3.__reduce__()  # as it is sent to other processes
    retries = pafs.AwsDefaultS3RetryStrategy(max_attempts=TRIES - 1)
    made: pafs.S3FileSystem = make({**options, "allow_delayed_open": True, "retry_strategy": retries})
    return made
