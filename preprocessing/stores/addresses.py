"""Addresses of stores: parts of a URI such as ``s3://bucket/folder?region=eu-west-1``. None holds a key."""

import re

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.plain_text import without_passwords

_BUCKETS = ("s3", "gs", "gcs")
"""Schemes whose first part is no server but a bucket, which has no port."""
_PORT = re.compile(r"[^:]*:\d+|\[[^\]]*\](:\d+)?")


def split_query(text: str) -> tuple[str, str]:
    """Divide ``bucket/name?region=x`` into its parts; a question mark without an option after it belongs to a name."""
    name, mark, query = text.rpartition("?")
    return (name, query) if mark and "=" in query and "/" not in query.partition("=")[0] else (text, "")


def root_and_path(uri: str) -> tuple[str, str]:
    """Return the URI that pyarrow opens a filesystem by, and the path of ``uri`` in that."""
    scheme, _, rest = uri.partition("://")  # by hand: names may hold what has a meaning in a URL
    rest, query = split_query(rest)
    host, slash, path = rest.partition("/")
    root = f"{scheme}://{host}/" + (f"?{query}" if query else "")
    if scheme in _BUCKETS:  # the bucket is a part of the path, what stands before an @ is not
        return root, host.rpartition("@")[2] + slash + path
    if scheme in ("abfs", "abfss"):
        return root, host.partition("@")[0] + slash + path
    return root, slash + path


def check_no_keys(uri: str) -> None:
    """Refuse an address with a key or password: it stands in recipes, sets, logs and MLflow, for everybody to read.

    Raises:
        ConfigError: If it has one; the key is not told.
    """
    scheme, _, rest = uri.partition("://")
    authority, hidden = rest.partition("/")[0], without_passwords(uri)
    cut_off = ":" in authority and (scheme in _BUCKETS or not _PORT.fullmatch(authority))  # by a slash within the key
    if hidden == uri and not cut_off:
        return
    shown = hidden if hidden != uri else f"{scheme}://***"
    raise ConfigError(
        f"{shown}: this address of a store holds a key, which would stand in recipes, sets, logs and MLflow for all to "
        "read. Leave it out, and put it where the store's library looks for it, on every node: AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, or a file that AWS_SHARED_CREDENTIALS_FILE names (s3); GOOGLE_APPLICATION_CREDENTIALS "
        "(gs); AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET (abfs)."
    )
