"""The house that xpnet is, read from its code: a picture of its wings, a table of their files."""

from __future__ import annotations

import ast
import io
import sys
import textwrap
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path as Curve

sys.path.append(str(Path(__file__).parent.parent / "tests"))

import test_architecture as architecture

# Files that are in no folder are of these wings, or else the ground that all stand on.
ARITHMETIC = {
    "elementwise", "activations", "functions", "loss_changes", "losses", "schedules", "optimizers",
}
FACES = {"__init__": "face", "testing": "face", "__main__": "cli"}
SAYS = {
    "face": "`import xpnet`: the public names",
    "arithmetic": "Formulas and their tables: they ask their arrays which library it is",
    "ground": "What every wing stands on",
}
COLOURS = [
    "#b5482f", "#c2571a", "#8d6a1f", "#5f7d25", "#2b8a5b", "#1d8a8a", "#1f6fb4", "#4a5fc1",
    "#7d4fb0", "#a8427f", "#b03a5b", "#8a4b4b", "#6c757d",
]  # fmt: skip

# In inches: the picture is as wide as the page, its words as large as those of the page.
WIDTH, RIGHT, NAMES = 7.2, 4.75, 1.3  # of the picture; where boxes end, and names in them begin
LINE, PADDING, GAP = 0.19, 0.13, 0.13
LETTERS = 42  # in a line of names


def wing_of(room: str) -> str:
    """The wing that a file belongs to: its folder, or one of those at the root."""
    folder, _, name = room.rpartition("/")
    return folder or FACES.get(name) or ("arithmetic" if name in ARITHMETIC else "ground")


def wings() -> dict[str, list[str]]:
    """The wings and their files, from the roof to the ground, so that imports point downward."""
    found: dict[str, list[str]] = {}
    for room in reversed(architecture.ROOMS):
        found.setdefault(wing_of(room), []).append(room)
    return found


def imports() -> dict[str, set[str]]:
    """The wings that each wing imports, lazily and for types too."""
    found: dict[str, set[str]] = {wing: set() for wing in wings()}
    for room in architecture.ROOMS:
        imported = (architecture.room_of(name) for name, _ in architecture.imports(f"{room}.py"))
        found[wing_of(room)] |= {wing_of(other) for other in imported if other} - {wing_of(room)}
    return found


def says(room: str) -> str:
    """What a file says that it is: the first line of its docstring."""
    text = (architecture.PACKAGE / f"{room}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").split("\n")[0]


def figure() -> Figure:
    """Draw the wings as boxes, and an arc from each down to those that it imports."""
    lines = {
        wing: textwrap.wrap(", ".join(r.rpartition("/")[2] for r in rooms if "__" not in r)
                            or "xpnet", LETTERS)
        for wing, rooms in wings().items()
    }  # fmt: skip
    heights = {wing: LINE * len(text) + 2 * PADDING for wing, text in lines.items()}
    height = sum(heights.values()) + GAP * (len(lines) + 1)
    picture = Figure(figsize=(WIDTH, height))
    axes = picture.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height))
    axes.set_axis_off()
    colours = dict(zip(lines, COLOURS, strict=True))
    tops, top = {}, height - GAP
    for wing, text in lines.items():
        tops[wing] = top
        bottom = top - heights[wing]
        axes.add_patch(FancyBboxPatch(
            (0.1, bottom), RIGHT - 0.1, heights[wing], boxstyle="round,pad=0,rounding_size=0.06",
            facecolor=(colours[wing], 0.07), edgecolor=colours[wing], linewidth=1,
        ))  # fmt: skip
        style = {"va": "center_baseline", "fontsize": 10.5}
        for i, words in enumerate(text):
            axes.text(NAMES, top - PADDING - LINE * (i + 0.5), words, color="0.2", **style)
        axes.text(
            0.2, top - heights[wing] / 2, wing, color=colours[wing], weight="bold", **style
        )
        top = bottom - GAP
    for arc, (start, end) in places(tops, heights).items():
        draw_arc(axes, start, end, colours[arc[0]])
    return picture


def places(
    tops: dict[str, float], heights: dict[str, float]
) -> dict[tuple[str, str], tuple[float, float]]:
    """The heights at which each arc leaves a box and enters another, so that few arcs cross."""
    order = list(tops)
    arcs = [(above, below) for above, those in imports().items() for below in those]
    found: dict[tuple[str, str], list[float]] = {arc: [0.0, 0.0] for arc in arcs}
    for wing in order:
        entering = [(arc, 1) for arc in arcs if arc[1] == wing]
        leaving = [(arc, 0) for arc in arcs if arc[0] == wing]

        def length(end: tuple[tuple[str, str], int]) -> int:
            return order.index(end[0][1]) - order.index(end[0][0])

        ends = sorted(entering, key=length) + sorted(leaving, key=length, reverse=True)
        for i, (arc, which) in enumerate(ends):
            found[arc][which] = tops[wing] - heights[wing] * (i + 1) / (len(ends) + 1)
    return {arc: (start, end) for arc, (start, end) in found.items()}


def draw_arc(axes, start, end, colour):
    """Draw an arc at the right of the boxes, with an arrow where it ends."""
    # A curve goes three quarters of the way to its control points: one over all boxes just fits.
    widest = (WIDTH - RIGHT) / 0.75 - 0.3
    reach = RIGHT + 0.15 + widest * (start - end) / axes.get_ylim()[1]
    points = [(RIGHT, start), (reach, start), (reach, end), (RIGHT + 0.05, end)]
    curve = Curve(points, [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4])
    axes.add_patch(PathPatch(curve, fill=False, edgecolor=colour, linewidth=1, alpha=0.75))
    axes.plot(RIGHT + 0.05, end, "<", color=colour, markersize=4)


def table() -> str:
    """The wings and their files, with what each says that it is, as a Markdown table."""
    rows = ["| wing, file | what it is |", "| --- | --- |"]
    for wing, rooms in wings().items():
        package = f"{wing}/__init__"
        rows.append(f"| **{wing}** | **{SAYS.get(wing) or says(package).rstrip('.')}** |")
        rows += [f"| `{room}.py` | {says(room)} |" for room in rooms if room != package]
    return "\n".join(rows) + "\n"


def write(folder: Path) -> None:
    """Write rooms.svg and rooms.md."""
    folder.mkdir(exist_ok=True)
    picture = io.StringIO()
    figure().savefig(picture, format="svg", metadata={"Date": None})
    for name, text in {"rooms.svg": picture.getvalue(), "rooms.md": table()}.items():
        (folder / name).write_text(text, encoding="utf-8")
