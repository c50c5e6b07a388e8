"""Opens a report in Chromium, from disk and without a network, as wide as a desk's screen and as narrow as a phone's."""

from __future__ import annotations

import html
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from suite.check.imagined import fill
from suite.ops.engines import REFERENCE
from suite.report import inputs

from .drawing import GRU, age, working, write

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--allow-file-access-from-files",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)

PROBE = """<!doctype html><body style="margin: 0"><iframe src="{page}" style="width: {width}px; height: {height}px; border: 0"></iframe>
<script>
onload = async () => {{
  const inner = document.querySelector("iframe").contentWindow, page = inner.document, root = page.documentElement;
  const all = selector => [...page.querySelectorAll(selector)], text = element => element.textContent.trim();
  const change = (name, value) => {{
    const select = page.querySelector(`.tools select[name="${{name}}"]`);
    select.value = value;
    select.dispatchEvent(new inner.Event("change"));
  }};
  const measured = await (async () => {{ {body} }})();
  document.body.innerHTML = "";
  document.body.dataset.measured = JSON.stringify(measured);
}};
</script>"""

LOOK = """
  const small = all("p, li, td, th, figcaption").filter(e => e.checkVisibility()).map(e => parseFloat(inner.getComputedStyle(e).fontSize));
  const name = e => e.getAttribute("aria-label") || text(e) || e.labels?.[0]?.textContent;
  const stops = all("a[href], button, select, summary, [tabindex='0']");
  return {
    overflow: root.scrollWidth - root.clientWidth,
    loaded: inner.performance.getEntriesByType("resource").map(entry => entry.name),
    sections: all("main > section").map(e => e.id),
    figures: all("figure.plot svg").map(e => [e.getBoundingClientRect().width, e.viewBox.baseVal.width]).filter(([width]) => width),
    smallest: Math.min(...small),
    unnamed: stops.filter(e => !name(e)).map(e => e.outerHTML.slice(0, 200)),
    height: root.scrollHeight,
    folded: all("details:not([open])").length,
    hidden: all("main p, main table, main svg, main pre").filter(e => !e.checkVisibility({contentVisibilityAuto: true})).length,
    bottoms: ["h1", "#table-answer table", "#figure-answer_front svg", "#answer > p"].map(s => page.querySelector(s)?.getBoundingClientRect().bottom),
    sticky: inner.getComputedStyle(page.querySelector("#table-answer tbody th")).position,
    paper: inner.getComputedStyle(page.body).backgroundColor,
  };
"""

DRIVE = """
  const rows = () => all("#table-answer tbody tr").filter(row => !row.hidden).map(row => text(row.cells[0]));
  const before = rows(), buttons = all("#table-answer thead button"), hash = () => inner.location.hash;
  buttons[0].click();
  const sorted = rows(), sort = hash();
  buttons[0].click();
  const reversed = rows();
  change("variant", "gru");
  const lit = [page.body.classList.contains("lit"), all("svg .mark.on").every(mark => ["gru", "lstm"].includes(mark.dataset.variant)), all("svg .mark.on").length > 4];
  const narrowed = rows(), chosen = hash();
  change("variant", "");
  change("task", "noisy");
  const other = all("tbody tr").filter(row => !row.hidden && row.cells[0] && /^adding, T/.test(text(row.cells[0]))).length;
  const off = [all("svg .panel.off").length > 0, all("svg .panel.off").every(panel => panel.dataset.panel.startsWith("adding"))];
  inner.location.hash = "#variant-gru?variant=gru";
  await new Promise(done => setTimeout(done, 50));
  const opened = page.getElementById("variant-gru").open, again = page.querySelector(".tools select[name=variant]").value;
  const copies = all("button.copy").map(text);
  return {before, sorted, sort, reversed, lit, narrowed, chosen, other, off, opened, again, copies: [...new Set(copies)]};
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    times = {(name, REFERENCE.name): 1.0 for name in ("lstm", "gru", "bilstm")}
    reason = "a_reason_without_any_place_to_break_" * 8
    store = fill(tmp_path_factory.mktemp("runs"), lambda *cell: "failed" if cell[-1] else 0.95, times=times, reason=reason)
    return write(age(store, GRU)) / "index.html"


def chromium(folder: Path, *words: str) -> str:
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={folder / 'profile'}", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def probe(page: Path, folder: Path, width: int, body: str = LOOK, height: int = 800) -> dict[str, Any]:
    (folder / "probe.html").write_text(PROBE.format(page=page.as_uri(), width=width, height=height, body=body))
    dom = chromium(folder, "--window-size=1400,900", "--virtual-time-budget=5000", "--dump-dom", (folder / "probe.html").as_uri())
    return json.loads(html.unescape(dom.partition('data-measured="')[2].partition('"')[0]))  # type: ignore[no-any-return]


@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_its_screen_and_loads_nothing(page: Path, tmp_path: Path, width: int) -> None:
    measured = probe(page, tmp_path, width)
    assert measured["overflow"] == 0
    assert measured["loaded"] == []
    assert measured["sections"] == [provided.noun.name for provided in inputs.in_order(working())]
    assert len(measured["figures"]) >= 3
    assert min(shown / own for shown, own in measured["figures"]) >= 0.95, (
        "smaller figures have text too small to read; they scroll instead"
    )
    assert measured["smallest"] >= 12
    assert measured["unnamed"] == []
    assert measured["sticky"] == "sticky"


def test_the_answer_is_on_the_first_screen_and_all_on_eight(page: Path, tmp_path: Path) -> None:
    measured = probe(page, tmp_path, 1280)
    assert max(bottom for bottom in measured["bottoms"] if bottom) <= 800
    assert measured["height"] <= 8 * 800
    assert measured["folded"] > 5


def test_paper_cuts_nothing(page: Path, tmp_path: Path) -> None:
    """The rules for print, on a screen as wide as the print on a sheet."""
    printed = tmp_path / "printed.html"
    printed.write_text(page.read_text().replace("@media print", "@media all"))
    measured = probe(printed, tmp_path, 703)
    assert measured["overflow"] == 0
    assert measured["hidden"] == 0
    assert measured["sticky"] == "static"
    assert measured["paper"] == "rgb(255, 255, 255)"


def test_tables_are_sorted_and_narrowed_and_the_address_says_so(page: Path, tmp_path: Path) -> None:
    done = probe(page, tmp_path, 1280, DRIVE)
    assert done["before"] == ["gru", "bilstm †"]
    assert done["sort"] == "#?sort=table-answer%2C0%2C1"
    assert done["sorted"] == ["bilstm †", "gru"]
    assert done["reversed"] == ["gru", "bilstm †"]
    assert done["narrowed"] == ["gru"]
    assert "variant=gru" in done["chosen"]
    assert done["lit"] == [True, True, True]
    assert done["other"] == 0
    assert done["off"] == [True, True]
    assert done["opened"]
    assert done["again"] == "gru"
    assert done["copies"] == ["copy as Markdown", "copy as LaTeX", "copy"]


@pytest.mark.parametrize("width", [1200, 500])
def test_the_page_is_painted(page: Path, tmp_path: Path, width: int) -> None:
    picture = tmp_path / "page.png"
    chromium(tmp_path, f"--window-size={width},1600", f"--screenshot={picture}", page.as_uri())
    with Image.open(picture) as image:
        assert image.size == (width, 1600)
        colours = image.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    assert len(colours) > 100
