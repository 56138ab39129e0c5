#!/usr/bin/python3
"""kvd's runtime beside Go and others on this machine, in one run. README.md says how to add a row.

Usage: run.py [BUILD-FOLDER] [--rows REGEX] [--rounds N] [--out FILE.json] [--list]
Exit status: 0 when everything ran (aims met or not), 1 when a program failed or gave a wrong result.
"""
import argparse, json, os, re, resource, shlex, statistics, subprocess, sys

sys.dont_write_bytecode = True  # nothing appears among the sources
from rows import ROWS, AtMost, AtLeast, Below, Above

OURS, GO = "ours", "go"
CPU = "CPU seconds"  # of the whole program and what it waited for: no program prints a name with a space


def commands(row):
    """name -> (command, settings) of everything the row compares, ours first."""
    settings = dict(row.env)
    if row.procs:
        settings |= {"KVD_MAXPROCS": str(row.procs), "GOMAXPROCS": str(row.procs)}
    pin = f"taskset -c {row.cpus} " if row.cpus else ""
    all_of_them = {OURS: row.ours} | ({GO: row.go} if row.go else {}) | row.others
    return {who: (pin + c, settings | row.others_env.get(who, {})) for who, c in all_of_them.items()}


def one_run(command, settings, folders, timeout_s):
    """Start one program and return its figures: name -> value."""
    argv = shlex.split(command.format(**folders))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, env={**os.environ, **settings})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if run.returncode:
        raise RuntimeError(f"{' '.join(argv)}: status {run.returncode}: {run.stderr.strip()[-400:]}")
    figures = {CPU: after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}
    for line in run.stdout.splitlines():
        match = re.fullmatch(r"(\S+) (-?[0-9.]+(?:e[+-]?[0-9]+)?)(?: \S+)?", line)
        if match:
            figures[match[1]] = float(match[2])
    return figures


def group_key(row):
    return json.dumps({**commands(row), "timeout": row.timeout_s, "rounds": row.rounds}, sort_keys=True)


def measure(rows, rounds, folders, failures):
    """All rounds of rows that share their commands. who -> list of figures of a round, in step."""
    wanted, results = commands(rows[0]), {}
    broken = set()
    for n in range(rounds):
        order = list(wanted)
        order = order[n % len(order):] + order[:n % len(order)]
        for who in order:
            if who in broken:
                continue
            try:
                figures = one_run(*wanted[who], folders, rows[0].timeout_s)
                results.setdefault(who, []).append(figures)
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as problem:
                failures.append(f"{rows[0].name}, {who}: {problem}")
                broken.add(who)
                results.pop(who, None)
    return results


def number(x):
    if x is None:
        return "-"
    return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.3g}"


def judge(aim, ours, ratios):
    """(what was asked, met or None when it cannot be said)"""
    if isinstance(aim, (Below, Above)):
        word = "<=" if isinstance(aim, Below) else ">="
        met = None if ours is None else (ours <= aim.value if word == "<=" else ours >= aim.value)
        return f"{word} {number(aim.value)}", met
    word = "<=" if isinstance(aim, AtMost) else ">="
    ratio = ratios.get(aim.of)
    met = None if ratio is None else (ratio <= aim.ratio if word == "<=" else ratio >= aim.ratio)
    return f"{word} {aim.ratio:.3g} x {aim.of}", met


def summarise(row, results, failures):
    """Medians, ratios and verdicts of one row as a dictionary."""
    figures = {}
    cpu = {who: statistics.median(r[CPU] for r in runs) for who, runs in results.items()}
    for who, runs in results.items():
        name = row.go_figure if who == GO and row.go_figure else row.figure
        if any(name not in r for r in runs):
            failures.append(f"{row.name}: {who} prints no figure '{name}'")
            continue
        figures[who] = [r[name] for r in runs]
    medians = {who: statistics.median(v) for who, v in figures.items()}
    ratios, spread = {}, {}
    for who, values in figures.items():
        if who == OURS or OURS not in figures:
            continue
        pairs = [a / b for a, b in zip(figures[OURS], values) if b > 0]
        if pairs:
            ratios[who], spread[who] = statistics.median(pairs), (min(pairs), max(pairs))
    aims = [judge(a, medians.get(OURS), ratios) for a in row.aims]
    return {"name": row.name, "unit": row.unit, "figures": figures, "medians": medians, "ratios": ratios,
            "spread": spread, "cpu_s": cpu, "aims": [{"aim": a, "met": met} for a, met in aims]}


HEAD = f"{'row':44} {'unit':7} {'ours':>9} {'Go':>9}  {'ours/Go (spread)':24} {'CPU':>6}  aim"


def show(s):
    ratio = "-"
    if GO in s["ratios"]:
        low, high = s["spread"][GO]
        ratio = f"{s['ratios'][GO]:.3g} ({low:.2g} .. {high:.2g})"
    cpu = s["cpu_s"]
    of_cpu = f"{cpu[OURS] / cpu[GO]:.2f}" if cpu.get(GO) and OURS in cpu else "-"
    verdicts = "; ".join(f"{a['aim']}: {'?' if a['met'] is None else 'met' if a['met'] else 'MISSED'}" for a in s["aims"])
    print(f"{s['name']:44} {s['unit']:7} {number(s['medians'].get(OURS)):>9} {number(s['medians'].get(GO)):>9}  {ratio:24} {of_cpu:>6}  {verdicts}")
    for who, median in s["medians"].items():
        if who in (OURS, GO):
            continue
        low, high = s["spread"].get(who, (0, 0))
        print(f"    {'beside ' + who:40} {'':7} {'':9} {number(median):>9}  {s['ratios'].get(who, 0):.3g} ({low:.2g} .. {high:.2g})")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("Usage: ")[1])
    parser.add_argument("build", nargs="?", default="build")
    parser.add_argument("--rows", default="")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    rows = [r for r in ROWS if re.search(args.rows, r.name)]
    if not rows or args.rounds < 1:
        raise SystemExit("no row has a name like that" if not rows else "at least one round")
    if args.list:
        print("\n".join(r.name for r in rows))
        return 0
    folder = os.path.join(os.path.abspath(args.build), "tests/bench/runtime")
    folders = {"bin": folder, "go": os.path.join(folder, "go")}
    failures, summaries, groups = [], [], {}
    for row in rows:
        groups.setdefault(group_key(row), []).append(row)
    print(f"{args.rounds} rounds, interleaved; medians; load of the machine at the start: {os.getloadavg()[0]:.2f}\n{HEAD}")
    for same in groups.values():
        results = measure(same, min(args.rounds, same[0].rounds or args.rounds), folders, failures)
        for row in same:
            summaries.append(summarise(row, results, failures))
            show(summaries[-1])
    verdicts = [a["met"] for s in summaries for a in s["aims"]]
    print(f"{len(rows)} rows; aims: {verdicts.count(True)} met, {verdicts.count(False)} missed, {verdicts.count(None)} not measured")
    if args.out:
        with open(args.out, "w") as f:
            json.dump({"rounds": args.rounds, "rows": summaries, "failures": failures}, f, indent=1)
    for f in failures:
        print(f"FAILED {f}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
