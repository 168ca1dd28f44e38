"""Horizontal bars with their spread, as plain SVG for light and dark pages."""

import math
import statistics
from html import escape

WIDTH, LEFT, RIGHT, TOP = 760, 190, 150, 74
BAR, GAP = 15, 12

STYLE = """
  .page { fill: #ffffff } .text { fill: #1f2328 } .quiet { fill: #59636e } .grid { stroke: #d1d9e0 }
  .one { stroke: #59636e } .whisker { stroke: #1f2328 }
  .float32 { fill: #2f6fb5 } .bfloat16 { fill: #d07a2d }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } .text { fill: #f0f6fc } .quiet { fill: #9198a1 }
    .grid { stroke: #3d444d } .one { stroke: #9198a1 } .whisker { stroke: #f0f6fc }
    .float32 { fill: #5b9bdf } .bfloat16 { fill: #e39a55 }
  }
  text { font: 13px system-ui, sans-serif } .title { font-size: 16px; font-weight: 600 }
"""


def text(x, y, words, css="text", anchor="start"):
    return f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def line(x1, y1, x2, y2, css):
    return f'<line class="{css}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def ratio_bars(title, bars):
    """`bars`: (case, series, values); the bars of a case follow each other. Medians, and from least
    to most."""
    most = max((max(values) for _, _, values in bars), default=1)
    step = 10 ** math.floor(math.log10(most))
    while most / step < 4:
        step /= 2
    n_ticks = math.ceil(most / step)
    scale = (WIDTH - LEFT - RIGHT) / (n_ticks * step)

    def x_of(value):
        return LEFT + value * scale

    marks, y, last = [], TOP, None
    for case, series, values in bars:
        if case != last:
            y += GAP if last else 0
            marks.append(text(LEFT - 10, y + BAR + 1, case, anchor="end"))
            last = case
        median, low, high = statistics.median(values), min(values), max(values)
        middle = y + BAR / 2
        marks.append(f'<rect class="{series}" x="{LEFT}" y="{y:.1f}" width="{median * scale:.1f}" '
                     f'height="{BAR - 2}"><title>{escape(f"{case}, {series}: {median:.2f} ")}'
                     f'[{low:.2f}-{high:.2f}]</title></rect>')
        marks.append(line(x_of(low), middle - 1, x_of(high), middle - 1, "whisker"))
        marks.append(text(x_of(high) + 8, y + BAR - 3, f"{median:.1f} [{low:.1f}-{high:.1f}]"))
        y += BAR
    bottom = y + GAP
    axis = []
    for i in range(n_ticks + 1):
        x = x_of(i * step)
        axis += [line(x, TOP - 8, x, bottom, "grid"),
                 text(x, bottom + 18, f"{i * step:g}", "quiet", "middle")]
    axis.append(line(x_of(1), TOP - 8, x_of(1), bottom, "one"))
    height = bottom + 34
    key = []
    for i, series in enumerate(dict.fromkeys(series for _, series, _ in bars)):
        x = LEFT + 110 * i
        key += [f'<rect class="{series}" x="{x}" y="40" width="12" height="12"/>',
                text(x + 18, 51, series)]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" height="{height:.0f}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        '<rect class="page" width="100%" height="100%"/>',
        text(20, 26, title, "text title"), *key, *axis, *marks, "</svg>", ""])
