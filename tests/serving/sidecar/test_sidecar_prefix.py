"""Behind a proxy under a path: addresses lead back through the proxy, and open paths stay open."""

import re
from urllib.parse import urljoin

import pytest
from fastapi.testclient import TestClient
from sidecars import settings_in
from starlette.applications import Starlette
from starlette.routing import Mount

from serving.sidecar.app import create_app

TOKEN = "correct horse"
PREFIX = "/teams/slotwise"


class Public:
    """The sidecar as a browser in front of the proxy sees it."""

    def __init__(self, client: TestClient, *, strips: bool, headers: dict[str, str]) -> None:
        self._client, self._strips, self._headers = client, strips, headers

    def get(self, path: str):
        assert f"{path}/".startswith(f"{PREFIX}/"), f"{path} leads around the proxy"
        inner = (path.removeprefix(PREFIX) or "/") if self._strips else path
        return self._client.get(inner, headers=self._headers, follow_redirects=False)


def strips(app):
    return Public(TestClient(app), strips=True, headers={})


def strips_and_says_so(app):
    return Public(TestClient(app), strips=True, headers={"x-forwarded-prefix": PREFIX})


def strips_and_the_server_knows(app):
    """As with uvicorn's ``--root-path``."""
    return Public(TestClient(app, root_path=PREFIX), strips=True, headers={})


def leaves_it_on_and_says_so(app):
    return Public(TestClient(app), strips=False, headers={"x-forwarded-prefix": f"{PREFIX}/"})


def leaves_it_on_and_the_server_knows(app):
    return Public(TestClient(app, root_path=f"{PREFIX}/"), strips=False, headers={})


def mounted(app):
    outer = Starlette(routes=[Mount(PREFIX, app)])
    return Public(TestClient(outer), strips=False, headers={})


@pytest.fixture(
    params=[
        strips, strips_and_says_so, strips_and_the_server_knows, leaves_it_on_and_says_so,
        leaves_it_on_and_the_server_knows, mounted,
    ],
    ids=lambda proxy: proxy.__name__,
)  # fmt: skip
def public(request, tmp_path):
    app = create_app(settings_in(tmp_path, api_token=TOKEN))
    with TestClient(app):
        yield request.param(app)


@pytest.fixture
def configured(tmp_path):
    """With the sidecar's own setting, and a proxy that leaves the prefix on."""
    app = create_app(settings_in(tmp_path, api_token=TOKEN, root_path=PREFIX))
    with TestClient(app) as client:
        yield Public(client, strips=False, headers={})


def loads_all_its_parts(public, address):
    """Follow what a browser asks for on its own."""
    page = public.get(address)
    assert page.status_code == 200
    base = re.search(r'<base href="([^"]+)">', page.text)
    if base is not None:
        address = urljoin(address, base[1])
    parts = re.findall(r'(?:href|src)="([^":]+)"', page.text.replace(base[0] if base else "", ""))
    assert {part.rpartition("/")[2] for part in parts} >= {"page.css", "page.js", "plotly.js"}
    for part in parts:
        if not part.startswith("#"):
            assert public.get(urljoin(address, part)).status_code == 200
    script = public.get(urljoin(address, "assets/page.js")).text
    asked = re.findall(r'ask\("([^"]+)"', script)
    assert set(asked) == {"live", "predict"}
    for part in asked:
        assert public.get(urljoin(address, part)).status_code in (401, 405)


def test_the_page_loads_its_parts_and_data_through_the_proxy(public):
    loads_all_its_parts(public, f"{PREFIX}/")


def test_what_needs_no_token_needs_none(public):
    for path in ("/", "/healthz", "/assets/page.css"):
        assert public.get(PREFIX + path).status_code == 200, path
    assert public.get(f"{PREFIX}/readyz").status_code == 503  # no model: the token is not asked
    for path in ("/status", "/metrics", "/live", "/openapi.json", "/healthz/x", "/assets"):
        assert public.get(PREFIX + path).status_code == 401, path


def test_the_setting(configured):
    loads_all_its_parts(configured, f"{PREFIX}/")
    assert configured.get(f"{PREFIX}/healthz").status_code == 200
    assert configured.get(f"{PREFIX}/status").status_code == 401


@pytest.mark.parametrize("proxy", [leaves_it_on_and_says_so, leaves_it_on_and_the_server_knows])
def test_without_its_last_slash_the_page_leads_to_itself(proxy, tmp_path):
    app = create_app(settings_in(tmp_path, api_token=TOKEN))
    with TestClient(app):
        public = proxy(app)
        moved = public.get(PREFIX)
        assert moved.status_code == 307
        loads_all_its_parts(public, urljoin(PREFIX, moved.headers["location"]))


def test_a_proxy_that_took_the_last_slash_as_well(tmp_path):
    app = create_app(settings_in(tmp_path, api_token=TOKEN))
    with TestClient(app):
        loads_all_its_parts(strips_and_says_so(app), PREFIX)


@pytest.mark.parametrize(
    "prefix",
    ["//elsewhere.example", "/a//b", 'x"><script>', "/a b", "status", "/%2e", "/status", "/" * 99],
)
@pytest.mark.parametrize("path", ["/status", "/x/status", "/status/"])
def test_no_prefix_opens_what_is_closed_or_leads_elsewhere(tmp_path, prefix, path):
    with TestClient(create_app(settings_in(tmp_path, api_token=TOKEN))) as used:
        headers = {"x-forwarded-prefix": prefix}
        answer = used.get(path, headers=headers, follow_redirects=False)
        assert answer.status_code in (401, 307) or "<title>Slotwise" in answer.text
        page = used.get("/", headers=headers).text
        assert "elsewhere" not in page
        assert "<script>" not in page
