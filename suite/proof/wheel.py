"""Writes the suite as it is installed here into a wheel, the drop-ins that come with it included, from which pip installs it elsewhere."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from .. import dropins
from ..errors import SuiteError
from ..store.archive import EPOCH

DISTRIBUTION = "recurrent-suite"
PACKAGE = Path(__file__).resolve().parents[1]

WHEEL = "Wheel-Version: 1.0\nGenerator: recurrent-suite\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def own_roots() -> tuple[Path, ...]:
    """The folders whose drop-ins come with the suite: those of the package, and of the checkout where it runs from one."""
    return tuple(root for root in dropins.ROOTS if root == PACKAGE / "dropins" or root == PACKAGE.parent)


def wheel() -> tuple[str, bytes]:
    """The wheel's name and content; the same files give the same wheel.

    Raises SuiteError where the suite is not installed, so that nothing says what it depends on.
    """
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise SuiteError(f"{DISTRIBUTION} is not installed, so that nothing says what it depends on; pip install -e . first") from None
    name = f"{DISTRIBUTION.replace('-', '_')}-{distribution.version}"
    files = {place: path.read_bytes() for place, path in sorted(_files())}
    metadata = {
        "METADATA": distribution.read_text("METADATA"),
        "entry_points.txt": distribution.read_text("entry_points.txt"),
        "WHEEL": WHEEL,
    }
    files |= {f"{name}.dist-info/{file}": text.encode() for file, text in metadata.items() if text}
    record = "".join(f"{place},sha256={_digest(content)},{len(content)}\n" for place, content in files.items())
    files[f"{name}.dist-info/RECORD"] = f"{record}{name}.dist-info/RECORD,,\n".encode()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for place, part in files.items():
            entry = zipfile.ZipInfo(place, EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, part, zipfile.ZIP_DEFLATED)
    return f"{name}-py3-none-any.whl", content.getvalue()


def _files() -> Iterator[tuple[str, Path]]:
    """Every file of the suite with its place in the wheel; drop-ins lie in the package."""
    for path in PACKAGE.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"{PACKAGE.name}/{path.relative_to(PACKAGE).as_posix()}", path
    for root in own_roots():
        for folder in dropins.FOLDERS if root != PACKAGE / "dropins" else ():
            for path in (root / folder).rglob("*"):
                if path.is_file() and "__pycache__" not in path.parts:
                    yield f"{PACKAGE.name}/dropins/{path.relative_to(root).as_posix()}", path


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
