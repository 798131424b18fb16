"""The files of the playground: headers, what they may load, who may read them, and the switch that turns it off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

import serving.rest.playground as playground
from tests.serving.conftest import Behind, Running

STATIC = Path(playground.__file__).parent / "static"
FILES = sorted(path.name for path in STATIC.iterdir() if path.name != "index.html")
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Page(HTMLParser):
    """The attributes of all elements of a page, and its text in elements that must have none."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style") and data.strip():
            self.inline.append(data)


@pytest.fixture(scope="module", params=[Running, Behind], ids=["in process", "behind gRPC"])
def module_server(request: pytest.FixtureRequest) -> Iterator[Running]:
    running = request.param()
    yield running
    running.stop()


@pytest.fixture
def http(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.rest, trust_env=False) as client:
        yield client


@pytest.fixture
def page(http: httpx.Client) -> Page:
    return Page(http.get("/").text)


def policy(reply: httpx.Response) -> dict[str, list[str]]:
    directives = (directive.split() for directive in reply.headers["content-security-policy"].split(";"))
    return {name: values for name, *values in directives}


@pytest.mark.parametrize("path", ["/", *(f"/playground/{name}" for name in FILES)])
def test_headers_keep_everything_foreign_out(http: httpx.Client, path: str) -> None:
    reply = http.get(path)
    assert reply.status_code == 200
    assert policy(reply) == {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "connect-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert reply.headers["content-type"] == f"{TYPES.get(Path(path).suffix, 'text/html')}; charset=utf-8"


def test_the_page_has_no_inline_script_style_or_handler(page: Page) -> None:
    assert page.inline == []
    attributes = {name for _, attrs in page.elements for name in attrs}
    assert not {name for name in attributes if name.startswith("on") or name == "style"}


def test_all_that_is_loaded_is_served_and_all_files_are_used(http: httpx.Client, page: Page) -> None:
    todo = {urljoin("/", attrs[key] or "") for _, attrs in page.elements for key in ("src", "href") if key in attrs}
    loaded: set[str] = set()
    while todo:
        url = todo.pop()
        loaded.add(url)
        reply = http.get(url)
        assert reply.status_code == 200, url
        if url.endswith(".js"):
            imports = re.findall(r'^(?:import|export) .*?from "(\./[^"]+)";$', reply.text, re.MULTILINE | re.DOTALL)
            todo |= {urljoin(url, name) for name in imports} - loaded
    assert loaded == {f"/playground/{name}" for name in FILES}


@pytest.mark.parametrize("path", sorted(STATIC.glob("*.js")), ids=lambda path: path.name)
def test_scripts_never_read_text_as_markup_or_code(path: Path) -> None:
    source = path.read_text("utf-8")
    for name in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "DOMParser",
    ):
        assert name not in source
    assert len(source.splitlines()) <= 300


@pytest.mark.parametrize("path", sorted(STATIC.iterdir()), ids=lambda path: path.name)
def test_files_name_no_other_host(path: Path) -> None:
    text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"(?:https?:)?//[a-z0-9]+\.", text)


def test_browsers_get_a_file_again_only_if_it_has_changed(http: httpx.Client) -> None:
    first = http.get("/playground/main.js")
    assert first.headers["cache-control"] == "no-cache"
    again = http.get("/playground/main.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert http.get("/playground/main.js", headers={"if-none-match": '"other"'}).content == first.content


@pytest.mark.parametrize("path", ["/playground", "/playground/", "/playground/none.js", "/playground/../app.py"])
def test_other_paths_are_unknown(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code == 404


def test_pages_are_only_read(http: httpx.Client) -> None:
    assert http.head("/").status_code == 200
    assert http.post("/").status_code == 405


def test_keys_guard_the_api_and_not_the_page(run, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("secret\n")
    server = run(api_keys=str(tmp_path / "keys"))
    with httpx.Client(base_url=server.rest, trust_env=False) as client:
        for path in ("/", *(f"/playground/{name}" for name in FILES)):
            assert client.get(path).status_code == 200
        for path in ("/v1/models", "/v1/capabilities", "/playground/none.js", "/playground", "/playground/main.js/"):
            assert client.get(path).status_code == 401
        assert client.get("/v1/models", headers={"authorization": "Bearer secret"}).status_code == 200


@pytest.mark.parametrize("kind", [Running, Behind])
def test_it_can_be_switched_off(run, kind: type[Running]) -> None:
    settings = {"front": {"playground": False}} if kind is Behind else {"playground": False}
    server = run(kind=kind, **settings)
    with httpx.Client(base_url=server.rest, trust_env=False) as client:
        for path in ("/", "/playground/main.js"):
            reply = client.get(path)
            assert reply.status_code == 404 and reply.json()["error"]["message"].startswith("Unknown path")
        assert client.get("/v1/models").status_code == 200
