"""Figures as inline SVG: the same bytes for the same data, coloured by the page's own light and dark variables.

A figure is drawn with one marker colour a role ("ink", "arm0" …), which is then replaced by the CSS variable of that
role. Text stays text, in the page's font. Each figure is drawn twice, wide and narrow, and the page shows the one that
fits: a wide figure scaled down to a phone cannot be read.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

ARM_COLOURS = 6
_ROLES = ("ink", "muted", "rule", "paper", "soft", *(f"arm{index}" for index in range(ARM_COLOURS)))
COLOUR = {role: f"#0101{index + 1:02x}" for index, role in enumerate(_ROLES)}
_DASHES = ((0, (5, 1.6)), "solid", (0, (2, 1.5)), (0, (7, 2, 1.5, 2)), (0, (1, 1)), (0, (4, 1, 1, 1, 1, 1)))
_MARKERS = ("o", "D", "s", "^", "v", "P")
_POINTS_PER_INCH = 72
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "fpr-bench",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 13,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelsize": 13,
    "xtick.labelsize": 12.5,
    "ytick.labelsize": 12.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.edgecolor": COLOUR["muted"],
    "axes.labelcolor": COLOUR["ink"],
    "axes.titlecolor": COLOUR["ink"],
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "text.color": COLOUR["ink"],
    "xtick.color": COLOUR["muted"],
    "ytick.color": COLOUR["muted"],
    "xtick.labelcolor": COLOUR["ink"],
    "ytick.labelcolor": COLOUR["ink"],
    "grid.color": COLOUR["rule"],
    "grid.linewidth": 1.0,
    "lines.solid_capstyle": "round",
    "path.simplify": True,
    "path.simplify_threshold": 0.3,
}


@dataclass(frozen=True)
class Size:
    """Width of a drawing in CSS pixels; one point of matplotlib is one pixel of the page."""

    width: int
    narrow: bool

    def inches(self, height: float) -> tuple[float, float]:
        return self.width / _POINTS_PER_INCH, height / _POINTS_PER_INCH


WIDE, NARROW, HALF = Size(920, False), Size(380, True), Size(440, True)
# What is drawn, and the class under which the page shows it: one of two, or one that fits anywhere.
TWICE = ((WIDE, "wide"), (NARROW, "narrow"))
ONCE = ((HALF, "half"),)


@dataclass(frozen=True)
class Table:
    """What a figure shows, as text. note: what is not in it, and where that is."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure ready for the page: its drawings, what they show in words, and the same as a table."""

    id: str
    title: str
    description: str
    markup: Markup
    table: Table


def colour(index: int) -> str:
    """Marker colour of the arm at this place; the reference is 0."""
    return COLOUR[f"arm{index % ARM_COLOURS}"]


def dashes(index: int) -> str | tuple[float, tuple[float, ...]]:
    """Line style of an arm, so that colour is never alone."""
    return _DASHES[index % ARM_COLOURS]


def marker(index: int) -> str:
    return _MARKERS[index % ARM_COLOURS]


@contextmanager
def style() -> Iterator[None]:
    """matplotlib set up for a page, and left as it was afterwards."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # A name in a script that DejaVu lacks is no trouble: the browser draws the text.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from", category=UserWarning)
        yield


Draw = Callable[[Size], Figure]


def picture(figure_id: str, title: str, description: str, draw: Draw, table: Table) -> Picture:
    """Draws both sizes. figure_id: unique on the page, letters, digits and dashes."""
    drawings = [_drawing(figure_id, kind, title, draw, size) for size, kind in TWICE]
    return Picture(figure_id, title, description, Markup("").join(drawings), table)


def pair(figure_id: str, title: str, description: str, draws: Sequence[tuple[str, Draw]], table: Table) -> Picture:
    """Several drawings of one figure, side by side where there is room. draws: what each of them is, and it."""
    drawings = [
        _drawing(f"{figure_id}-{number}", kind, f"{title}: {what}", draw, size)
        for number, (what, draw) in enumerate(draws, start=1)
        for size, kind in ONCE
    ]
    return Picture(figure_id, title, description, Markup("").join(drawings), table)


def _drawing(figure_id: str, kind: str, label: str, draw: Draw, size: Size) -> Markup:
    """The page has the description beside it, for everybody: here is only a name."""
    buffer = io.BytesIO()
    with style():
        draw(size).savefig(buffer, format="svg", metadata={"Date": None})
    element = _inline(buffer.getvalue(), f"{figure_id}-{kind}")
    element.attrib |= {"role": "img", "aria-label": label, "class": kind}
    return Markup(ET.tostring(element, encoding="unicode"))  # noqa: S704 - a serialised tree is escaped


def _inline(file: bytes, prefix: str) -> ET.Element:
    """matplotlib's SVG file as an element of a page: unique ids, CSS variables for colours, the page's font.

    Only attributes are changed, never text: an arm's name may look like a colour or an id.
    """
    root = ET.fromstring(file)  # noqa: S314 - matplotlib wrote it, with every text escaped
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    used = {hit for element in root.iter() for value in element.attrib.values() for hit in _references(value)}
    for element in root.iter():
        element.tag = _local(element.tag)
        element.text = (element.text or "").strip() or None
        element.tail = None
        element.attrib = {
            _local(name): _attribute(value, prefix)
            for name, value in element.attrib.items()
            if not (name == "id" and value not in used) and not value.startswith("rotate(-0 ")
        }
        if "id" in element.attrib:
            element.attrib["id"] = f"{prefix}-{element.attrib['id']}"
    root.attrib = {"viewBox": root.attrib["viewBox"]}
    return root


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _references(value: str) -> list[str]:
    return [hit for pair in re.findall(r"^#(\w+)$|url\(#(\w+)\)", value) for hit in pair if hit]


def _attribute(value: str, prefix: str) -> str:
    for role, marked in COLOUR.items():
        value = value.replace(marked, f"var(--{role})")
    value = re.sub(r"^#(?=\w+$)|(?<=url\()#", f"#{prefix}-", value)
    value = re.sub(r"font: ((?:bold |italic |\d+ )*)([\d.]+px) [^;]*", r"font-weight: \1; font-size: \2", value)
    value = re.sub(r"font-weight: ;|font-family: [^;]*;?", "", value)
    return re.sub(r"(\.\d\d)\d+", r"\1", re.sub(r"\s+", " ", value)).strip()
