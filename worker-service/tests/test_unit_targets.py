"""Which hosts and addresses may be called."""

import asyncio
import re
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path

import pytest

from src.config import SettingsError, load_http_secrets, load_settings
from src.handlers.errors import Permanent
from src.handlers.targets import NotFound, Target, find_target, is_public, look_up
from src.hosts import AllowedHost, parse_hosts

PUBLIC = ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"]
NOT_PUBLIC = [
    *("127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "0.0.0.1"),
    *("169.254.169.254", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1"),
    *("240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1"),
    *("fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "2001:db8::1"),
    *("fd00:ec2::254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1"),
    *("2002:7f00:1::", "2002:a00:1::1", "2001:0:7f00:1::", "100::1", "3fff::1"),
    *("168.63.129.16", "::ffff:168.63.129.16", "192.0.0.192"),
]


def target(url: str, allowed: str, *addresses: str) -> Target:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return addresses

    return asyncio.run(find_target(url, parse_hosts(allowed), resolve if addresses else look_up))


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_all_others_are_not_however_they_are_wrapped(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f000001/"),
        *("http://0177.0.0.1/", "http://0x7f.0.0.1/", "http://localhost/", "http://LOCALHOST./"),
        *("http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://0/"),
        *("http://169.254.169.254/latest/meta-data", "http://[64:ff9b::a9fe:a9fe]/"),
    ],
)
def test_spellings_of_private_addresses_are_refused(url: str) -> None:
    """As the system's own resolver reads them; what it cannot read leads nowhere either."""
    with pytest.raises((Permanent, NotFound)) as caught:
        target(url, "*")

    assert isinstance(caught.value, NotFound) or re.search("not public|be read", str(caught.value))


def test_a_name_that_is_public_and_private_is_refused() -> None:
    with pytest.raises(Permanent, match="not public"):
        target("http://both.example/", "*", "93.184.216.34", "127.0.0.1")


def test_the_error_names_no_address() -> None:
    with pytest.raises(Permanent) as caught:
        target("http://inside.example/", "*.example", "10.20.30.40")

    assert "10.20.30.40" not in str(caught.value)
    assert "HTTP_ALLOWED_HOSTS must name inside.example:80" in str(caught.value)


@pytest.mark.parametrize(
    ("allowed", "is_allowed"),
    [
        ("inside.example:8080", True),
        ("INSIDE.example:8080", True),
        ("inside.example", False),
        ("*.example:8080", False),
        ("*:8080", False),
        ("inside.example:8081", False),
    ],
)
def test_only_a_host_named_with_its_port_may_be_private(allowed: str, is_allowed: bool) -> None:
    try:
        found = target("http://inside.example:8080/", allowed, "10.0.0.1")
    except Permanent:
        assert not is_allowed
    else:
        assert is_allowed
        assert found.trusted


@pytest.mark.parametrize(
    ("allowed", "url", "is_allowed"),
    [
        ("a.example", "https://a.example/", True),
        ("a.example", "http://a.example:80/", True),
        ("a.example", "https://a.example:80/", True),
        ("a.example", "https://a.example:8443/", False),
        ("a.example", "https://a.example:0/", False),
        ("a.example", "https://b.a.example/", False),
        ("a.example", "https://a.example.evil.example/", False),
        ("a.example:8443", "https://a.example:8443/", True),
        ("a.example:8443", "https://a.example/", False),
        ("*.example", "https://deep.a.example/", True),
        ("*.example", "https://example/", False),
        ("*.example", "https://notexample/", False),
        ("*.example:22", "https://a.example:22/", True),
        ("*", "https://any.where/", True),
        ("*", "https://any.where:22/", False),
        ("b.example, a.example", "https://a.example/", True),
        ("a.example", "https://a.example./", True),
        ("a.example", "https://a.example@evil.example/", False),
        ("a.example", "https://evil.example#@a.example/", False),
        ("a.example", "https://evil.example\\@a.example/", False),
        ("xn--exmple-cua.com", "https://exämple.com/", True),
    ],
)
def test_hosts_are_allowed_as_they_are_named(allowed: str, url: str, is_allowed: bool) -> None:
    try:
        target(url, allowed, "93.184.216.34")
    except Permanent:
        assert not is_allowed
    else:
        assert is_allowed


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://user:secret@a.example/", "user or password"),
        ("https://user@a.example/", "user or password"),
        ("ftp://a.example/", "must be http"),
        ("file:///etc/passwd", "must be http"),
        ("gopher://a.example:6379/", "must be http"),
        ("https:///path", "must be http"),
        ("https://a.example:99999/", "HTTP_ALLOWED_HOSTS"),
        ("https://a.example:port/", "cannot be read"),
        ("https://[::1/", "cannot be read"),
        ("http://①②⑦.0.0.1/", "cannot be read"),
    ],
)
def test_what_is_no_plain_url_is_refused(url: str, words: str) -> None:
    with pytest.raises(Permanent, match=words) as caught:
        target(url, "*", "93.184.216.34")

    assert "secret" not in str(caught.value)


def test_a_name_that_does_not_exist_may_exist_later() -> None:
    with pytest.raises(NotFound, match=r"nothing\.invalid"):
        target("http://nothing.invalid/", "*")


# --- the settings ---------------------------------------------------------------------------------


def test_entries_are_read() -> None:
    assert parse_hosts("A.example, *.b.example:8080\nlocalhost:9000 [::1]:9000,*") == (
        AllowedHost("a.example"),
        AllowedHost("*.b.example", 8080),
        AllowedHost("localhost", 9000),
        AllowedHost("::1", 9000),
        AllowedHost("*"),
    )


@pytest.mark.parametrize(
    "value", ["http://a.example", "a.example/path", "a.*.example", "a.example:0", "a:99999", "u@h"]
)
def test_what_is_no_host_stops_the_worker(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HTTP_ALLOWED_HOSTS", f"good.example,{value}")

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert str(caught.value).startswith(f"HTTP_ALLOWED_HOSTS: {value!r} is not host")
    assert "; for example HTTP_ALLOWED_HOSTS=" in str(caught.value)


def test_secrets_come_from_variables_and_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "http_secret_shop").write_text("from-a-file\n")
    (tmp_path / "http_secret_both").write_text("from-a-file\n")
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("HTTP_SECRET_BOTH", "from-a-variable")

    assert load_http_secrets() == {"SHOP": "from-a-file", "BOTH": "from-a-variable"}


@pytest.mark.parametrize("load", [load_settings, load_http_secrets])
def test_a_folder_of_secrets_that_is_named_must_be_there(
    load: Callable[[], object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path / "mistyped"))

    with pytest.raises(SettingsError, match=r"SECRETS_DIR: .*mistyped is no folder"):
        load()


def test_a_secret_that_is_no_header_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_SECRET_SHOP", "secret\r\nHost: evil.example")

    with pytest.raises(SettingsError) as caught:
        load_http_secrets()

    assert "HTTP_SECRET_SHOP" in str(caught.value)
    assert "evil" not in str(caught.value)
