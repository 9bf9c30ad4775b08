"""The page of `gon export --format html`, in a real browser: its numbers, and what hands do to it."""

import base64
import json
import re
import shutil

import jax
import numpy as np
import pytest

from gon_jax.coordinates import grid
from gon_jax.data import resize
from gon_jax.inference import decode_at, decode_latents, encode_dataset
from gon_jax.latents import slerp
from gon_jax.runs import PRETRAINED, pretrained
from gon_jax.runs.web_page import write_page

playwright = pytest.importorskip("playwright.sync_api", reason="expected playwright: pip install 'gon_jax[test]'")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
RNG = np.random.default_rng(0)
GON, IMPLICIT, VGON = range(3)  # the order of PRETRAINED
in_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome on the path")
pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    size = write_page([pretrained(name) for name in PRETRAINED], path)
    assert path.stat().st_size == size < 1_000_000
    return path


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, path):
    """Return a function that opens the page; there are neither errors nor requests, to the end of the test."""
    pages, wrong = [], []

    def open_page(**options):
        page = browser.new_page(**options)
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: None if request.url == path.as_uri() else wrong.append(request.url))
        page.goto(path.as_uri())
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert [text for text in wrong if not text.startswith("data:")] == []


def numbers(page, expression, *arguments):
    return np.array(
        page.evaluate(
            f"([{', '.join('abcd'[: len(arguments)])}]) => [...{expression}]", [a.tolist() for a in arguments]
        )
    )


def close(page_values, values):
    np.testing.assert_allclose(page_values, np.asarray(values).reshape(-1), atol=1e-4, rtol=0)


