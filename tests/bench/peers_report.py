"""What peers.py says of its rows: a line each, and per mode and routing how far ahead, how far above the floor, how wrong."""
import json
import math
import os

TARGETS = {"bf16": 1.05, "fp8": 1.10, "fp8_channel": 1.10, "fp8_block": 1.35}  # geometric mean, ahead of the best peer
BEHIND = 1.02
ERROR_BAND = 1.05  # rounding to 16 bits alone moves the worst of a few rows by some percent
BASELINE_TAGS = {"bf16": "bf16", "fp8": "fp8", "fp8_channel": "fp8", "fp8_block": "fp8blk"}
BASELINE_BAND = 0.05


def key(row):
    return row["case"], row["mode"], row["routing"], row["tokens"], row["gemm"]


def read_rows(path):
    """The rows of a JSON lines file; the last line may be torn, a later row replaces an earlier."""
    rows = {}
    if os.path.exists(path):
        with open(path) as file:
            for line in file:
                try:
                    row = json.loads(line)
                    rows[key(row)] = row
                except (ValueError, KeyError):
                    continue
    return list(rows.values())


def open_rows(path, resume):
    """To write rows to, behind those that are there if resumed. A torn last line is ended first, or it would swallow the next row."""
    out = open(path, "a" if resume else "w")
    if resume and out.tell() > 0:
        with open(path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            out.write("" if file.read() == b"\n" else "\n")
    return out


def limit_us(row):
    """What a row may take: near the floor where memory bounds it, else by how many rows an expert has."""
    if row["bound"] == "memory":
        return row["floor_us"] + 4 if row["tokens"] == 1 else 1.06 * row["floor_us"] + 3
    many, block = row["rows_per_expert"] >= 512, row["mode"] == "fp8_block"
    return row["floor_us"] * ((1.25 if many else 1.35) if block else (1.15 if many else 1.25))


def number(row, name, digits=1):
    value = row.get(name)
    return f"{value:.{digits}f}" if isinstance(value, (int, float)) else "-"


def line(row):
    return (f"{row['case']} gemm{row['gemm']} M={row['tokens']} {row['mode']} {row['routing']}: floor {number(row, 'floor_us')} ours "
            f"{number(row, 'moejit_us')} ({row['moejit_op']} {row['family']} {row['config']}; {row['origin']}, "
            f"{'verified' if row['verified'] else 'unverified'}) quantise {number(row, 'quantise_us')} triton "
            f"{number(row, 'triton_us')} torch {number(row, 'torch_us')} x peer {number(row, 'over_peer', 3)} x floor "
            f"{number(row, 'over_floor', 2)} error {number(row, 'moejit_error', 5)} / {number(row, 'triton_error', 5)} / "
            f"{number(row, 'torch_error', 5)}{'  ' + row['torch_failure'] if 'torch_failure' in row else ''}")


def geometric(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def baseline_ratios(path):
    """(case, mode, tokens, gemm) -> best peer / floor of a baseline file."""
    out = {}
    with open(path) as file:
        for row in json.load(file):
            for mode, tag in BASELINE_TAGS.items():
                peers = [row[f"{tag}_{p}"] for p in ("triton", "torch") if isinstance(row.get(f"{tag}_{p}"), (int, float))]
                if peers and row.get(f"{tag}_floor"):
                    out[row["case"], mode, row["M"], int(row["gemm"][-1])] = min(peers) / row[f"{tag}_floor"]
    return out


def against_baseline(rows, baseline):
    """(cells compared, those whose peers stand elsewhere, as text); uniform routing only: the baseline has no other."""
    compared, moved = 0, []
    for row in rows:
        was = baseline.get((row["case"], row["mode"], row["tokens"], row["gemm"]))
        if was and "peer_us" in row and row["routing"] == "uniform":
            compared += 1
            now = row["peer_us"] / row["floor_us"]
            if abs(now / was - 1) > BASELINE_BAND:
                moved.append(f"{row['case']} gemm{row['gemm']} M={row['tokens']} {row['mode']}: {was:.2f} -> {now:.2f} x floor")
    return compared, moved


def worse_error(row):
    peers = [row[p] for p in ("triton_error", "torch_error") if p in row]
    return bool(peers) and not row["moejit_error"] <= ERROR_BAND * max(peers)  # NaN is worse


def summary_line(mode, routing, rows):
    ratios = [r["over_peer"] for r in rows if "over_peer" in r]
    behind = [r for r in rows if r.get("over_peer", 0) > BEHIND]
    over = [r for r in rows if r["moejit_us"] > limit_us(r)]
    worst = max(rows, key=lambda r: r.get("over_peer", 0))
    ahead = 1 / geometric(ratios) if ratios else math.nan
    return (f"| {mode} | {routing} | {len(rows)} | {ahead:.3f} | {TARGETS[mode]:.2f} | {len(behind)} | {max(ratios, default=math.nan):.3f}"
            f" ({worst['case']} gemm{worst['gemm']} M={worst['tokens']}) | {geometric([r['over_floor'] for r in rows]):.3f} | {len(over)} | "
            f"{sum(not r['verified'] for r in rows)} | {sum(map(worse_error, rows))} |")


def summary(rows, baseline_path=None):
    """A table: one line per mode and routing; cells behind or above their limit by name below it."""
    out = ["| mode | routing | cells | ahead of the best peer | wanted | > 2 % behind | worst x peer | x floor | over the limit | unverified"
           " | error above the peers' |", "|---|---|--:|--:|--:|--:|---|--:|--:|--:|--:|"]
    for mode in TARGETS:
        for routing in ("uniform", "zipf1"):
            some = [r for r in rows if (r["mode"], r["routing"]) == (mode, routing)]
            if some:
                out.append(summary_line(mode, routing, some))
    for row in sorted(rows, key=lambda r: -r.get("over_peer", 0)):
        why = [f"{row['over_peer']:.3f} x peer"] if row.get("over_peer", 0) > BEHIND else []
        why += [f"{row['moejit_us']:.1f} us, limit {limit_us(row):.1f}"] if row["moejit_us"] > limit_us(row) else []
        if why:
            out.append(f"  {row['case']} gemm{row['gemm']} M={row['tokens']} {row['mode']} {row['routing']}: {'; '.join(why)} "
                       f"({row['family']} {row['config']})")
    if baseline_path:
        compared, moved = against_baseline(rows, baseline_ratios(baseline_path))
        out.append(f"peers against the baseline: {compared} cells, {len(moved)} more than {BASELINE_BAND:.0%} away in x floor")
        out += ["  " + text for text in moved]
    return "\n".join(out)


def write_json(path, head, rows):
    """One file that readme_tables.lua reads."""
    order = sorted(rows, key=lambda r: (list(TARGETS).index(r["mode"]), r["routing"], r["case"], r["gemm"], r["tokens"]))
    with open(path, "w") as file:
        json.dump(dict(head, rows=order), file, indent=1)
        file.write("\n")
