#!/usr/bin/python3
"""What the stamps of stages and their histograms cost: CPU time of the members a put, with them and
without (make VARIANT=nostamps), in interleaved pairs at once on the same machine.

CPU time, not throughput: the disk and other work on the machine decide how fast puts go, but a put costs
the members what it costs. It is read from each process's own CPU clock, in nanoseconds. What moves it
most is how many puts share a batch, and how fast the machine is at the moment. So both clusters stand side by side,
and in one pair each is loaded several times, for a fraction of a second, in turns; only the ratio of a pair
counts. Where a cluster's memory lies moves it, too, so both are made anew a few times. What is told is the mean of the
ratios' logarithms without the lowest and highest fifth, and its interval is a bootstrap's.

What a row shows is worded by rule, of the interval and never of the figure alone: the limit is met when the
whole interval is under it, not met when the whole is at it or over, and else neither is shown. Fewer
than 20 pairs get no verdict: so few ratios leave the trimmed ends and the interval to chance.

Usage: stamps.py WITH-FOLDER WITHOUT-FOLDER [--pairs N] [--rows REGEX] [--limit PERCENT] [--out FILE.json]
Ends with status 0 when every row meets the limit, 1 when one does not or is not shown to, 2 without a verdict.
"""
import argparse, json, math, os, random, re, shutil, statistics, sys, tempfile, time
from beside_etcd import Cluster, h2load, load

ROWS = [  # name, connections, streams, puts a turn: few a batch, and many, where a put costs least
    ("put 16x1", 16, 1, 600),
    ("put 64x16", 64, 16, 4000),
]
TURNS = 6  # of each cluster, a pair
LIVES = 4  # of the clusters
VERDICT_PAIRS = 20
SETTLE_S = 0.3  # the flusher to LMDB runs behind the puts: its work counts, too


def cpu_s(process):
    """CPU time of all its threads, ended ones too: the process's clock, by the kernel's numbering."""
    return time.clock_gettime(~process.pid << 3 | 2)


def one_pair(clusters, number, connections, streams, count, folder):
    """CPU time a put of each cluster, us."""
    revisions = [c.revision() for c in clusters]
    time.sleep(SETTLE_S)
    before = [sum(map(cpu_s, c.processes)) for c in clusters]
    for turn in range(TURNS):
        order = clusters if (number + turn) % 2 == 0 else reversed(clusters)
        for c in order:
            h2load(c, "put", connections, streams, count, folder)
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


def measure_life(builds, rows, pairs, upto, folder):
    """Two clusters made for it; each row gets as many pairs as make up `upto`."""
    os.mkdir(folder)
    clusters = []
    try:
        for name, build in builds:
            clusters.append(Cluster(name, os.path.join(build, "kvd"), folder))
        for c in clusters:
            load(c, "put", 16, 4, 4000, folder)
        if not has_stamps(clusters[0]) or has_stamps(clusters[1]):
            raise SystemExit(f"{builds[0][1]} must have stamps and {builds[1][1]} none")
        for name, connections, streams, count in rows:
            while len(pairs[name]) < upto:
                pairs[name].append(one_pair(clusters, len(pairs[name]), connections, streams, count, folder))
    finally:
        for c in clusters:
            c.stop()


def tell(pairs, options):
    """Prints and keeps what the pairs show. The exit status."""
    rng = random.Random(options.seed)
    results, status = [], 0
    print(f"CPU time of three members a put, {options.pairs} pairs\n"
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
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--rows", default="")
    parser.add_argument("--limit", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out")
    options = parser.parse_args()
    if options.pairs < 2:
        sys.exit("an interval needs two pairs at least")
    missing = [t for t in ("etcdctl", "h2load") if not shutil.which(t)]
    if missing:
        sys.exit(f"the benchmark needs {', '.join(missing)}: deploy/deps.sh bench")
    folder = tempfile.mkdtemp(prefix="kvd-stamps.", dir=options.with_folder)
    builds = (("with", options.with_folder), ("without", options.without_folder))
    rows = [r for r in ROWS if re.search(options.rows, r[0])]
    pairs = {name: [] for name, *_ in rows}
    for life in range(LIVES):
        upto = options.pairs * (life + 1) // LIVES
        measure_life(builds, rows, pairs, upto, os.path.join(folder, str(life)))
        print(f"{upto} of {options.pairs} pairs", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    status = tell(pairs, options)
    sys.exit(status)


if __name__ == "__main__":
    main()
