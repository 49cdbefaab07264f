"""Makes the pictures of README.md from a finished run: its learning curve as an SVG, and the first
screen of its report as a PNG.

    cargo xtask quickstart --seed 1
    python3 benchmarks/pictures/make.py [--run runs/quickstart]

The curve needs only Python 3.11. The screen needs Chromium, and pngquant, which reduces the
picture to a palette: `apt-get install chromium fonts-liberation pngquant`. Without them, use
`--only curve`.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from runs import ROOT, lines

# Steps in the trailing mean of the training reward.
WINDOW = 10
# Size of the report's first screen, in CSS pixels.
WIDTH, HEIGHT = 1200, 948
COLOURS = 48
MOST_BYTES = 120_000
# The report asks for the system's font. This one is free, and as narrow as most systems' own.
FONTS = """\
<fontconfig>
  <include>/etc/fonts/fonts.conf</include>
  <match target="pattern">
    <test name="family" qual="any" compare="not_eq"><string>monospace</string></test>
    <edit name="family" mode="prepend" binding="strong"><string>Liberation Sans</string></edit>
  </match>
</fontconfig>
"""
BROWSERS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]

STYLE = """\
  text { fill: #1f2328; font: 13px system-ui, sans-serif }
  .page { fill: #ffffff }
  .title { font-size: 15px; font-weight: 600 }
  .tick { fill: #59636e; font-size: 12px }
  .grid { stroke: #d1d9e0; stroke-width: 1 }
  .em, .reward, .step { fill: none; stroke-linejoin: round }
  .em { stroke: #0969da; stroke-width: 2.5 }
  .dot { fill: #0969da }
  .em-name { fill: #0969da; font-weight: 600 }
  .reward { stroke: #bc4c00; stroke-width: 2 }
  .step { stroke: #bc4c00; stroke-width: 1; opacity: 0.35 }
  .reward-name { fill: #bc4c00; font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .page { fill: #0d1117 }
    .tick { fill: #9198a1 }
    .grid { stroke: #3d444d }
    .em { stroke: #4493f8 }
    .dot, .em-name { fill: #4493f8 }
    .reward, .step { stroke: #db8b4b }
    .reward-name { fill: #db8b4b }
  }"""


def curve(rows, source):
    """Mean reward of the training questions and exact match on held-out ones, by step."""
    rewards = [(row["step"], row["reward/mean"]) for row in rows if "reward/mean" in row]
    matches = [(row["step"], row["eval/greedy/em"]) for row in rows if "eval/greedy/em" in row]
    smooth = [
        (step, statistics.mean(value for _, value in rewards[max(0, n - WINDOW + 1) : n + 1]))
        for n, (step, _) in enumerate(rewards)
    ]

    left, right, top, bottom, width, height = 44, 16, 88, 44, 580, 212
    last = rows[-1]["step"]
    highest = max(1.0, *(value for _, value in rewards))

    def x(step):
        return left + width * step / last

    def y(value):
        return top + height * (1 - value / highest)

    def line(kind, points):
        path = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)
        return f'<polyline class="{kind}" points="{path}"/>'

    total = (left + width + right, top + height + bottom)
    parts = [
        f'<rect class="page" width="{total[0]}" height="{total[1]}"/>',
        f'<text class="title" x="{left}" y="22">Learning curve of {source}</text>',
    ]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        level = f"{y(tick):.1f}"
        parts.append(
            f'<line class="grid" x1="{left}" x2="{left + width}" y1="{level}" y2="{level}"/>'
            f'<text class="tick" x="{left - 8}" y="{level}" dy="4" text-anchor="end">'
            f"{tick:g}</text>"
        )
    for tick in [*range(0, last - 5, 10), last]:
        parts.append(
            f'<text class="tick" x="{x(tick):.1f}" y="{top + height + 18}" '
            f'text-anchor="middle">{tick}</text>'
        )
    parts += [
        f'<text class="tick" x="{left + width / 2}" y="{total[1] - 8}" text-anchor="middle">'
        "training step</text>",
        f'<line class="em" x1="{left}" x2="{left + 22}" y1="46" y2="46"/>'
        f'<circle class="dot" cx="{left + 11}" cy="46" r="3.5"/>'
        f'<text class="em-name" x="{left + 30}" y="50">exact match, held-out questions, '
        "greedy</text>",
        f'<line class="reward" x1="{left}" x2="{left + 22}" y1="66" y2="66"/>'
        f'<text class="reward-name" x="{left + 30}" y="70">reward, training questions, '
        f'mean of {WINDOW} steps (thin: each step)</text>',
        line("step", rewards),
        line("reward", smooth),
        line("em", matches),
    ]
    parts += [
        f'<circle class="dot" cx="{x(step):.1f}" cy="{y(value):.1f}" r="3.5"/>'
        for step, value in matches
    ]
    body = "\n".join(parts)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{total[0]}" height="{total[1]}"
     viewBox="0 0 {total[0]} {total[1]}" role="img">
<title>Held-out exact match and mean training reward by training step</title>
<style>
{STYLE}
</style>
{body}
</svg>
"""


def screen(report, picture):
    """Takes the first screen of the report, in light colours, and reduces it to a palette."""
    browser = os.environ.get("CHROME") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if not browser or not shutil.which("pngquant"):
        sys.exit("the screen needs Chromium and pngquant: `apt-get install chromium pngquant`")
    with tempfile.TemporaryDirectory() as folder:
        shot, fonts = Path(folder) / "shot.png", Path(folder) / "fonts.conf"
        fonts.write_text(FONTS)
        subprocess.run(
            [
                browser, "--headless", "--no-sandbox", "--hide-scrollbars",
                f"--user-data-dir={folder}/profile", f"--window-size={WIDTH},{HEIGHT}",
                f"--screenshot={shot}", report.resolve().as_uri(),
            ],
            check=True, capture_output=True, env=os.environ | {"FONTCONFIG_FILE": str(fonts)},
        )
        subprocess.run(
            [
                "pngquant", str(COLOURS), "--nofs", "--strip", "--speed", "1", "--force",
                "--output", str(picture), str(shot),
            ],
            check=True,
        )
    size = picture.stat().st_size
    if size > MOST_BYTES:
        sys.exit(f"`{picture}` has {size} bytes, more than {MOST_BYTES}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--run", type=Path, default=ROOT / "runs/quickstart")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/pictures")
    parser.add_argument("--only", choices=["curve", "screen"])
    arguments = parser.parse_args()

    manifest = json.loads((arguments.run / "manifest.json").read_text())
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.only != "screen":
        source = f"{manifest['name']}, seed {manifest['seed']}"
        text = curve(lines(arguments.run / "metrics.jsonl"), source)
        (arguments.out / "learning-curve.svg").write_text(text)
    if arguments.only != "curve":
        screen(arguments.run / "report.html", arguments.out / "report.png")
    print(f"{arguments.out}: of commit {manifest['commit']}")


if __name__ == "__main__":
    main()
