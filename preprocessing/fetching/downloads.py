"""Files from the web, known by the digests of their bytes: fetched once, kept in the user's cache, checked before use.

``https://`` addresses, and ``hf://OWNER/REPOSITORY[@REVISION]/FILE`` on the Hugging Face hub (or the mirror that
``HF_ENDPOINT`` names). Without the digest that says which bytes are meant, nothing is fetched.
"""

import fcntl
import hashlib
import http.client
import os
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.plain_text import without_passwords
from kinebert.preprocessing.private_folder import make_private, user_cache
from kinebert.preprocessing.storage import PARTIAL, explained, file_digest, open_regular

_SCHEMES = ("https://", "hf://")
_HUB = "https://huggingface.co"
_HUB_FILE = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([\w.-]+))?/([^@?#]+)")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TIMEOUT_S = 30.0
"""Longest silence of a server."""
_PAUSES_S = (1.0, 3.0, 10.0)
"""Seconds that are waited before it is tried again."""
_MOST_BYTES = 64 * 2**30
_BLOCK = 1 << 20
_FOLDER = "weights"
_LATER = {408, 425, 429, 500, 502, 503, 504}
"""Answers of servers that may be others in a while."""


def is_download(source: str) -> bool:
    """Whether a source is one that is fetched from the web."""
    return source.startswith(_SCHEMES)


def address_of(source: str) -> str:
    """Return the ``https://`` address of a source.

    Raises:
        ConfigError: If it is none, or no file of a hub's repository.
    """
    if source.startswith("https://"):
        if not urllib.parse.urlsplit(source).hostname:
            raise ConfigError(f"{source}: no server is named.")
        return source
    found = _HUB_FILE.fullmatch(source)
    if found is None:
        raise ConfigError(f"{source}: expected hf://OWNER/REPOSITORY/FILE, or hf://OWNER/REPOSITORY@REVISION/FILE.")
    repository, revision, file = found.groups()
    hub = (os.environ.get("HF_ENDPOINT") or _HUB).rstrip("/")
    if not hub.startswith("https://"):
        raise ConfigError(f"HF_ENDPOINT={hub}: expected an https:// address.")
    return f"{hub}/{repository}/resolve/{urllib.parse.quote(revision or 'main')}/{urllib.parse.quote(file)}"


def kept_before(digest: str) -> Path | None:
    """Return the path of a file that was fetched before and has the digest still; None if there is none."""
    path = user_cache() / _FOLDER / digest.lower()
    there = _DIGEST.fullmatch(digest.lower()) is not None and path.exists()
    return path if there and file_digest(str(path)) == digest.lower() else None


def fetched(source: str, digest: str, tell: Callable[[str], None] = lambda _: None) -> Path:
    """Return the path of a file from the web, which is fetched unless it lies in the cache already.

    Any number of processes may ask at once: one of them fetches. The file appears whole and checked, or not at all.

    Args:
        source: An ``https://`` or ``hf://`` address.
        digest: SHA-256 of the file, 64 hexadecimal digits.
        tell: Is told that it is being fetched.

    Raises:
        ConfigError: If the address or the digest is none, or no digest is given.
        UserError: If it cannot be fetched, or other bytes come.
    """
    shown = without_passwords(source)
    address, wanted = address_of(source), digest.lower()
    if not wanted:
        raise ConfigError(
            f"{shown}: which bytes are meant? Give the SHA-256 of this file, as its authors publish it or as sha256sum "
            "says of a copy that you trust: model.weights_digest in a recipe, --digest for a check."
        )
    if not _DIGEST.fullmatch(wanted):
        raise ConfigError(f"{shown}: its SHA-256 has 64 hexadecimal digits, got {digest!r}.")
    folder = user_cache() / _FOLDER
    if not make_private(folder):
        raise UserError(f"{folder}: cannot be used as a cache: it must be a folder of your own. Remove it.")
    path = folder / wanted
    with explained(str(path), "keep what is fetched"), _alone(folder / f".{wanted}.lock"):
        if path.exists():
            if file_digest(str(path)) == wanted:
                return path
            path.unlink()  # a disk has lost some of it
        tell(f"fetching {shown} into {folder}")
        _fetch(address, shown, wanted, path)
    return path


def _fetch(address: str, shown: str, wanted: str, path: Path) -> None:
    partial = path.with_name(f".{path.name}{PARTIAL}")  # one name: what a killed process leaves is written over
    try:
        with open(open_regular(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW), "r+b") as file:
            digest = _received(address, shown, file)
            file.flush()
            os.fsync(file.fileno())
        if digest != wanted:
            raise UserError(
                f"{shown}: the SHA-256 of what came is {digest}, {wanted} was asked for. Nothing of it is kept. Find "
                "out which of the two is right: the file was replaced, or somebody is in between."
            )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _received(address: str, shown: str, file: BinaryIO) -> str:
    """Write what a server sends and return its digest; what breaks off is tried again from the beginning."""
    for pause_s in (*_PAUSES_S, None):
        try:
            return _once(address, shown, file)
        except _BrokenError as error:
            if pause_s is None:
                raise UserError(
                    f"{shown}: cannot be fetched, tried {len(_PAUSES_S) + 1} times: {error}. Where there is no "
                    "network, get the file elsewhere, put it into the folder that KINEBERT_WEIGHTS names, and give its "
                    "name."
                ) from None
        time.sleep(pause_s)
    raise AssertionError("the last attempt returns or raises")


class _BrokenError(Exception):
    """A connection that may work later; says what was wrong with it."""


def _once(address: str, shown: str, file: BinaryIO) -> str:
    file.seek(0)
    file.truncate()
    state, num_bytes = hashlib.sha256(), 0
    opener = urllib.request.build_opener(_OnlyHttps)
    request = urllib.request.Request(address, headers={"User-Agent": "kinebert", "Accept-Encoding": "identity"})
    with _network(shown), opener.open(request, timeout=_TIMEOUT_S) as answer:
        length = answer.headers.get("Content-Length", "")
        while block := _next(answer):
            num_bytes += len(block)
            if num_bytes > _MOST_BYTES:
                raise UserError(f"{shown}: more than {_MOST_BYTES / 2**30:g} GiB came, which no file of weights has.")
            state.update(block)
            file.write(block)
        if length.isdecimal() and num_bytes != int(length):
            raise _BrokenError(f"it broke off after {num_bytes} of {length} bytes")
    return state.hexdigest()


def _next(answer: Any) -> bytes:
    try:
        block: bytes = answer.read(_BLOCK)
    except OSError as error:  # of the connection: what writing raises is the disk's
        raise _BrokenError(_words(error)) from None
    return block


@contextmanager
def _network(shown: str) -> Iterator[None]:
    """Tell what may work later from what will not, in words."""
    try:
        yield
    except urllib.error.HTTPError as error:
        told = f"the server answers {error.code} {error.reason}".rstrip()
        error.close()
        if error.code in _LATER:
            raise _BrokenError(told) from None
        raise UserError(f"{shown}: cannot be fetched: {told}. Check the address.") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise UserError(
                f"{shown}: cannot be fetched: the certificate of the server is not trusted: "
                f"{error.reason.verify_message}. Name the authority's file in SSL_CERT_FILE if it is your own."
            ) from None
        raise _BrokenError(_words(error.reason)) from None
    except (http.client.InvalidURL, UnicodeError) as error:
        raise ConfigError(f"{shown}: no address: {_words(error)}.") from None
    except (http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise _BrokenError(_words(error)) from None


def _words(error: object) -> str:
    text = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
    return text.rstrip(".")


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    """Follows a server to other servers, by https alone."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Return the next request."""
        if not newurl.startswith("https://"):
            raise UserError(f"{without_passwords(req.full_url)}: leads to {without_passwords(newurl)}, not by https.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process of this machine at a time into the block."""
    descriptor = open_regular(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
    try:
        with suppress(OSError):  # a filesystem without locks: each fetches for itself, and the last one counts
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
