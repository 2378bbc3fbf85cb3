"""Text in pictures: names come from users and from drivers, in any script."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib import font_manager
from matplotlib.text import Text

_NORMAL = 400  # the weight of a font that is neither light nor bold


def write(target: Text, text: str, width: int | None = None) -> None:
    """Set a text so that every character is drawn, in lines of at most `width` letters."""
    text, families = drawable(text, target.get_fontfamily())
    target.set_fontfamily(families)
    target.set_parse_math(False)  # a name with two dollars is no formula
    target.set_text(text if width is None else wrapped(text, width))


def label_ticks(axis: Any, names: Iterable[str], width: int, every: int = 1, **style: Any) -> None:
    """Name the positions 0, 1, 2, ... of an axis, or only some of them, as `write` does."""
    families: list[str] = [*font_manager.FontProperties().get_family()]
    labels = {}
    for i, name in enumerate(names):
        if i % every == 0:
            label, families = drawable(name, families)
            labels[i] = shortened(label, width)
    axis.set_ticks([*labels], [*labels.values()], fontfamily=families, parse_math=False, **style)


def drawable(text: str, families: Sequence[str]) -> tuple[str, list[str]]:
    r"""Return the text as it can be drawn, and the font families that draw it.

    Characters that the families lack are drawn in installed fonts that have them. Where none
    has, they lose their accents, or become an escape such as ``\u8c61``: no box, no '?'.
    """
    text = "".join(c if c == "\n" or c.isprintable() else " " for c in text)
    missing = frozenset(text) - characters(tuple(families)) - {"\n"}
    if not missing:
        return text, [*families]
    fonts, without = _fonts_for(missing)
    return "".join(_plain(c) if c in without else c for c in text), [*families, *fonts]


def wrapped(text: str, width: int) -> str:
    """Break lines after so many letters; a Chinese character takes the room of two."""
    lines = []
    for line in text.splitlines():
        room = max(width, 10) * len(line) // max(1, _room(line))
        lines += textwrap.wrap(line, max(1, room))
    return "\n".join(lines)


def shortened(text: str, width: int) -> str:
    """Cut a text after so many letters; … says so."""
    while _room(text) > max(width, 2):
        text = text[:-2].rstrip() + "…"
    return text


def characters(families: tuple[str, ...]) -> frozenset[str]:
    """Return what the first choices of matplotlib for these font families can draw."""
    paths = [font_manager.findfont(font_manager.FontProperties(family=[f])) for f in families]
    return frozenset[str]().union(*map(_glyphs, paths))


def _glyphs(path: str) -> frozenset[str]:
    return frozenset(map(chr, font_manager.get_font(path).get_charmap()))


def _room(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


@functools.cache
def _fonts_for(missing: frozenset[str]) -> tuple[list[str], frozenset[str]]:
    """Return as few installed fonts as have the characters, and those that none has."""
    listed = font_manager.fontManager.ttflist
    found = _coverage(listed, missing)
    if missing.difference(*(covered for _, covered in found)):
        # Matplotlib keeps a list of fonts from its first start: newer ones are not in it.
        for path in sorted({*font_manager.findSystemFonts()} - {entry.fname for entry in listed}):
            with contextlib.suppress(OSError, RuntimeError):  # no font that it can draw
                font_manager.fontManager.addfont(path)
        found = _coverage(listed, missing)
    fonts = []
    while any(covered & missing for _, covered in found):
        best, covered = max(found, key=lambda pair: len(pair[1] & missing))
        if best.weight != _NORMAL:
            # Under its own weight alone, matplotlib would complain with each picture.
            listed.append(dataclasses.replace(best, weight=_NORMAL))
        fonts.append(best.name)
        missing -= covered
    return fonts, missing


def _coverage(
    fonts: Iterable[font_manager.FontEntry], wanted: frozenset[str]
) -> list[tuple[font_manager.FontEntry, frozenset[str]]]:
    """Return each family's upright font with the characters that it has; normal weights first."""
    upright = [entry for entry in fonts if entry.style == "normal"]
    families: dict[str, font_manager.FontEntry] = {}
    for entry in sorted(upright, key=lambda entry: (entry.weight != _NORMAL, entry.name)):
        # The first has a box for every character, the others are pieces of formulas.
        if not entry.name.startswith(("Last Resort", "STIXNonUnicode", "STIXSize", "cm")):
            families.setdefault(entry.name, entry)
    found = []
    for entry in families.values():
        with contextlib.suppress(OSError, RuntimeError):  # damaged, or gone
            found.append((entry, wanted & _glyphs(entry.fname)))
    return found


def _plain(character: str) -> str:
    decomposed = unicodedata.normalize("NFKD", character)
    plain = "".join(c for c in decomposed if c.isascii())
    return plain or character.encode("ascii", "backslashreplace").decode()