def test_the_page_holds_the_weights_and_asks_for_nothing(path):
    text = path.read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, flags=re.S)[1])
    packed = np.frombuffer(base64.b64decode(re.search(r'id="weights">(.*?)</script>', text)[1]), np.uint8)
    words = np.zeros([len(packed) // 3, 4], np.uint8)
    words[:, 1:] = packed.reshape(-1, 3)
    floats = words.view(np.float32)[:, 0]
    for name, model in zip(PRETRAINED, data["models"], strict=True):
        encoder = pretrained(name).encoder
        start, length = model["encoder"][1][1]["kernel"]
        np.testing.assert_allclose(floats[start : start + length], np.asarray(encoder.matrix).reshape(-1), rtol=2**-16)
        assert model["data_shape"] == list(pretrained(name).model.data_shape) and model["labels"] == list("0123456789")
    assert "default-src 'none'" in text and not re.search(r"https?://|import\(|fetch\(|XMLHttp", text)


@pytest.mark.slow
@in_browser
def test_numbers_are_the_librarys(open_page):
    page = open_page()
    for i, name in enumerate(PRETRAINED):
        run = pretrained(name)
        x = run.dataset().test.images[7]
        z = encode_dataset(run.model, run.variables, x[None], encoder=run.encoder)
        close(numbers(page, f"models[{i}].encode(a)", x.reshape(-1) / 255), z)
        z = RNG.normal(size=z.shape).astype(np.float32)
        close(numbers(page, f"models[{i}].decode(a)", z[0]), decode_latents(run.model, run.variables, z))
        assert page.evaluate(f"models[{i}].draw_enters") == (1 if i == VGON else None)
        if i == IMPLICIT:
            points = RNG.uniform(-1.5, 1.5, (9, 2)).astype(np.float32)
            close(
                numbers(page, f"models[{i}].at(a, b)", z[0], points.reshape(-1)),
                decode_at(run.model, run.variables, z, points),
            )
        if i == VGON:
            sampled = run.model.capabilities.sample(run.variables, jax.random.key(3), 1)
            close(
                numbers(
                    page, f"models[{i}].decodeDraw(a)", np.asarray(jax.random.normal(jax.random.key(3), (1, 16)))[0]
                ),
                sampled,
            )
    a, b = RNG.normal(size=(2, 16)).astype(np.float32)
    close(numbers(page, "slerp(a, b, 0.3)", a, b), slerp(a, b, 0.3))
    small = RNG.integers(0, 256, (1, 8, 8, 1)).astype(np.uint8)
    assert (numbers(page, "enlarge(a, 8, 32)", small.reshape(-1)) == resize(small, 32).reshape(-1)).all()
    close(numbers(page, "gridPoints(3, 4)"), grid(3, 4))


def point_in(page, name, x, y):
    page.locator(f"#{name}").scroll_into_view_if_needed()
    box = page.locator(f"#{name}").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def drag(page, name, points):
    page.mouse.move(*point_in(page, name, *points[0]))
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point_in(page, name, *point), steps=4)
    page.mouse.up()
    page.wait_for_timeout(200)


@pytest.mark.slow
@in_browser
def test_draw_drag_morph_sample_and_zoom(open_page):
    page = open_page(viewport={"width": 1280, "height": 900})
    links = page.locator("nav a").all_inner_texts()
    assert links == ["Draw", "Explore", "Morph", "Sample", "Zoom"]

    drag(page, "pad", [(0.35, 0.2), (0.65, 0.2), (0.5, 0.8)])  # a seven
    assert page.evaluate("drawing.example") == -1 and page.evaluate("drawing.strokes.length") == 1
    for i, name in enumerate(PRETRAINED):
        run = pretrained(name)
        x = numbers(page, f"drawing.x.get(models[{i}])")
        x = x.reshape(1, *run.model.data_shape).astype(np.float32)
        assert 0.05 < x.mean() < 0.6 and x.max() > 0.9
        z = encode_dataset(run.model, run.variables, x, encoder=run.encoder)
        close(numbers(page, f"drawing.z.get(models[{i}])"), z)
        error = np.sqrt(np.square(x - decode_latents(run.model, run.variables, z)).mean())
        assert page.locator("#results .number").nth(i).inner_text() == f"RMS error per pixel {error:.3f}"

    gon = pretrained("gon-digits")
    drag(page, "plane", [(0.5, 0.5), (0.8, 0.3)])
    u, v = page.evaluate("map.at")
    assert u > 0 and v > 0 and page.locator("#where").inner_text() == f"{u:.2f}, {v:.2f}"
    z = numbers(page, "latentAt(map.at)")[None].astype(np.float32)
    np.testing.assert_allclose(numbers(page, "mapOf(models[0], latentAt(map.at))"), [u, v], atol=1e-5)
    shown = numbers(page, "document.getElementById('there').getContext('2d').getImageData(0, 0, 32, 32).data")[::4]
    paper, ink = page.evaluate("[colors.paper[0], colors.ink[0]]")
    decoded = decode_latents(gon.model, gon.variables, z).reshape(-1)
    assert np.abs(shown - (paper + (ink - paper) * decoded)).max() < 1
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(100)
    assert page.evaluate("map.at[0]") > u

    page.locator("#to button").last.click()  # the drawing
    page.locator("#mix").focus()
    page.keyboard.press("End")
    page.wait_for_timeout(100)
    close(numbers(page, "morph.z"), numbers(page, "drawing.z.get(models[0])"))

    before = numbers(page, "samples.draws[0]")
    page.locator("#again").click()
    assert (numbers(page, "samples.draws[0]") != before).any()

    implicit = pretrained("implicit-digits")
    page.mouse.move(*point_in(page, "function", 0.75, 0.5))
    fixed = page.evaluate("view.center[1] + view.half * 0.5")
    for _ in range(20):
        page.mouse.wheel(0, -600)
    page.wait_for_timeout(300)
    assert page.evaluate("view.half") < 1e-8
    assert page.evaluate("view.center[1] + view.half * 0.5") == pytest.approx(fixed, abs=0.01)
    page.locator("#zoom-reset").click()
    drag(page, "function", [(0.5, 0.5), (0.6, 0.5)])
    center, half = page.evaluate("[view.center[1], view.half]")
    assert half == 1.15 and center == pytest.approx(-0.2 * half, rel=0.05)
    points = numbers(page, "windowPoints(5)").reshape(25, 2).astype(np.float32)
    z = numbers(page, "view.z")[None].astype(np.float32)
    close(
        numbers(page, "view.model.at(view.z, windowPoints(5))"),
        decode_at(implicit.model, implicit.variables, z, points),
    )
    for _ in range(100):  # refined, in the end
        if page.evaluate("view.done") == 256:
            break
        page.wait_for_timeout(200)
    assert page.evaluate("view.done") == 256


@pytest.mark.slow
@in_browser
def test_on_a_telephone(open_page):
    page = open_page(viewport={"width": 360, "height": 700}, has_touch=True, is_mobile=True, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    touch = page.context.new_cdp_session(page)

    def fingers(kind, *points):
        touch.send(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]},
        )

    fingers("touchStart", point_in(page, "pad", 0.5, 0.2))
    for y in (0.4, 0.6, 0.8):
        fingers("touchMove", point_in(page, "pad", 0.5, y))
    fingers("touchEnd")
    page.wait_for_timeout(200)
    assert page.evaluate("drawing.strokes.length") == 1 and page.evaluate("drawing.strokes[0].length") >= 4
    half = page.evaluate("view.half")
    fingers("touchStart", point_in(page, "function", 0.4, 0.5), point_in(page, "function", 0.6, 0.5))
    for reach in (0.2, 0.3, 0.4):
        fingers("touchMove", point_in(page, "function", 0.5 - reach, 0.5), point_in(page, "function", 0.5 + reach, 0.5))
    fingers("touchEnd")
    page.wait_for_timeout(300)
    assert page.evaluate("view.half") == pytest.approx(half / 4, rel=0.05)
    assert max(abs(c) for c in page.evaluate("view.center")) < 0.1


def test_what_a_page_is_not_made_of(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="expected at least one run, got none"):
        write_page([], tmp_path / "a.html")
    with pytest.raises(TypeError, match="expected runs"):
        write_page(["runs/gon"], tmp_path / "a.html")
    run = pretrained("gon-digits")
    with pytest.raises(ValueError, match="gray or color images"):
        write_page(run._replace(config=run.config.replace(kind="table")), tmp_path / "a.html")
    assert not list(tmp_path.iterdir())
