"""docs/performance.md and its plot, from the results of the last runs."""
import json
import math
import os

import report

BEGIN, END = "<!-- tables: ./dev bench report -->", "<!-- end of tables -->"
ORDER = ("wire", "tls", "push", "load", "size", "scale", "gc")
BAR, GAP, LEFT, WIDTH = 12, 22, 380, 960
TICKS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 200)
STYLE = """text{font:13px system-ui,sans-serif;fill:#1f2328}.small{font-size:11px;fill:#59636e}
.nginx{fill:#1a7f37}.registry{fill:#0969da}.line{stroke:#d1d9e0}.one{stroke:#59636e}
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.small{fill:#9198a1}.nginx{fill:#3fb950}
.registry{fill:#4493f8}.line{stroke:#3d444d}.one{stroke:#9198a1}}"""


def load(folder):
    found = {}
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if name.endswith(".json"):
            with open(os.path.join(folder, name), encoding="utf-8") as f:
                result = json.load(f)
            found[result["topic"]] = result
    return [found[t] for t in ORDER if t in found]


def cell(text):
    return text.replace("|", "\\|").replace("<", "&lt;")


def markdown_table(rows):
    lines = ["| " + " | ".join(map(cell, rows[0])) + " |",
             "| --- |" + " ---: |" * (len(rows[0]) - 1)]
    for row in rows[1:]:
        first = row[0].strip()
        first = f"&nbsp;&nbsp;{cell(first)}" if row[0].startswith("  ") else f"**{cell(first)}**"
        lines.append("| " + " | ".join([first if row[0] else "", *map(cell, row[1:])]) + " |")
    return "\n".join(lines)


def tables(results):
    parts = []
    for r in results:
        parts.append(f"### {r['topic']}\n\nMeasured {r['date']}. {r['title'][0].upper()}{r['title'][1:]}.\n\n"
                     f"```\n{report.machine_text(r['machine'])}\n```\n\n{markdown_table(r['table'])}\n")
        if r["notes"]:
            parts.append("".join(f"- {note}\n" for note in r["notes"]))
    return "\n".join(parts)


def bars(results):
    """[(label, {peer: ratio})] of what is set against nginx or docker-registry."""
    found = []
    for r in results:
        for case in r["cases"] if r["topic"] in ("wire", "tls", "push") else []:
            ratios = {p: v for p, v in case.get("ratio", {}).items()
                      if p in ("nginx", "docker-registry") and v}
            if ratios and case["higher"]:
                found.append((("TLS: " if r["topic"] == "tls" else "") + case["name"], ratios))
    return found


def x_of(value):
    """Logarithmic, from the first tick to the last."""
    low, high = math.log(TICKS[0]), math.log(TICKS[-1])
    share = (math.log(min(max(value, TICKS[0]), TICKS[-1])) - low) / (high - low)
    return LEFT + share * (WIDTH - LEFT - 60)


def plot(results):
    rows = bars(results)
    height = 70 + sum(GAP + BAR * (len(r) - 1) for _, r in rows) + 30
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
           f'width="{WIDTH}" height="{height}" role="img">',
           "<title>Berth's rates divided by those of nginx and docker-registry</title>",
           f"<style>{STYLE}</style>",
           '<text x="8" y="20">Berth’s rate divided by that of</text>',
           '<rect class="nginx" x="212" y="10" width="11" height="11"/>'
           '<text x="228" y="20">nginx</text>'
           '<rect class="registry" x="276" y="10" width="11" height="11"/>'
           '<text x="292" y="20">docker-registry</text>',
           '<text class="small" x="8" y="38">same machine, same minute; right of 1: Berth is faster; '
           'logarithmic</text>']
    bottom = height - 24
    for tick in TICKS:
        kind = "one" if tick == 1 else "line"
        out.append(f'<line class="{kind}" x1="{x_of(tick):.1f}" x2="{x_of(tick):.1f}" y1="48" '
                   f'y2="{bottom}"/><text class="small" text-anchor="middle" x="{x_of(tick):.1f}" '
                   f'y="{bottom + 15}">{tick:g}</text>')
    y = 56
    for label, ratios in rows:
        text = label.replace("&", "&amp;").replace("<", "&lt;")
        out.append(f'<text class="small" x="8" y="{y + 10}">{text}</text>')
        for peer in ("nginx", "docker-registry"):
            if peer in ratios:
                value = ratios[peer]
                left, right = sorted((x_of(1), x_of(value)))
                kind = "nginx" if peer == "nginx" else "registry"
                out.append(f'<rect class="{kind}" x="{left:.1f}" y="{y}" rx="1" '
                           f'width="{max(right - left, 1.5):.1f}" height="{BAR - 2}"/>'
                           f'<text class="small" x="{right + 4:.1f}" y="{y + 9}">{value:.3g}</text>')
                y += BAR
        y += GAP - BAR
    out.append("</svg>\n")
    return "\n".join(out)


def main(root):
    results = load(os.path.join(root, "build/bench/results"))
    if not results:
        print("bench: no results; run ./dev bench first")
        return 1
    page = os.path.join(root, "docs/performance.md")
    with open(page, encoding="utf-8") as f:
        text = f.read()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    with open(page, "w", encoding="utf-8") as f:
        f.write(f"{head}{BEGIN}\n\n{tables(results)}\n{END}{tail}")
    with open(os.path.join(root, "docs/performance.svg"), "w", encoding="utf-8") as f:
        f.write(plot(results))
    print("wrote docs/performance.md and docs/performance.svg from "
          + ", ".join(r["topic"] for r in results))
    return 0
