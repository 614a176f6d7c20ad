"""Draws a terminal's screen (stdin: text with SGR escapes, as `tmux capture-pane -e -p` gives it) as SVG on stdout.

Usage: screen_to_svg.py COLUMNS LINES

Letters are text in a monospace font, each word stretched to its cells. Bars, lines and braille are drawn as shapes,
because fonts disagree about them and they must meet at the edges of their cells. A little air is left above full
blocks, as most fonts do, so that the bars of a chart stay apart.
"""

import re
import sys
import unicodedata
from xml.sax.saxutils import escape

WIDTH, HEIGHT, MARGIN = 8.4, 18.0, 14.0  # of a cell, of the frame, pixels
SIZE = 14
AIR = 2.5  # above a full block, pixels
BACKGROUND, FOREGROUND = "#14171c", "#d7dae0"
BASIC = [
    "#2b3038", "#d0646a", "#7fae6a", "#c9a45c", "#6a9bd8", "#b483c4", "#5fb0b5", "#d7dae0",
    "#6b7280", "#e88388", "#a0cf8a", "#e6c384", "#8db9ee", "#cfa3dd", "#83cfd3", "#ffffff",
]
# Arms of the box drawing characters: left, right, up, down; 1 light, 2 heavy.
ARMS = {
    "─": (1, 1, 0, 0), "━": (2, 2, 0, 0), "│": (0, 0, 1, 1), "┃": (0, 0, 2, 2),
    "┏": (0, 2, 0, 2), "┓": (2, 0, 0, 2), "┗": (0, 2, 2, 0), "┛": (2, 0, 2, 0),
    "┣": (0, 2, 2, 2), "┫": (2, 0, 2, 2), "┳": (2, 2, 0, 2), "┻": (2, 2, 2, 0), "╋": (2, 2, 2, 2),
    "╸": (2, 0, 0, 0), "╺": (0, 2, 0, 0), "╹": (0, 0, 2, 0), "╻": (0, 0, 0, 2),
}
THICK = {1: 1.0, 2: 2.2}
# Bits of a braille character: column and row of each dot.
DOTS = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)]


def colour(index):
    if index < 16:
        return BASIC[index]
    if index < 232:
        red, green, blue = (index - 16) // 36, (index - 16) // 6 % 6, (index - 16) % 6
        return "#" + "".join(f"{level * 40 + 55 if level else 0:02x}" for level in (red, green, blue))
    return "#" + f"{8 + (index - 232) * 10:02x}" * 3


def apply(style, codes):
    """The style after one SGR sequence: foreground, background, bold, dim, reverse."""
    codes = [int(code or 0) for code in re.split("[;:]", codes)]
    while codes:
        code = codes.pop(0)
        if code == 0:
            style = dict(fg=None, bg=None, bold=False, dim=False, reverse=False)
        elif code in (1, 2, 7):
            style = {**style, {1: "bold", 2: "dim", 7: "reverse"}[code]: True}
        elif code == 22:
            style = {**style, "bold": False, "dim": False}
        elif code == 27:
            style = {**style, "reverse": False}
        elif code in (38, 48):
            key = "fg" if code == 38 else "bg"
            if codes[0] == 5:
                style, codes = {**style, key: colour(codes[1])}, codes[2:]
            else:
                style, codes = {**style, key: "#%02x%02x%02x" % tuple(codes[1:4])}, codes[4:]
        elif code in (39, 49):
            style = {**style, "fg" if code == 39 else "bg": None}
        elif 30 <= code <= 37 or 90 <= code <= 97:
            style = {**style, "fg": BASIC[code - 30 if code < 90 else code - 82]}
        elif 40 <= code <= 47 or 100 <= code <= 107:
            style = {**style, "bg": BASIC[code - 40 if code < 100 else code - 92]}
    return style


def cells(lines):
    """Yields row, column, width in cells, character and style of every cell that is not empty."""
    style = apply({}, "0")
    for row, line in enumerate(lines):
        column = 0
        for sequence, letter in re.findall(r"\x1b\[([\d;:]*)m|(.)", line):
            if not letter:
                style = apply(style, sequence)
                continue
            if unicodedata.combining(letter) or letter == "\ufe0f":
                continue
            width = 2 if unicodedata.east_asian_width(letter) in "WF" else 1
            yield row, column, width, letter, style
            column += width


