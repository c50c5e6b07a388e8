"""Brings the files of the repository that pages link to into the site, as text that a browser shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]

OUTSIDE = re.compile(r"\]\(\.\./([^)#\s]+)\)")
"""A link from a page to a file beside the folder of pages."""

ELSEWHERE = re.compile(r"<(?:script|link|img|iframe|source|video|audio)\b[^>]*?(?:src|href)=[\"']?((?:https?:)?//[^\s\"'>]+)")
"""What a page loads from another address; a link that a reader may follow loads nothing."""


def shown(target: str) -> str:
    """Where a file of the repository stands in the site; of a folder its README."""
    path = f"{target.rstrip('/')}/README.md" if (ROOT / target).is_dir() else target
    return f"repository/{path}.txt"


def on_files(files: Any, config: Any) -> Any:
    """Add every file that a page links to outside the folder of pages."""
    pages = [file.content_string for file in files.documentation_pages()]
    for target in sorted({target for page in pages for target in OUTSIDE.findall(page)}):
        place = shown(target)
        text = (ROOT / place.removeprefix("repository/").removesuffix(".txt")).read_text(encoding="utf-8")
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links lead there."""
    return OUTSIDE.sub(lambda match: f"]({shown(match[1])})", markdown)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Raises PluginError for a page that would load something from elsewhere."""
    if loaded := ELSEWHERE.search(output):
        raise PluginError(f"{page.file.src_uri}: loads {loaded[1]}; bring it into the site, or leave it out")
    return output
