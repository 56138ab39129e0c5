#!/usr/bin/python3
"""What the stamps of stages and their histograms cost: CPU time of the members a put, with them and
without (make VARIANT=nostamps), in interleaved pairs at once on the same machine.

CPU time, not throughput: the disk and other work on the machine decide how fast puts go, but a put costs the
members what it costs. It is read from each process's own CPU clock, in nanoseconds. What moves it most is how
many puts share a batch, how fast the machine is at the moment, and where a cluster's memory and files happen to
lie. So the puts come at a rate that both can keep up with: with as many as they can, the slower has smaller
batches for being slower, and pays twice. And each pair is two clusters made for it, in memory when there is room
(then no disk decides how many puts share a batch, and a put costs less, so that the stamps' part of it is
greater), each loaded a few times for a fraction of a second, in turns; only the ratio of a pair counts. What is
told is the mean of the ratios' logarithms without the lowest and highest fifth, and its interval is a
bootstrap's.

What a row shows is worded by rule, of the interval and never of the figure alone: the limit is met when the
whole interval is under it, not met when the whole is at it or over, and else neither is shown. Fewer
than 20 pairs get no verdict: so few ratios leave the trimmed ends and the interval to chance.

Usage: stamps.py WITH-FOLDER WITHOUT-FOLDER [--pairs N] [--rows REGEX] [--limit PERCENT] [--folder DIR] [--out FILE.json]
Ends with status 0 when every row meets the limit, 1 when one does not or is not shown to, 2 without a verdict.
"""
import argparse, json, math, os, random, re, shutil, statistics, sys, tempfile, time
from beside_etcd import Cluster, h2load, load

ROWS = [  # name, connections, streams, puts a second, puts a turn: few a batch, and many, where a put costs least
    ("1,600/s", 16, 16, 1600, 640),
    ("6,400/s", 64, 16, 6400, 2560),
]
TURNS = 6  # of each cluster, a pair
MEMORY, MEMORY_BYTES = "/dev/shm", 2 << 30  # where a pair lives, and what it may take there
VERDICT_PAIRS = 20
SETTLE_S = 0.3  # the flusher to LMDB runs behind the puts: its work counts, too


def cpu_s(process):
    """CPU time of all its threads, ended ones too: the process's clock, by the kernel's numbering."""
    return time.clock_gettime(~process.pid << 3 | 2)


def load_in_turns(clusters, connections, streams, rate, count, folder):
    """CPU time a put of each cluster, us."""
    revisions = [c.revision() for c in clusters]
    time.sleep(SETTLE_S)
    before = [sum(map(cpu_s, c.processes)) for c in clusters]
    for turn in range(TURNS):
        for c in clusters if turn % 2 == 0 else reversed(clusters):
            h2load(c, "put", connections, streams, count, folder, rate)
    time.sleep(SETTLE_S)
    costs = [(sum(map(cpu_s, c.processes)) - b) / (TURNS * count) * 1e6 for c, b in zip(clusters, before)]
    for c, revision in zip(clusters, revisions):
        if c.revision() - revision != TURNS * count:
            raise SystemExit(f"{c.name}: {TURNS * count} puts raised the revision by {c.revision() - revision}")
    return costs


def middle(ratios):
    """What was added, in percent: the trimmed mean of the logarithms, which one wild pair does not move."""
    logs = sorted(math.log(r) for r in ratios)
    cut = len(logs) // 5
    return (math.exp(statistics.fmean(logs[cut:len(logs) - cut])) - 1) * 100


def interval(ratios, rng, rounds=4000):
    """95 % of the middles of resamples; widened for few values as the expanded percentile does."""
    n = len(ratios)
    middles = sorted(middle(rng.choices(ratios, k=n)) for _ in range(rounds))
    tail = statistics.NormalDist().cdf(statistics.NormalDist().inv_cdf(0.025) * (n / (n - 1)) ** 0.5)
    return middles[int(tail * rounds)], middles[min(rounds - 1, int((1 - tail) * rounds))]


