"""The dashboard's files: where they are, under which headers, and what their code must not hold."""

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from src.api.dashboard import FOLDER

FILES = sorted(path for path in FOLDER.rglob("*") if path.is_file())
CODE = [path for path in FILES if path.suffix in (".js", ".html")]
#: What makes markup or code out of text.
DANGEROUS = (
    r"(inner|outer)HTML|insertAdjacentHTML|document\.write|srcdoc|DOMParser|setHTML"
    r"|createContextualFragment|\beval\(|new Function|javascript:|\sstyle=|\son\w+=\""
)


def test_the_page_is_at_the_root_and_swagger_is_linked(client: TestClient) -> None:
    response = client.get("/")

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert 'href="docs"' in response.text
    assert client.get("/docs").status_code == 200


@pytest.mark.parametrize("path", ["/", "/static/js/app.js", "/static/css/base.css"])
def test_nothing_foreign_and_nothing_inline_is_allowed(client: TestClient, path: str) -> None:
    headers = client.get(path).headers

    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/", "/static/js/app.js"])
def test_a_file_is_asked_for_again_and_sent_only_when_it_changed(
    client: TestClient, path: str
) -> None:
    first = client.get(path)

    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["etag"]
    again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""


def test_every_file_is_served_with_its_type(client: TestClient) -> None:
    types = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

    for path in FILES:
        response = client.get(f"/static/{path.relative_to(FOLDER)}")
        assert response.status_code == 200
        assert response.headers["content-type"].startswith(types.get(path.suffix, "text/html"))


@pytest.mark.parametrize("path", ["nothing.js", "../main.py", "%2e%2e/main.py", "js", ""])
def test_what_is_no_file_of_it_is_a_problem(client: TestClient, path: str) -> None:
    response = client.get(f"/static/{path}")

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.name)
def test_its_code_makes_no_markup_out_of_text(path: Path) -> None:
    assert re.findall(DANGEROUS, path.read_text()) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_its_files_name_no_other_host(path: Path) -> None:
    text = path.read_text().replace("http://www.w3.org/2000/svg", "")

    assert re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text) == []
