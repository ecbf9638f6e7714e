"""Cases, their medians, the table people read and the JSON programs read."""
import datetime
import json
import os
import statistics

COLUMNS = ("berth", "nginx", "docker-registry")
COMPARED = ("server_us", "server_us_per_mb", "p50_us", "p99_us")  # of what stands below a case


class Case:
    """One thing measured on several peers. A round is a dict of numbers; `key` is the one compared.

    higher: whether more is better. targets: [(peer or ceiling name, ratio)] that Berth must reach; the
    name None: (None, figure). extra: [(key, label, unit, scale)] shown below the case."""

    def __init__(self, name, key, unit, scale=1.0, higher=True, targets=(), extra=()):
        self.name, self.key, self.unit, self.scale = name, key, unit, scale
        self.higher, self.targets, self.extra = higher, list(targets), list(extra)
        self.rounds = {}

    def add(self, peer, numbers):
        self.rounds.setdefault(peer, []).append(numbers)

    def median(self, peer, key=None):
        key = key or self.key
        values = [r[key] for r in self.rounds.get(peer, []) if key in r]
        return statistics.median(values) if values else None

    def ratio(self, peer, key=None):
        """Median of the ratios of neighbouring rounds: a slow minute slows both and cancels out."""
        key = key or self.key
        pairs = zip(self.rounds.get("berth", []), self.rounds.get(peer, []))
        ratios = [a[key] / b[key] for a, b in pairs if key in a and b.get(key)]
        return statistics.median(ratios) if ratios else None

    def verdicts(self):
        """[(text, met or None)]: each target and whether Berth reached it."""
        found = []
        sign = "≥" if self.higher else "≤"
        for peer, least in self.targets:
            if peer is None:
                got, text = self.median("berth"), f"{sign} {number(least / self.scale)} {self.unit}"
            else:
                got, text = self.ratio(peer), f"{sign} {least:g} × {peer}"
            met = None if got is None else got >= least if self.higher else got <= least
            found.append((text, met))
        return found

    def as_json(self):
        return {"name": self.name, "unit": self.unit, "compared": self.key, "higher": self.higher,
                "targets": [{"than": peer, "least" if self.higher else "most": value, "met": met}
                            for (peer, value), (_, met) in zip(self.targets, self.verdicts())],
                "median": {p: self.median(p) for p in self.rounds},
                "ratio": {p: self.ratio(p) for p in self.rounds if p != "berth"},
                "rounds": self.rounds}


def number(value):
    """Three significant digits or all digits before the point, with thousands apart."""
    if value is None:
        return "-"
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def scaled(value, scale):
    return None if value is None else value / scale


def ratio(value):
    return "-" if value is None else f"{value:.2f}"


def mark(met):
    return "" if met is None else "met" if met else "MISSED"


def table(cases, ceilings):
    """Rows of cells, the head first. `ceilings` are names of "peers" that are limits of the machine
    (SHA-256, disk)."""
    shown = [p for p in COLUMNS + tuple(ceilings) if any(p in c.rounds for c in cases)]
    others = [p for p in shown if p != "berth"]
    rows = [["", "unit", *shown, *(f"÷ {p}" for p in others), "target", ""]]
    for case in cases:
        verdicts = case.verdicts() or [("", None)]
        rows.append([case.name, case.unit,
                     *(number(scaled(case.median(p), case.scale)) for p in shown),
                     *(ratio(case.ratio(p)) for p in others), verdicts[0][0],
                     mark(verdicts[0][1])])
        for text, met in verdicts[1:]:
            rows.append([""] * (len(rows[0]) - 2) + [text, mark(met)])
        for key, label, unit, scale in case.extra:
            values = [case.median(p, key) for p in shown]
            if any(v is not None for v in values):
                rows.append([f"  {label}", unit, *(number(scaled(v, scale)) for v in values),
                             *(ratio(case.ratio(p, key)) if key in COMPARED else "" for p in others),
                             "", ""])
    return rows


def render(rows):
    """Columns as wide as their widest cell; the first is to the left, the others to the right."""
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [c.rjust(w) for c, w in zip(row[1:], widths[1:])]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def machine_text(m):
    sha = "with SHA instructions" if m["sha_instructions"] else "without SHA instructions"
    lines = [f"{m['cpu']}, {m['cpus']} CPUs {sha}, {m['memory_bytes'] / 2**30:.0f} GiB; "
             f"Linux {m['kernel']}, {m['filesystem']}; {m['openssl']}",
             f"SHA-256 {m['sha256_bytes_per_second'] / 1e6:,.0f} MB/s on one core, "
             f"write and fsync {m['disk_bytes_per_second'] / 1e6:,.0f} MB/s"]
    if m["load_average"] > 0.5:
        lines.append(f"NOTE: the machine was busy (load {m['load_average']:.1f}) before the bench "
                     "began; ratios hold better than figures")
    return "\n".join(lines)


def save(folder, topic, title, machine, rows, cases, notes):
    """RESULTS/topic.json: what was shown, and every round behind it."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, f"{topic}.json"), "w", encoding="utf-8") as f:
        json.dump({"topic": topic, "title": title,
                   "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
                   "machine": machine, "notes": notes, "table": rows,
                   "cases": [c.as_json() for c in cases]}, f, indent=1)
        f.write("\n")
