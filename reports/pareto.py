"""Two metrics against each other, and which arms nobody beats in both: shown as `analysis` found it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench.wire.metrics import METRICS
from bench.wire.units import MIB, show
from reports import words
from reports.axes import CHAR_PX, STEPS, figure_of, note, panes, short
from reports.load import Json, Run
from reports.result import is_marked
from reports.svg import COLOUR, Picture, Size, Table, colour, marker, picture

_HEIGHT_PX, _LEFT_PX, _TITLE_PX = 380, 92, 34
# Shown in MiB: steps of whole bytes are no round numbers there.
_BYTES = ("byte", "byte-second")
_NEAR = 0.06


@dataclass(frozen=True)
class Front:
    """One pair of metrics in one cell. picture: None without a point. dominated: (arm, the arms that beat it)."""

    host: str
    cell: str
    x: str
    y: str
    front: tuple[str, ...]
    dominated: tuple[tuple[str, str], ...]
    picture: Picture | None


def fronts(run: Run) -> list[Front]:
    """Every front of analysis.json, in its order."""
    return [_front(run, number, item) for number, item in enumerate(run.analysis.get("pareto") or [], start=1)]


def _front(run: Run, number: int, item: Json) -> Front:
    points = [point for point in item.get("points") or [] if all(words.is_number(point.get(axis)) for axis in "xy")]
    x, y = str(item.get("x")), str(item.get("y"))
    dominated = tuple(
        (str(point.get("arm")), ", ".join(map(str, point["dominated_by"]))) for point in points if point["dominated_by"]
    )
    drawn = _draw_front(f"p{number}", run, x, y, points) if points and x in METRICS and y in METRICS else None
    front = tuple(map(str, item.get("front") or []))
    return Front(str(item.get("host")), str(item.get("cell")), words.title(x), words.title(y), front, dominated, drawn)


def _draw_front(figure_id: str, run: Run, x: str, y: str, points: Sequence[Json]) -> Picture:
    scales = {axis: MIB if METRICS[name].unit in _BYTES else 1.0 for axis, name in (("x", x), ("y", y))}
    scaled = [{**point, **{axis: point[axis] / scale for axis, scale in scales.items()}} for point in points]

    def draw(size: Size) -> Figure:
        (ax,) = panes(size, [(_TITLE_PX, _HEIGHT_PX)], _LEFT_PX)
        for point in scaled:
            _draw_point(ax, run, point)
        _axis(ax, run, (x, scales["x"]), (y, scales["y"]), size)
        _names(ax, scaled, size)
        return figure_of(ax)

    said = "; ".join(
        f"{point['arm']}: {show(point['x'], METRICS[x].unit)}, {show(point['y'], METRICS[y].unit)}"
        + (f", dominated by {', '.join(map(str, point['dominated_by']))}" if point["dominated_by"] else "")
        for point in points
    )
    rows = tuple(
        (str(point["arm"]), show(point["x"], METRICS[x].unit), show(point["y"], METRICS[y].unit),
         ", ".join(map(str, point["dominated_by"])) or words.NOTHING)
        for point in points
    )  # fmt: skip
    table = Table(("Arm", words.title(x), words.title(y), "Dominated by"), rows)
    return picture(figure_id, f"{words.title(x)} against {words.title(y)}", f"{said}.", draw, table)


def _draw_point(ax: Axes, run: Run, point: Json) -> None:
    place = run.arms.index(point["arm"]) if point["arm"] in run.arms else 0
    paint = COLOUR["muted"] if point["dominated_by"] else colour(place)
    ax.plot([point["x"]], [point["y"]], ls="", marker=marker(place), ms=9, color=paint, mew=0, zorder=3)


def _axis(ax: Axes, run: Run, x: tuple[str, float], y: tuple[str, float], size: Size) -> None:
    """x, y: metric, and how many of its units one of the axis is."""
    ax.grid()
    ax.tick_params(axis="both", length=0)
    ax.margins(0.12)
    for axis, (name, scale) in ((ax.xaxis, x), (ax.yaxis, y)):
        unit = METRICS[name].unit
        axis.set_major_locator(MaxNLocator(4 if size.narrow else 7, steps=STEPS))
        axis.set_major_formatter(FuncFormatter(lambda value, _, unit=unit, scale=scale: show(value * scale, unit)))
    labels = [
        f"{words.title(name)}, {METRICS[name].direction} is better" + (" †" if is_marked(run, name) else "")
        for name, _ in (x, y)
    ]
    ax.set_xlabel(labels[0] if not size.narrow else words.title(x[0]))
    # Above the axis: a label that is turned by 90 degrees is no label.
    ax.set_title(labels[1] if not size.narrow else words.title(y[0]), fontsize=13, fontweight="normal", pad=6)


def _names(ax: Axes, points: Sequence[Json], size: Size) -> None:
    """Each arm beside its point; where two are near each other the later name moves down."""
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    taken: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda item: -float(item["y"])):
        at = ((point["x"] - left) / (right - left or 1), (point["y"] - low) / (high - low or 1))
        level = at[1]
        while any(abs(level - other) < _NEAR and abs(at[0] - where) < 0.35 for where, other in taken):
            level -= _NEAR
        taken.append((at[0], level))
        name = short(str(point["arm"]), size)
        inside = at[0] * size.width + len(name) * CHAR_PX > size.width - _LEFT_PX
        looks = {"color": COLOUR["muted"]} if point["dominated_by"] else {}
        shift, side = (-10, "right") if inside else (10, "left")
        note(ax, name, (at[0], level), ("axes fraction", "axes fraction"), (shift, 0), ha=side, fontsize=12, **looks)
