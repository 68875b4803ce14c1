"""See every built page in a real browser, at two widths and in both themes.

python docs/check_pages.py                          # pages of docs/_build/html
python docs/check_pages.py --screenshots pictures   # and keep pictures of them

Needs `pip install playwright` and an installed Chromium or Chrome (--browser PATH where it is not
found). Checked are: nothing is wider than the page, every picture loads and has a light background
in the dark theme, every player plays, nothing is asked of another host, nothing is logged as an
error. What looks wrong nevertheless is for people to see, in the screenshots.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

WIDTHS = (1280, 400)
THEMES = ("light", "dark")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

# What sticks out of the page, but for what scrolls within a box of its own.
_WIDER = """() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    const scrolls = element => {
        for (let e = element.parentElement; e; e = e.parentElement)
            if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(e).overflowX)
                && e !== document.body && e !== document.documentElement) return true;
        return false;
    };
    return [...document.querySelectorAll('body *')]
        .filter(e => e.getBoundingClientRect().right > width + 1 && !scrolls(e))
        .slice(0, 3).map(e => `${e.tagName.toLowerCase()}.${e.className}`);
}"""
_BROKEN_PICTURES = """async () => {
    const pictures = [...document.querySelectorAll('article img')];
    pictures.forEach(picture => { picture.loading = 'eager'; });
    await Promise.all(pictures.map(picture => picture.decode().catch(() => {})));
    return pictures.filter(picture => !picture.naturalWidth).map(picture => picture.src);
}"""
# A picture with a transparent background must get a light one in the dark theme.
_SEE_THROUGH = """() => [...document.querySelectorAll('article img')].filter(picture => {
    const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1});
    const context = canvas.getContext('2d');
    context.drawImage(picture, 0, 0, 1, 1);
    const [, , , alpha] = context.getImageData(0, 0, 1, 1).data;
    const background = getComputedStyle(picture).backgroundColor;
    const dark = /rgba\\(.*, 0\\)/.test(background);
    return alpha < 250 && dark;
}).map(picture => picture.src)"""
_SILENT_PLAYERS = """async () => {
    const failed = [];
    for (const [index, player] of [...document.querySelectorAll('audio')].entries()) {
        player.muted = true;
        try {
            await player.play();
            for (let tries = 0; tries < 60 && !(player.currentTime > 0); tries++)
                await new Promise(resolve => setTimeout(resolve, 50));
            if (!(player.duration > 0) || !(player.currentTime > 0))
                failed.push(`player ${index} does not play`);
        } catch (error) { failed.push(`player ${index}: ${error}`); }
        player.pause();
    }
    return failed;
}"""


def main() -> int:
    """Check the pages and print what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=Path, default=Path(__file__).parent / "_build" / "html")
    parser.add_argument("--screenshots", type=Path, help="folder for pictures of all pages")
    parser.add_argument("--browser", default=next(filter(None, map(shutil.which, BROWSERS)), None))
    parser.add_argument("--only", default="", help="pages whose path contains this")
    options = parser.parse_args()
    names = sorted(
        path.relative_to(options.pages).as_posix()
        for path in options.pages.rglob("*.html")
        if "_static" not in path.parts and options.only in path.as_posix()
    )
    if not names:
        print(f"There are no pages in {options.pages}; build them with make docs.")
        return 2
    if options.browser is None:
        print("No Chromium or Chrome is installed; name one with --browser.")
        return 2
    n_players, faults = _check(names, options)
    print("\n".join(faults))
    print(
        f"{len(names)} pages at {' and '.join(map(str, WIDTHS))} pixels, light and dark, "
        f"{n_players} players: {len(faults)} faults."
    )
    return 1 if faults else 0


def _check(names: list[str], options: argparse.Namespace) -> tuple[int, list[str]]:
    """The number of players, and all faults."""
    from playwright.sync_api import sync_playwright

    n_players, faults = 0, []
    with _served(options.pages) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=options.browser,
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
        )
        for theme in THEMES:
            for width in WIDTHS:
                viewport = {"width": width, "height": 900}
                context = browser.new_context(viewport=viewport, color_scheme=theme)
                page = context.new_page()
                heard = _listen(page, address)
                for name in names:
                    page.goto(f"{address}/{name}", wait_until="load")
                    found = _faults(page, theme)
                    if (width, theme) == (WIDTHS[0], THEMES[0]):  # sound is the same everywhere
                        n_players += page.locator("audio").count()
                        found += page.evaluate(_SILENT_PLAYERS)
                    faults += [f"{name} ({width}, {theme}): {fault}" for fault in found + heard]
                    heard.clear()
                    if options.screenshots:
                        path = options.screenshots / f"{width}-{theme}" / f"{name}.png"
                        path.parent.mkdir(parents=True, exist_ok=True)
                        page.screenshot(path=path, full_page=True)
                context.close()
        browser.close()
    return n_players, faults


def _listen(page: Any, address: str) -> list[str]:
    """A list that receives what the browser complains of, and what is asked of other hosts."""
    heard: list[str] = []

    def on_console(message: Any) -> None:
        if message.type == "error":
            heard.append(message.text)

    def on_request(request: Any) -> None:
        if not request.url.startswith((address, "data:", "blob:")):
            heard.append(f"asks for {request.url}")

    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("console", on_console)
    page.on("request", on_request)
    return heard


def _faults(page: Any, theme: str) -> list[str]:
    wider = page.evaluate(_WIDER)
    faults = [f"wider than the page: {', '.join(wider)}"] if wider else []
    faults += [f"no picture: {source}" for source in page.evaluate(_BROKEN_PICTURES)]
    if theme == "dark":
        faults += [f"see-through on dark: {source}" for source in page.evaluate(_SEE_THROUGH)]
    return faults


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """The address at which a folder is served on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


if __name__ == "__main__":
    sys.exit(main())
