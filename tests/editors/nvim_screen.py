"""Neovim's screen, kept from its `ext_linegrid` events; as text, and as a picture."""

from __future__ import annotations

import html
import threading
from dataclasses import dataclass
from typing import Any

CELL_WIDTH, CELL_HEIGHT, FONT_SIZE = 8.43, 19, 14
MARGIN, TITLE = 14, 34


@dataclass
class Cell:
    """A character and the number of its highlight."""

    text: str = " "
    highlight: int = 0


class Screen:
    """What a terminal would show."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cells: list[list[Cell]] = []
        self._flushed = ""
        self._highlights: dict[int, dict[str, Any]] = {0: {}}
        self._foreground, self._background = 0xDDDDDD, 0x111111
        self._cursor: tuple[int, int] = (0, 0)
        self._mode = "normal"

    def take(self, batches: list[list[Any]]) -> None:
        """Follow the events of one `redraw` notification."""
        with self._lock:
            for name, *calls in batches:
                follow = getattr(self, f"_on_{name}", None)
                if follow is not None:
                    for call in calls:
                        follow(*call)

    def text(self) -> str:
        """All lines, as they were when Neovim last said that the screen is whole."""
        with self._lock:
            return self._flushed

    def paper(self, text: str) -> int:
        """The colour behind a text that stands on the screen once."""
        with self._lock:
            [(row, at)] = [
                (number, line.index(text)) for number, line in enumerate(self._flushed.split("\n")) if text in line
            ]
            return self._colours(self._cells[row][at].highlight)[1]

    # --- events ---------------------------------------------------------------------------------

    def _on_grid_resize(self, grid: int, width: int, height: int) -> None:
        self._cells = [[Cell() for _ in range(width)] for _ in range(height)]

    def _on_grid_clear(self, grid: int) -> None:
        self._cells = [[Cell() for _ in row] for row in self._cells]

    def _on_grid_line(self, grid: int, row: int, column: int, cells: list[list[Any]], *more_of_it: Any) -> None:
        highlight = 0
        for text, *more in cells:
            highlight = more[0] if more else highlight
            for _ in range(more[1] if len(more) > 1 else 1):
                self._cells[row][column] = Cell(text, highlight)
                column += 1

    def _on_grid_scroll(self, grid: int, top: int, bottom: int, left: int, right: int, rows: int, columns: int) -> None:
        lines = range(top, bottom - rows) if rows > 0 else range(bottom - 1, top - rows - 1, -1)
        for row in lines:
            self._cells[row][left:right] = [Cell(c.text, c.highlight) for c in self._cells[row + rows][left:right]]

    def _on_default_colors_set(self, foreground: int, background: int, *_: Any) -> None:
        self._foreground, self._background = foreground, background

    def _on_hl_attr_define(self, number: int, attributes: dict[str, Any], *_: Any) -> None:
        self._highlights[number] = attributes

    def _on_grid_cursor_goto(self, grid: int, row: int, column: int) -> None:
        self._cursor = (row, column)

    def _on_mode_change(self, mode: str, index: int) -> None:
        self._mode = mode

    def _on_flush(self) -> None:
        self._flushed = "\n".join("".join(cell.text for cell in row) for row in self._cells)

    # --- a picture ------------------------------------------------------------------------------

    def svg(self, title: str) -> str:
        """The screen in a window with a title, as it stands now."""
        with self._lock:
            columns, rows = len(self._cells[0]), len(self._cells)
            width, height = columns * CELL_WIDTH + 2 * MARGIN, rows * CELL_HEIGHT + MARGIN + TITLE
            parts = [_frame(width, height, title, self._background)]
            for number, row in enumerate(self._cells):
                parts += self._row(number, row)
            parts.append(self._caret())
        return "\n".join([*parts, "</svg>"]) + "\n"

    def _colours(self, number: int) -> tuple[int, int, dict[str, Any]]:
        found = self._highlights[number]
        ink, paper = found.get("foreground", self._foreground), found.get("background", self._background)
        return (paper, ink, found) if found.get("reverse") else (ink, paper, found)

    def _row(self, number: int, row: list[Cell]) -> list[str]:
        """Stretches of one highlight: the paper under them, then the ink."""
        papers, inks = [], []
        y, start = TITLE + number * CELL_HEIGHT, 0
        while start < len(row):
            end = start + 1
            while end < len(row) and row[end].highlight == row[start].highlight:
                end += 1
            ink, paper, found = self._colours(row[start].highlight)
            x, width = MARGIN + start * CELL_WIDTH, (end - start) * CELL_WIDTH
            if paper != self._background:
                papers.append(
                    f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{CELL_HEIGHT}" fill="#{paper:06x}"/>'
                )
            text = "".join(cell.text for cell in row[start:end])
            if text.strip():
                style = ' font-weight="bold"' if found.get("bold") else ""
                style += ' font-style="italic"' if found.get("italic") else ""
                inks.append(
                    f'<text x="{x:.1f}" y="{y + 14}" textLength="{width:.1f}" fill="#{ink:06x}"{style}>'
                    f"{html.escape(text)}</text>"
                )
            start = end
        return papers + inks

    def _caret(self) -> str:
        row, column = self._cursor
        width = 2.0 if self._mode == "insert" else CELL_WIDTH
        x, y = MARGIN + column * CELL_WIDTH, TITLE + row * CELL_HEIGHT
        return (
            f'<rect x="{x:.1f}" y="{y}" width="{width}" height="{CELL_HEIGHT}" fill="#{self._foreground:06x}" '
            f'opacity="{1 if self._mode == "insert" else 0.5}"/>'
        )


def _frame(width: float, height: float, title: str, background: int) -> str:
    dots = "".join(
        f'<circle cx="{MARGIN + 6 + 18 * i}" cy="16" r="5.5" fill="{colour}"/>'
        for i, colour in enumerate(("#ec6a5e", "#f4bf4f", "#61c554"))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" xml:space="preserve" font-size="{FONT_SIZE}" '
        "font-family=\"'DejaVu Sans Mono', Menlo, Consolas, monospace\">"
        "<style>text{white-space:pre}</style>"
        f'<rect width="{width:.0f}" height="{height:.0f}" rx="9" fill="#{background:06x}"/>{dots}'
        f'<text x="{width / 2:.0f}" y="21" text-anchor="middle" fill="#8a8f98" font-size="12">'
        f"{html.escape(title)}</text>"
    )
