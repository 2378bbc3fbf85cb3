"""The rooms of xpnet, read from its code: a table and a picture of who imports whom."""

from __future__ import annotations

import ast
import io
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Curve

REPOSITORY = Path(__file__).parent.parent
PACKAGE = REPOSITORY / "src" / "xpnet"
GROUPS = {  # of the picture; a room that is in none is drawn grey
    "files, checks, markup": ("checks", "files", "markup"),
    "the libraries' names": ("backend",),
    "arithmetic: asks its arrays": ("functions", "losses", "numerical", "structured", "optimizers"),
    "nets and their training": (
        "gradcheck", "network", "history", "batches", "staging", "checkpoint", "callbacks",
        "training",
    ),
}  # fmt: skip
COLOURS = ["#6c757d", "#c2571a", "#1f6fb4", "#2b8a5b"]
OTHERS = "#7d6aa8"


def names() -> list[str]:
    """The rooms, top to bottom, as tests/test_architecture.py holds them."""
    tree = ast.parse((REPOSITORY / "tests" / "test_architecture.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "ROOMS":
            return [room for room in ast.literal_eval(node.value) if not room.startswith("__")]
    raise LookupError("tests/test_architecture.py has no ROOMS")


def path_of(room: str) -> Path:
    """The file of a room."""
    file = PACKAGE / f"{room}.py"
    return file if file.exists() else PACKAGE / room / "__init__.py"


def says(room: str) -> str:
    """What a room says that it is: the first line of its docstring."""
    return (ast.get_docstring(ast.parse(path_of(room).read_text(encoding="utf-8"))) or "").split(
        "\n"
    )[0]


def imports(room: str) -> set[str]:
    """The rooms that a room imports when it is imported itself."""
    found = set()
    body = ast.parse(path_of(room).read_text(encoding="utf-8")).body
    tried = [inner for node in body if isinstance(node, ast.Try) for inner in node.body]
    for node in (*body, *tried):
        if isinstance(node, ast.ImportFrom) and node.level:
            found |= {node.module.split(".")[0]} if node.module else {n.name for n in node.names}
    return found.intersection(names()) - {room}


def colour(room: str) -> str:
    """The colour of the group that a room is in."""
    for one, members in zip(COLOURS, GROUPS.values(), strict=True):
        if room in members:
            return one
    return OTHERS


def figure() -> Figure:
    """Draw the rooms below each other, and an arc from each to those that it imports."""
    rooms = names()
    figure = Figure(figsize=(6.4, 0.34 * len(rooms) + 2.2), layout="constrained")
    axes = figure.add_subplot()
    for i, room in enumerate(rooms):
        axes.plot(0, i, "o", color=colour(room), markersize=7)
        axes.text(-0.35, i, room, ha="right", va="center", fontsize=12, color=colour(room))
        for j in (rooms.index(other) for other in imports(room)):
            reach = 0.36 * abs(i - j)
            points = [(0, i), (reach, i), (reach, j), (0, j)]
            codes = [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4]
            arc = Curve(points, codes)
            axes.add_patch(
                PathPatch(arc, fill=False, edgecolor=colour(room), linewidth=1, alpha=0.65)
            )
    for place, (name, one) in enumerate(zip([*GROUPS, "data, pictures, the command"],
                                            [*COLOURS, OTHERS], strict=True)):  # fmt: skip
        axes.text(-0.35, len(rooms) + 0.4 + 0.9 * place, name, color=one, fontsize=12, va="center")
    axes.set_xlim(-2.6, 0.28 * len(rooms))
    axes.set_ylim(len(rooms) + 4.8, -0.5)
    axes.set_axis_off()
    return figure


def table() -> str:
    """The rooms and what they say, as a Markdown table."""
    rows = [f"| `{path_of(r).relative_to(PACKAGE)}` | {says(r).rstrip('.')} |" for r in names()]
    return "\n".join(["| room | what it is |", "| --- | --- |", *rows]) + "\n"


def write(folder: Path) -> None:
    """Write rooms.svg and rooms.md, where they say something new."""
    folder.mkdir(exist_ok=True)
    picture = io.StringIO()
    figure().savefig(picture, format="svg", metadata={"Date": None})
    for name, text in {"rooms.svg": picture.getvalue(), "rooms.md": table()}.items():
        (folder / name).write_text(text, encoding="utf-8")
