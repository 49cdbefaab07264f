"""Learning curves as SVG: a line an arm, the mean over seeds with its 95 % interval."""

from html import escape

from runs import band

WIDTH, HEIGHT, LEFT, TOP = 520, 260, 44, 16
# Colours that stay apart for all kinds of sight (Okabe and Ito).
COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#b8a800"]


def curves(title, arms):
    """`arms` are pairs of a name and of curves, one a seed: lists of a value a step."""
    n_steps = max(len(curve) for _, some in arms for curve in some)
    most = max(1e-9, *(value for _, some in arms for curve in some for value in curve))
    most = 1.0 if 0.5 < most <= 1.0 else most

    def at(step, value):
        x = LEFT + WIDTH * step / max(n_steps - 1, 1)
        y = TOP + HEIGHT * (1 - min(max(value / most, 0), 1))
        return f"{x:.1f},{y:.1f}"

    parts = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        y = TOP + HEIGHT * (1 - tick)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y}" y2="{y}"/>'
            f'<text class="tick" x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{tick * most:.2g}</text>'
        )
    for step in (0, n_steps - 1):
        x = LEFT + WIDTH * step / max(n_steps - 1, 1)
        parts.append(
            f'<text class="tick" x="{x}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{step + 1}</text>'
        )
    for idx, (name, some) in enumerate(arms):
        color = COLORS[idx % len(COLORS)]
        bands = [band([curve[step] for curve in some]) for step in range(min(map(len, some)))]
        if len(some) > 1:
            upper = [at(step, mean + half) for step, (mean, half) in enumerate(bands)]
            lower = [at(step, mean - half) for step, (mean, half) in reversed(list(enumerate(bands)))]
            parts.append(f'<polygon points="{" ".join(upper + lower)}" fill="{color}" opacity="0.15"/>')
        for curve in some:
            path = " ".join(at(step, value) for step, value in enumerate(curve))
            parts.append(
                f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="0.6" opacity="0.5"/>'
            )
        path = " ".join(at(step, mean) for step, (mean, _) in enumerate(bands))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2.5"/>')
        y = TOP + HEIGHT + 40 + 18 * idx
        parts.append(
            f'<line x1="{LEFT}" x2="{LEFT + 24}" y1="{y - 4}" y2="{y - 4}" stroke="{color}" stroke-width="2.5"/>'
            f'<text class="name" x="{LEFT + 32}" y="{y}">{escape(name)} ({len(some)} seeds)</text>'
        )
    total = TOP + HEIGHT + 50 + 18 * len(arms)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 20} {total}" role="img" font-family="system-ui, sans-serif">
<title>{escape(title)}</title>
<style>
  .page {{ fill: #ffffff }} .grid {{ stroke: #d1d9e0 }}
  .tick {{ fill: #59636e; font-size: 11px }} .name {{ fill: #1f2328; font-size: 12px }}
  @media (prefers-color-scheme: dark) {{
    .page {{ fill: #0d1117 }} .grid {{ stroke: #3d444d }} .tick {{ fill: #9198a1 }} .name {{ fill: #f0f6fc }}
  }}
</style>
<rect class="page" width="100%" height="100%"/>
{chr(10).join(parts)}
</svg>"""
