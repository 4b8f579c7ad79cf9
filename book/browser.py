"""What a browser shows of a built site: `python -m book.browser build/book`, with Chromium.

One start of the browser opens every page from disk, at the width of a screen and of a phone, and asks each: is anything
wider than the page, and not in a box that scrolls? Is a formula not understood? Is a figure missing, does the search
find something? The browser's own log says whether anything was asked of the network.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any, Final

WIDTHS: Final = (1200, 390)
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS: Final = (
    "--headless",
    "--no-sandbox",  # which root may not use in a container; the pages are our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-file-access-from-files",  # the inspector may look into the pages beside it
)

_INSPECTOR: Final = """\
<!doctype html>
<title>inspector</title>
<body style="margin: 0">
<script>
const pages = PAGES;
const widths = WIDTHS;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// Whether an element, or one around it, cuts it off or lets it scroll within the page.
function contained(element, page) {
  for (let box = element.parentElement; box && box !== page.body; box = box.parentElement) {
    const overflow = page.defaultView.getComputedStyle(box).overflowX;
    if (overflow === "auto" || overflow === "scroll") return true;
  }
  return false;
}

function faults(page, width) {
  const found = [];
  if (page.documentElement.scrollWidth > width) found.push("the page is " + page.documentElement.scrollWidth + " wide");
  const article = page.querySelector("article") ?? page.body;
  for (const element of article.querySelectorAll("mjx-container, img, table, pre, p, h1, h2, h3, li, dt")) {
    const box = element.getBoundingClientRect();
    if (box.width && box.right > width + 1 && !contained(element, page))
      found.push(element.tagName.toLowerCase() + " ends at " + Math.round(box.right) + ": " +
                 (element.textContent || element.getAttribute("src")).trim().slice(0, 60));
  }
  for (const formula of article.querySelectorAll("mjx-merror, [data-mml-node=merror]"))
    found.push("a formula is not understood: " + (formula.getAttribute("data-mjx-error") ?? formula.textContent));
  const waiting = article.querySelectorAll(".math").length;
  if (waiting && !article.querySelector("mjx-container")) found.push(waiting + " formulas are not set");
  for (const image of article.querySelectorAll("img"))
    if (image.complete && !image.naturalWidth) found.push("an image is not shown: " + image.getAttribute("src"));
  return found;
}

async function look() {
  const report = [];
  const frame = document.createElement("iframe");
  frame.style = "border: 0; height: 1000px";
  document.body.append(frame);
  for (const path of pages) {
    frame.style.width = widths[0] + "px";
    await new Promise((done) => { frame.onload = done; frame.src = path; });
    const page = frame.contentDocument;
    for (const image of page.images) image.loading = "eager";
    const mathjax = frame.contentWindow.MathJax?.startup?.promise;
    if (mathjax) await mathjax;
    for (const width of widths) {
      frame.style.width = width + "px";
      frame.contentWindow.dispatchEvent(new Event("resize"));
      await pause(20);
      for (const fault of faults(page, width)) report.push(path + " at " + width + " pixels: " + fault);
    }
  }
  frame.style.width = widths[0] + "px";
  await new Promise((done) => { frame.onload = done; frame.src = "search.html?q=momentum"; });
  for (let wait = 0; wait < 50 && !frame.contentDocument.querySelector("#search-results li"); wait++) await pause(100);
  if (!frame.contentDocument.querySelector("#search-results li")) report.push("search.html finds no page on momentum");
  frame.remove();
  return report;
}

look().then((report) => report, (error) => ["the inspection broke off: " + error]).then((report) => {
  const list = document.createElement("pre");
  list.id = "report";
  list.textContent = JSON.stringify(report);
  document.body.append(list);
});
</script>
"""


def chromium() -> str | None:
    """The browser, if there is one."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


def faults(site: Path, browser: str, seconds: int = 300) -> list[str]:
    """One sentence for each thing that is wrong in the browser. Raises RuntimeError where it does not answer."""
    pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html") if "_static" not in path.parts)
    pages = [page for page in pages if page not in ("search.html", "inspector.html")]
    inspector = site / "inspector.html"  # beside the pages, since a page from disk may look into those of its folder
    inspector.write_text(_INSPECTOR.replace("PAGES", json.dumps(pages)).replace("WIDTHS", json.dumps(WIDTHS)))
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            log = Path(profile) / "net.json"
            command = [browser, *_FLAGS, f"--user-data-dir={profile}", f"--log-net-log={log}"]
            command += [f"--virtual-time-budget={1000 * seconds}", "--dump-dom", inspector.resolve().as_uri()]
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
            asked = sorted(set(_asked(log)))
    finally:
        inspector.unlink()
    report = re.search(r'<pre id="report">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    if not report:
        raise RuntimeError(f"The browser gave no report.\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return [*json.loads(unescape(report[1])), *(f"the browser asked for {url}" for url in asked)]


def _asked(log: Path) -> Iterator[str]:
    """Addresses of the network that pages asked for, in Chromium's log of it; the browser's own have no origin."""
    for event in _events(log.read_text(encoding="utf-8", errors="replace")):
        parameters = event.get("params", {})
        if parameters.get("initiator", "not an origin") != "not an origin":
            url = str(parameters.get("url", ""))
            if not url.startswith(("file:", "data:", "blob:")):
                yield url


def _events(text: str) -> list[dict[str, Any]]:
    try:
        whole: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError:  # the browser was stopped while it wrote
        whole = json.loads(text.rstrip().rstrip(",") + "]}")
    return list(whole["events"])


def main() -> None:
    browser = chromium()
    if browser is None:
        print(f"The pages were not looked at, as no browser was found as: {', '.join(_NAMES)}.")
        return
    found = faults(Path(sys.argv[1]), browser)
    print("\n".join([*found, f"{len(found)} faults in the browser."]))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
