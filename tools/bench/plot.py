"""A bar chart as SVG, without a library."""

from xml.sax.saxutils import escape

COLOURS = ["#1b6ca8", "#9fb8c8", "#c9d6df", "#d1495b", "#e08e79", "#edae49", "#7a9e5f"]
BAR, GAP, LEFT, WIDTH, TOP = 14, 16, 120, 560, 70


def text(x, y, words, anchor="start", size=12):
    """One line of text."""
    return (f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}">'
            f"{escape(words)}</text>")


def legend(series):
    """The colours' names, in a row."""
    parts, x = [], LEFT
    for number, name in enumerate(series):
        parts.append(f'<rect x="{x}" y="40" width="10" height="10" fill="{COLOURS[number]}"/>')
        parts.append(text(x + 14, 50, name))
        x += 30 + 7 * len(name)
    return parts


def bars(title, groups, series):
    """The chart. groups: (name, {series: value}). Every group has a scale of its own, because cases
    differ by a factor of fifty. The values are written at the bars' ends."""
    parts, y = [], TOP
    for name, values in groups:
        present = [one for one in series if one in values]
        scale = WIDTH / max(max(values.values()), 1e-9)
        parts.append(text(LEFT - 10, y + BAR * len(present) / 2 + 4, name, "end", 14))
        for one in present:
            width = max(1, values[one] * scale)
            colour = COLOURS[series.index(one)]
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 2}" '
                         f'fill="{colour}"/>')
            parts.append(text(round(LEFT + width + 5, 1), y + 10, f"{values[one]:.3f}  {one}",
                              size=10))
            y += BAR
        y += GAP
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 170}" height="{y}" '
            f'font-family="sans-serif">\n<rect width="100%" height="100%" fill="white"/>')
    lines = [head, text(LEFT, 24, title, size=16), *legend(series), *parts, "</svg>"]
    return "\n".join(lines) + "\n"
