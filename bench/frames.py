"""How smoothly the search page scrolls through a thousand pictures, beside the same bare pictures.

    python bench/frames.py [--pictures 1000] [--json FILE]

Both sides in one Chromium and one run: the page of a real server, browsed until all pictures stand
in it, and a page of nothing but the same thumbnails in a grid. Each is scrolled from top to bottom
and back by 24 px a frame, while the times between frames are noted. A screen of 60 Hz shows a frame
each 16.7 ms; a frame of more than 25 ms is one that a person did not see in its time. `main` is the
processor time of the page's main thread a frame, which other work on the machine does not change:
60 frames a second leave it 16.7 ms. Without a GPU, Chromium renders in software.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from pathlib import Path
from typing import Any

from playwright.sync_api import CDPSession, Page, sync_playwright

from whole_server import demo_server

_STEP_PX = 24
_LATE_MS = 25.0
_PATIENCE_MS = 120_000
_FLAGS = ("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking")

_SCROLL = """
async ([step, rounds]) => {
  const frame = () => new Promise(requestAnimationFrame);
  const gaps = [];
  const room = document.scrollingElement;
  let last = await frame();
  for (let round = 0; round < rounds; round++) {
    for (const direction of [1, -1]) {
      const end = () => direction > 0
        ? room.scrollTop + innerHeight >= room.scrollHeight - 1 : room.scrollTop <= 0;
      while (!end()) {
        window.scrollBy({ top: direction * step, behavior: "instant" });
        const now = await frame();
        gaps.push(now - last);
        last = now;
      }
    }
  }
  return gaps;
}
"""

_BARE = """
<!doctype html><style>
body {{ margin: 16px; display: grid; gap: 16px; grid-template-columns: repeat(5, 1fr) }}
img {{ width: 100%; height: 200px; object-fit: contain }}
</style>{images}
"""


def scroll(page: Page) -> dict[str, float]:
    """One way down and up, after one that has loaded everything."""
    page.evaluate(_SCROLL, [_STEP_PX * 4, 1])
    page.wait_for_load_state("networkidle", timeout=_PATIENCE_MS)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = _main_thread_seconds(session)
    frames = [float(gap) for gap in page.evaluate(_SCROLL, [_STEP_PX, 1])]
    main = _main_thread_seconds(session) - before
    return {**summary(frames), "main_ms": 1000 * main / len(frames)}


def _main_thread_seconds(session: CDPSession) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(m["value"] for m in metrics if m["name"] == "TaskDuration"))


def summary(frames: list[float]) -> dict[str, float]:
    ordered = sorted(frames)
    return {
        "frames": len(frames),
        "fps": 1000 * len(frames) / sum(frames),
        "p50_ms": statistics.median(frames),
        "p95_ms": ordered[int(0.95 * len(ordered))],
        "p99_ms": ordered[int(0.99 * len(ordered))],
        "late_percent": 100 * sum(gap > _LATE_MS for gap in frames) / len(frames),
    }


def browse_all(page: Page, url: str, pictures: int) -> None:
    """Opens the page and asks for more until all pictures stand in it."""
    page.set_default_timeout(_PATIENCE_MS)
    page.goto(url + "/")
    page.wait_for_selector(".card")
    cards = page.locator(".card")
    while (shown := cards.count()) < pictures:
        page.locator("button.more").click()
        page.wait_for_function("n => document.querySelectorAll('.card').length > n", arg=shown)
    page.evaluate("scrollTo(0, 0)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    options = parser.parse_args()
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("no Chromium on this machine: apt install chromium")

    results: dict[str, dict[str, float]] = {}
    with demo_server(options.pictures) as (served, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*_FLAGS])
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        browse_all(page, served.url, options.pictures)
        results["page"] = scroll(page)
        sources: list[Any] = page.eval_on_selector_all(".card img", "all => all.map(i => i.src)")
        broken = page.locator("img.broken").count()
        bare = browser.new_page(viewport={"width": 1280, "height": 860})
        bare.set_content(_BARE.format(images="".join(f'<img src="{s}">' for s in sources if s)))
        bare.wait_for_load_state("networkidle", timeout=_PATIENCE_MS)
        results["bare"] = scroll(bare)
        browser.close()

    print(f"{options.pictures} pictures, {len(sources)} thumbnails, {broken} broken")
    print(
        f"{'':6} {'frames':>7} {'fps':>6} {'p50':>7} {'p95':>7} {'p99':>7} {'late':>7} {'main':>7}"
    )
    for name, r in results.items():
        figures = (r["frames"], r["fps"], r["p50_ms"], r["p95_ms"], r["p99_ms"])
        told = "".join(f"{figure:8.1f}" for figure in figures)
        print(f"{name:6}{told}{r['late_percent']:7.1f}%{r['main_ms']:8.2f}")
    print(f"page / bare, frames a second: {results['page']['fps'] / results['bare']['fps']:.2f}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