def runs(found):
    """The same cells, but a run of equal full blocks is one wide cell: no seams."""
    last = None
    for row, column, width, letter, style in found:
        if last and letter == "█" and last[0] == row and last[1] + last[2] == column and last[3:] == [letter, style]:
            last[2] += width
            continue
        if last:
            yield last
        last = [row, column, width, letter, style]
    if last:
        yield last


def box(x, y, width, height):
    return f"M{x:.2f} {y:.2f}h{width:.2f}v{height:.2f}h{-width:.2f}z"


def shape(letter, x, y, width):
    """The path of a character that is drawn and not written; None for all others."""
    code = ord(letter)
    if 0x2581 <= code <= 0x2588:  # ▁ to █, from below
        part = (HEIGHT - AIR) * (code - 0x2580) / 8
        return box(x, y + HEIGHT - part, width * WIDTH, part)
    if 0x2589 <= code <= 0x258F:  # ▉ to ▏, from the left
        return box(x, y + AIR, WIDTH * (0x2590 - code) / 8, HEIGHT - AIR)
    if letter == "▀":
        return box(x, y, WIDTH, HEIGHT / 2)
    if 0x2800 <= code <= 0x28FF:
        dots = (DOTS[bit] for bit in range(8) if code >> bit & 1)
        return "".join(box(x + WIDTH * (0.25 + 0.5 * c) - 0.9, y + HEIGHT * (r + 0.5) / 4 - 0.9, 1.8, 1.8) for c, r in dots)
    if letter in ARMS:
        left, right, up, down = ARMS[letter]
        middle_x, middle_y = x + WIDTH / 2, y + HEIGHT / 2
        half = THICK[max(left, right, up, down)] / 2
        path = ""
        if left:
            path += box(x, middle_y - half, WIDTH / 2 + half, 2 * half)
        if right:
            path += box(middle_x - half, middle_y - half, WIDTH / 2 + half, 2 * half)
        if up:
            path += box(middle_x - half, y, 2 * half, HEIGHT / 2 + half)
        if down:
            path += box(middle_x - half, middle_y - half, 2 * half, HEIGHT / 2 + half)
        return path
    return None


def ink(style):
    fore, back = style["fg"] or FOREGROUND, style["bg"]
    if style["reverse"]:
        fore, back = back or BACKGROUND, fore
    return fore, back


def draw(lines, columns, rows):
    paths, texts, backs = {}, [], []
    for row, column, width, letter, style in runs(cells(lines)):
        x, y = MARGIN + column * WIDTH, MARGIN + row * HEIGHT
        fore, back = ink(style)
        if back:
            backs.append(f'<path fill="{back}" d="{box(x, y, width * WIDTH, HEIGHT)}"/>')
        look = (fore, style["bold"], style["dim"])
        path = shape(letter, x, y, width)
        if path:
            paths.setdefault((fore, style["dim"]), []).append(path)
        elif letter != " ":
            last = texts[-1] if texts else None
            if last and last["row"] == row and last["end"] == column and last["look"] == look:
                last["text"] += letter
                last["end"] += width
            else:
                texts.append(dict(row=row, start=column, end=column + width, look=look, text=letter))
    total_width, total_height = columns * WIDTH + 2 * MARGIN, rows * HEIGHT + 2 * MARGIN
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total_width:.1f} {total_height:.1f}"'
    yield f' font-family="DejaVu Sans Mono,Menlo,Consolas,monospace" font-size="{SIZE}">'
    yield f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>'
    yield from backs
    for (fore, dim), parts in paths.items():
        yield f'<path fill="{fore}"{faint(dim)} d="{"".join(parts)}"/>'
    for word in texts:
        fore, bold, dim = word["look"]
        x, y = MARGIN + word["start"] * WIDTH, MARGIN + word["row"] * HEIGHT + HEIGHT * 0.74
        length = (word["end"] - word["start"]) * WIDTH
        weight = ' font-weight="bold"' if bold else ""
        yield (
            f'<text x="{x:.1f}" y="{y:.1f}" textLength="{length:.1f}" lengthAdjust="spacingAndGlyphs"'
            f' fill="{fore}"{weight}{faint(dim)}>{escape(word["text"])}</text>'
        )
    yield "</svg>"


def faint(dim):
    return ' opacity="0.6"' if dim else ""


def main():
    columns, rows = int(sys.argv[1]), int(sys.argv[2])
    sys.stdin.reconfigure(encoding="utf-8")
    sys.stdout.reconfigure(encoding="utf-8")
    print("\n".join(draw(sys.stdin.read().split("\n")[:rows], columns, rows)))


main()
