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

PROBE = """<!doctype html><body style="margin: 0"><iframe src="{page}" style="width: {width}px; height: 20000px; border: 0"></iframe>
<script>
onload = () => {{
  const inner = document.querySelector("iframe").contentWindow, root = inner.document.documentElement;
  const small = [...inner.document.querySelectorAll("p, li, td, th, figcaption")].map(e => parseFloat(inner.getComputedStyle(e).fontSize));
  const measured = {{
    overflow: root.scrollWidth - root.clientWidth,
    loaded: inner.performance.getEntriesByType("resource").map(entry => entry.name),
    sections: [...inner.document.querySelectorAll("main > section")].map(e => e.id),
    figures: [...inner.document.querySelectorAll("figure svg")].map(e => e.getBoundingClientRect().width),
    smallest: Math.min(...small),
  }};
  document.body.innerHTML = "";
  document.body.dataset.measured = JSON.stringify(measured);
}};
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    times = {(name, REFERENCE.name): 1.0 for name in ("lstm", "gru", "bilstm")}
    reason = "a_reason_without_any_place_to_break_" * 8
    store = fill(tmp_path_factory.mktemp("runs"), lambda *cell: "failed" if cell[-1] else 0.95, times=times, reason=reason)
    return write(age(store, GRU)) / "index.html"


def chromium(folder: Path, *words: str) -> str:
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={folder / 'profile'}", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def probe(page: Path, folder: Path, width: int) -> dict[str, Any]:
    (folder / "probe.html").write_text(PROBE.format(page=page.as_uri(), width=width))
    dom = chromium(folder, "--window-size=1400,900", "--dump-dom", (folder / "probe.html").as_uri())
    return json.loads(html.unescape(dom.partition('data-measured="')[2].partition('"')[0]))  # type: ignore[no-any-return]


@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_fits_its_screen_and_loads_nothing(page: Path, tmp_path: Path, width: int) -> None:
    measured = probe(page, tmp_path, width)
    assert measured["overflow"] == 0
    assert measured["loaded"] == []
    assert measured["sections"] == [provided.noun.name for provided in inputs.in_order(working())]
    assert len(measured["figures"]) >= 6
    assert min(measured["figures"]) >= 600, "narrower figures have text too small to read; they scroll instead"
    assert measured["smallest"] >= 12


@pytest.mark.parametrize("width", [1200, 500])
def test_the_page_is_painted(page: Path, tmp_path: Path, width: int) -> None:
    picture = tmp_path / "page.png"
    chromium(tmp_path, f"--window-size={width},1600", f"--screenshot={picture}", page.as_uri())
    with Image.open(picture) as image:
        assert image.size == (width, 1600)
        colours = image.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    assert len(colours) > 100
