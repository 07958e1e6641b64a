"""Files from the web: fetched once, whole, by https, and none but that of the digest."""

import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.fetching import downloads
from kinebert.preprocessing.fetching.downloads import address_of, fetched, is_download
from tests.helpers.https_server import Web, breaks_off, leads_to, web_server

BODY = bytes(range(256)) * 9000
DIGEST = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with web_server(tmp_path_factory.mktemp("web")) as web:
        yield web


@pytest.fixture
def web(server: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Web:
    """The server, trusted, with one file; the cache is empty, and nobody waits between attempts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "_PAUSES_S", (0.0, 0.0))
    server.files = {"/w.pth": [BODY]}
    server.asked.clear()
    return server


def kept(tmp_path: Path) -> list[str]:
    folder = tmp_path / "cache" / "kinebert" / "weights"
    return sorted(name for name in os.listdir(folder) if not name.endswith(".lock"))


def test_a_file_is_fetched_once_and_only_its_user_reads_it(web: Web, tmp_path: Path) -> None:
    said: list[str] = []
    path = fetched(f"{web.address}/w.pth", DIGEST.upper(), said.append)
    assert path.read_bytes() == BODY
    assert said == [f"fetching {web.address}/w.pth into {path.parent}"]
    assert fetched(f"{web.address}/w.pth", DIGEST, said.append) == path
    assert fetched("https://gone.invalid/w.pth", DIGEST) == path  # the same bytes, from wherever they come
    assert (web.asked, len(said)) == (["/w.pth"], 1)
    assert kept(tmp_path) == [DIGEST]
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_processes_that_ask_at_once_fetch_once(web: Web) -> None:
    with ThreadPoolExecutor(6) as pool:
        paths = set(pool.map(lambda _: fetched(f"{web.address}/w.pth", DIGEST), range(6)))
    assert [path.read_bytes() for path in paths] == [BODY]
    assert web.asked == ["/w.pth"]


def test_what_a_disk_has_lost_is_fetched_again(web: Web) -> None:
    path = fetched(f"{web.address}/w.pth", DIGEST)
    path.write_bytes(BODY[:-1])
    assert fetched(f"{web.address}/w.pth", DIGEST).read_bytes() == BODY
    assert len(web.asked) == 2


def test_what_a_killed_process_left_is_no_file(web: Web, tmp_path: Path) -> None:
    path = fetched(f"{web.address}/w.pth", DIGEST)
    path.rename(path.with_name(f".{DIGEST}.partial"))
    assert fetched(f"{web.address}/w.pth", DIGEST).read_bytes() == BODY
    assert kept(tmp_path) == [DIGEST]


@pytest.mark.parametrize("first", [503, 429, breaks_off(BODY), lambda request: request.connection.close()])
def test_what_breaks_off_is_tried_again_from_the_beginning(web: Web, first: object) -> None:
    web.files["/w.pth"] = [first, BODY]  # type: ignore[list-item]
    assert fetched(f"{web.address}/w.pth", DIGEST).read_bytes() == BODY
    assert len(web.asked) == 2


def refused(source: str, digest: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words) as error:
        fetched(source, digest)
    assert len(str(error.value).splitlines()) == 1
    if (tmp_path / "cache" / "kinebert" / "weights").exists():
        assert kept(tmp_path) == []


def test_other_bytes_are_not_kept(web: Web, tmp_path: Path) -> None:
    web.files["/w.pth"] = [BODY + b"!"]
    other = hashlib.sha256(BODY + b"!").hexdigest()
    refused(f"{web.address}/w.pth", DIGEST, f"what came is {other}, {DIGEST} was asked for", tmp_path)
    assert len(web.asked) == 1


def test_what_goes_on_failing_names_the_way_out(web: Web, tmp_path: Path) -> None:
    web.files["/w.pth"] = [breaks_off(BODY)]
    words = f"tried 3 times: .*broke off after {len(BODY) // 2} of {len(BODY)} bytes.*KINEBERT_WEIGHTS"
    refused(f"{web.address}/w.pth", DIGEST, words, tmp_path)
    assert len(web.asked) == 3
    refused("https://127.0.0.1:1/w.pth", DIGEST, "Connection refused.*Where there is no network", tmp_path)
    refused("https://nowhere.invalid/w.pth", DIGEST, "tried 3 times: .*Where there is no network", tmp_path)


def test_a_silent_server_is_given_up(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = threading.Event()

    def say_nothing(_: object) -> None:
        quiet.wait(5)

    monkeypatch.setattr(downloads, "_TIMEOUT_S", 0.2)
    monkeypatch.setattr(downloads, "_PAUSES_S", ())
    web.files["/w.pth"] = [say_nothing]
    refused(f"{web.address}/w.pth", DIGEST, "tried 1 times: .*timed out", tmp_path)
    quiet.set()


def test_what_is_not_there_is_asked_for_once(web: Web, tmp_path: Path) -> None:
    refused(f"{web.address}/lost.pth", DIGEST, "the server answers 404 Not Found. Check the address", tmp_path)
    assert web.asked == ["/lost.pth"]


def test_nothing_comes_without_https(web: Web, tmp_path: Path) -> None:
    for address in ("http://127.0.0.1/w.pth", "ftp://127.0.0.1/w.pth"):
        web.files["/w.pth"] = [leads_to(address)]
        refused(f"{web.address}/w.pth", DIGEST, f"leads to {address}, not by https", tmp_path)
    web.files["/w.pth"] = [leads_to("file:///etc/passwd")]
    refused(f"{web.address}/w.pth", DIGEST, "'file:///etc/passwd' is not allowed", tmp_path)
    web.files["/w.pth"] = [leads_to(f"{web.address}/there.pth")]
    web.files["/there.pth"] = [BODY]
    assert fetched(f"{web.address}/w.pth", DIGEST).read_bytes() == BODY


def test_a_stranger_is_not_trusted(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    refused(f"{web.address}/w.pth", DIGEST, "certificate of the server is not trusted.*SSL_CERT_FILE", tmp_path)
    assert web.asked == []


@pytest.mark.parametrize(
    ("source", "digest", "words"),
    [
        ("https://127.0.0.1/w.pth", "", "which bytes are meant.*model.weights_digest"),
        ("https://127.0.0.1/w.pth", DIGEST[:8], "has 64 hexadecimal digits, got"),
        ("https://127.0.0.1/w.pth", "g" * 64, "has 64 hexadecimal digits, got"),
        ("https:///w.pth", DIGEST, "no server is named"),
        ("https://127.0.0.1/a b", DIGEST, "no address"),
        ("hf://owner/repository", DIGEST, "expected hf://OWNER/REPOSITORY/FILE"),
        ("hf://owner/repository/w.pth", DIGEST, "HF_ENDPOINT=http://mirror: expected an https:// address"),
    ],
)
def test_what_is_unclear_is_asked_back(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, digest: str, words: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror")
    with pytest.raises(ConfigError, match=words):
        fetched(source, digest)
    assert web.asked == []


def test_files_of_the_hub(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert address_of("hf://a/b/c d.pth") == "https://huggingface.co/a/b/resolve/main/c%20d.pth"
    assert address_of("hf://a/b@1a2b3c/dir/w.pth") == "https://huggingface.co/a/b/resolve/1a2b3c/dir/w.pth"
    monkeypatch.setenv("HF_ENDPOINT", f"{web.address}/")
    web.files["/a/b/resolve/v1.0/dir/w.pth"] = [leads_to(f"{web.address}/w.pth")]
    assert fetched("hf://a/b@v1.0/dir/w.pth", DIGEST).read_bytes() == BODY
    assert web.asked == ["/a/b/resolve/v1.0/dir/w.pth", "/w.pth"]
    assert [is_download(one) for one in ("hf://a/b/c", "https://a/b", "http://a/b", "s3://a/b", "w.pth")] == [
        True,
        True,
        False,
        False,
        False,
    ]
