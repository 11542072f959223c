"""The page in a real headless Chromium: load, live update, prompt box, empty and error states.

``SCREENSHOTS_FOLDER`` names a folder for pictures of each state.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium (Debian: apt-get install chromium)"
)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as used:
        browser = used.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


class Visit:
    """A page, whatever it asked for, and what went wrong in it."""

    def __init__(self, browser, url: str, scheme: str = "light") -> None:
        self.page = browser.new_page(viewport={"width": 1200, "height": 1500}, color_scheme=scheme)
        self.asked: list[str] = []
        self.faults: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.goto(url)

    def picture(self, name: str) -> None:
        folder = os.environ.get("SCREENSHOTS_FOLDER")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.fixture
def visit(browser) -> Iterator[object]:
    visits: list[Visit] = []

    def one(url: str, scheme: str = "light") -> Visit:
        visits.append(Visit(browser, url, scheme))
        return visits[-1]

    yield one
    for each in visits:
        each.page.close()


def report_something(client: httpx.Client) -> None:
    """Four slots, twenty that wait, and two hundred finished requests."""
    rng = np.random.default_rng(0)

    def lengths(median: float) -> list[float]:
        edges = [
            0,
            *np.unique(np.rint(median * np.array([0.2, 0.5, 0.8, 1.0, 1.3, 2.0, 5.0])))
            .astype(int)
            .tolist(),
        ]
        return [*edges, *[1 / (len(edges) - 1)] * (len(edges) - 1)]

    requests = []
    for number in range(24):
        runs = number < 4
        requests.append({
            "id": f"request-{number}", "state": "running" if runs else "waiting",
            "slo_class": "unheard of" if number % 7 == 0 else ("chat", "code")[number % 2],
            "waited_ms": 3000 + 600 * number, "prompt_tokens": 200, "generated": 20 if runs else 0,
            "first_token_ms": 500 if runs else None, "lengths": lengths(float(rng.lognormal(5, 1))),
        })  # fmt: skip
    slow = {"step_ms": 37, "decode_ms": 0.65, "prompt_token_ms": 0.7, "context_token_ms": 3e-5}
    snapshot = {"name": "engine-0", "max_num_seqs": 4, "latency": slow, "requests": requests}
    other = {**snapshot, "name": "engine-1 <b>", "requests": []}
    client.post("/schedule", json={"instances": [snapshot, other]}).raise_for_status()
    rows = []
    for number in range(200):
        median = float(rng.lognormal(5, 0.8)) + 10
        e2e_ms = float(rng.lognormal(10, 0.5))
        rows.append({
            "slo_class": "chat" if number % 2 else "code", "at_unix_ms": 1.7e12 + 5e3 * number,
            "output_tokens": max(int(median * rng.lognormal(0, 0.5)), 1),
            "lengths": lengths(median),
            "ttft_ms": min(float(rng.lognormal(8, 0.8)), e2e_ms), "e2e_ms": e2e_ms,
        })  # fmt: skip
    client.post("/observations", json={"observations": rows}).raise_for_status()


def test_under_a_path_that_a_proxy_leaves_on(start, visit, predictor):
    sidecar = start(SLOTWISE_PREDICTOR=str(predictor), SLOTWISE_ROOT_PATH="/teams/slotwise")
    found = visit(f"{sidecar.url}/teams/slotwise")
    expect = playwright.expect
    expect(found.page.locator("#status")).to_contain_text("history")
    with sidecar.client() as client:
        report_something(client)
    expect(found.page.locator("#plan .barlayer path").first).to_be_visible(timeout=10_000)
    found.page.fill("#prompt", "Write a function that reverses a list.")
    found.page.click("#ask button")
    expect(found.page.locator("#forecast-said")).to_contain_text("About")
    under = (f"{sidecar.url}/teams/slotwise", "data:", "blob:")
    assert all(url.startswith(under) for url in found.asked), found.asked
    assert found.faults == []


def test_empty_then_live_then_a_prompt(start, visit, predictor):
    sidecar = start(SLOTWISE_PREDICTOR=str(predictor))
    found = visit(sidecar.url)
    page = found.page
    expect = playwright.expect
    expect(page.locator("#status")).to_contain_text("history")
    expect(page.locator("#plan-empty")).to_be_visible()
    expect(page.locator("#attainment-empty")).to_be_visible()
    expect(page.locator("#error")).to_be_hidden()
    found.picture("empty")

    with sidecar.client() as client:
        report_something(client)
    expect(page.locator("#plan .barlayer path").first).to_be_visible(timeout=10_000)
    expect(page.locator("#plan-empty")).to_be_hidden()
    expect(page.locator("#status")).to_contain_text("200 finished")
    page.select_option("#engine", "engine-0")
    expect(page.locator("#engine-said")).to_contain_text("wait under slotwise")
    for plot in ("attainment", "lengths", "calibration"):
        expect(page.locator(f"#{plot} .scatterlayer .points path").first).to_be_visible()
    assert "%" in page.inner_text("#calibration-said")
    page.click("#plan-details summary")
    expect(page.locator("#plan-rows tr")).to_have_count(24)

    page.fill("#prompt", "Write a function that reverses a list.")
    page.select_option("#slo-class", "code")
    page.click("#ask button")
    expect(page.locator("#forecast-said")).to_contain_text("About 250 tokens")
    expect(page.locator("#forecast .barlayer path").first).to_be_visible()
    page.click("#plan-details summary")
    found.picture("light")

    assert all(url.startswith((sidecar.url, "data:", "blob:")) for url in found.asked), found.asked
    assert found.faults == []

    dark = visit(sidecar.url, "dark")
    expect(dark.page.locator("#calibration .scatterlayer .points path").first).to_be_visible(
        timeout=10_000
    )
    colour = dark.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colour == "rgb(18, 22, 27)"
    text = dark.page.evaluate("getComputedStyle(document.querySelector('#plan .xtick text')).fill")
    assert text == "rgb(232, 236, 241)"
    dark.page.select_option("#engine", "engine-0")
    dark.picture("dark")
    assert dark.faults == []

    narrow = visit(sidecar.url)
    narrow.page.set_viewport_size({"width": 380, "height": 800})
    expect(narrow.page.locator("#plan .barlayer path").first).to_be_visible(timeout=10_000)
    width = narrow.page.evaluate("document.documentElement.scrollWidth")
    assert width <= 380
    narrow.picture("narrow")


def test_a_prompt_that_is_refused_and_a_sidecar_that_is_gone(start, visit):
    sidecar = start()
    found = visit(sidecar.url)
    page, expect = found.page, playwright.expect
    expect(page.locator("#status")).to_contain_text("nothing learned yet")
    page.fill("#prompt", "hi")
    page.fill("#max-tokens", "")
    page.click("#ask button")
    expect(page.locator("#forecast-said")).to_contain_text("no model answered")
    page.route("**/predict", lambda route: route.fulfill(
        status=422, json={"error": {"message": "prompt: too long"}}
    ))  # fmt: skip
    page.click("#ask button")
    expect(page.locator("#forecast-said")).to_contain_text("No forecast: prompt: too long")
    expect(page.locator("#forecast-figure")).to_be_hidden()
    sidecar.stop()
    expect(page.locator("#error")).to_contain_text("does not answer", timeout=10_000)
    found.picture("gone")
    assert found.faults == []


def test_the_token_is_asked_for(start, visit):
    sidecar = start(SLOTWISE_API_TOKEN="correct horse")
    found = visit(sidecar.url)
    page, expect = found.page, playwright.expect
    expect(page.locator("#door")).to_be_visible()
    page.fill("#token", "wrong wrong")
    page.press("#token", "Enter")
    expect(page.locator("#error")).to_contain_text("The token is wrong")
    found.picture("token")
    page.fill("#token", "correct horse")
    page.press("#token", "Enter")
    expect(page.locator("#door")).to_be_hidden()
    expect(page.locator("#error")).to_be_hidden()
    expect(page.locator("#status")).to_contain_text("nothing learned yet")


def test_by_keyboard_and_for_screen_readers(start, visit, predictor):
    sidecar = start(SLOTWISE_PREDICTOR=str(predictor))
    with sidecar.client() as client:
        report_something(client)
    page, expect = visit(sidecar.url).page, playwright.expect
    expect(page.locator("#plan .barlayer path").first).to_be_visible(timeout=10_000)
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert [
        name
        for name in ("pause", "engine", "prompt", "slo-class", "max-tokens")
        if name not in reached
    ] == []
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, textarea, select')]"
        ".filter(e => !e.labels.length).length"
    )
    assert unnamed == 0
    unnamed = page.evaluate(
        "[...document.querySelectorAll('[role=img], [role=region]')]"
        ".filter(e => !e.getAttribute('aria-label')).length"
    )
    assert unnamed == 0
    page.focus("#prompt")
    page.keyboard.type("hi")
    page.focus("#ask button")
    page.keyboard.press("Enter")
    expect(page.locator("#forecast-said")).to_contain_text("tokens")
    page.focus("#pause")
    page.keyboard.press("Space")
    expect(page.locator("#pause")).to_have_attribute("aria-pressed", "true")
    before = page.evaluate("document.body.dataset.updated")
    page.wait_for_timeout(2500)
    assert page.evaluate("document.body.dataset.updated") == before
