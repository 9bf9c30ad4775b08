"""Draw the page of the pretrained models, as a digit is drawn on it, for docs/pretrained.md.

python docs/draw_web_page.py; it needs playwright and chromium.
"""

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from gon_jax.runs import pretrained
from gon_jax.runs.web_page import write_page

IMAGE = Path(__file__).parent / "images" / "web_page.png"
NAMES = ("gon-digits", "vgon-digits", "implicit-digits")
THREE = [
    (0.33, 0.25),
    (0.5, 0.16),
    (0.65, 0.28),
    (0.6, 0.42),
    (0.47, 0.48),
    (0.63, 0.58),
    (0.66, 0.73),
    (0.5, 0.84),
    (0.32, 0.76),
]


def main():
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as engine:
        path = Path(folder) / "page.html"
        write_page([pretrained(name) for name in NAMES], path)
        browser = engine.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1040, "height": 900})
        page.goto(path.as_uri())
        page.locator("#pad").scroll_into_view_if_needed()
        box = page.locator("#pad").bounding_box()
        assert box is not None
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in THREE]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=8)
        page.mouse.up()
        page.wait_for_timeout(1000)
        page.locator("#draw").screenshot(path=IMAGE)
        browser.close()
    print(IMAGE)


if __name__ == "__main__":
    main()