def verdict(low, high, limit, pairs):
    """(words, exit status) for one row's interval."""
    if pairs < VERDICT_PAIRS:
        return f"no verdict: {pairs} pairs, and it takes {VERDICT_PAIRS}", 2
    if high < limit:
        return f"met: at most {high:.2f} %, under {limit:g} %", 0
    if low >= limit:
        return f"not met: at least {low:.2f} %, {limit:g} % or more", 1
    return f"not shown: up to {high:.2f} %, so that {limit:g} % or more is possible", 1


def has_stamps(cluster):
    import urllib.request
    text = urllib.request.urlopen(f"http://{cluster.leader}/metrics").read().decode()
    found = re.search(r'kvd_put_stage_seconds_count\{stage="total"\} (\d+)', text)
    return bool(found and int(found[1]))


def one_pair(builds, rows, number, folder):
    """Two clusters made for it: the costs (with, without) by row."""
    clusters = [None, None]
    try:
        for i in (0, 1) if number % 2 == 0 else (1, 0):
            name, build = builds[i]
            clusters[i] = Cluster(name, os.path.join(build, "kvd"), folder)
        for c in clusters:
            load(c, "put", 16, 4, 4000, folder)
        if not has_stamps(clusters[0]) or has_stamps(clusters[1]):
            raise SystemExit(f"{builds[0][1]} must have stamps and {builds[1][1]} none")
        return {name: load_in_turns(clusters, *load_of_it, folder) for name, *load_of_it in rows}
    finally:
        for c in filter(None, clusters):
            c.stop()


def tell(pairs, options, base):
    """Prints and keeps what the pairs show. The exit status."""
    rng = random.Random(options.seed)
    results, status = [], 0
    print(f"CPU time of three members a put, {options.pairs} pairs of clusters in {base}\n"
          f"{'row':12} {'with, us':>9} {'without':>9} {'added':>8} {'95 % interval':>18}   a pair: lowest tenth, median, highest tenth, %")
    for name, costs in pairs.items():
        a, b = zip(*costs)
        ratios = [x / y for x, y in costs]
        added, (low, high) = middle(ratios), interval(ratios, rng)
        words, ends_with = verdict(low, high, options.limit, options.pairs)
        status = max(status, ends_with)
        results.append({"row": name, "with_us": a, "without_us": b, "added_percent": added, "low": low, "high": high,
                        "verdict": words})
        tenths = [(q - 1) * 100 for q in statistics.quantiles(ratios, n=10)]
        print(f"{name:12} {statistics.median(a):9.2f} {statistics.median(b):9.2f} {added:7.2f}% {f'{low:+.2f} to {high:+.2f} %':>18}   "
              f"{tenths[0]:+.1f} {tenths[4]:+.1f} {tenths[8]:+.1f}\n{'':12} {words}")
    if options.out:
        json.dump({"rows": results, "pairs": options.pairs}, open(options.out, "w"), indent=1)
    return status


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("with_folder")
    parser.add_argument("without_folder")
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--rows", default="")
    parser.add_argument("--limit", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", help="where the clusters lie")
    parser.add_argument("--out")
    options = parser.parse_args()
    if options.pairs < 2:
        sys.exit("an interval needs two pairs at least")
    missing = [t for t in ("etcdctl", "h2load") if not shutil.which(t)]
    if missing:
        sys.exit(f"the benchmark needs {', '.join(missing)}: deploy/deps.sh bench")
    base = options.folder or (MEMORY if shutil.disk_usage(MEMORY).free > MEMORY_BYTES else options.with_folder)
    builds = (("with", options.with_folder), ("without", options.without_folder))
    rows = [r for r in ROWS if re.search(options.rows, r[0])]
    pairs = {name: [] for name, *_ in rows}
    for number in range(options.pairs):
        with tempfile.TemporaryDirectory(prefix="kvd-stamps.", dir=base) as folder:
            for name, costs in one_pair(builds, rows, number, folder).items():
                pairs[name].append(costs)
        print(f"pair {number + 1} of {options.pairs}: " + ", ".join(f"{name} {(c[-1][0] / c[-1][1] - 1) * 100:+.1f} %" for name, c in pairs.items()),
              file=sys.stderr, flush=True)
    sys.exit(tell(pairs, options, base))


if __name__ == "__main__":
    main()
