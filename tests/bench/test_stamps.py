#!/usr/bin/python3
"""The words about what stamps cost follow the interval, not the figure: no cluster is started."""
import os, random, sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import stamps

failed = 0


def check(name, ok, detail=""):
    global failed
    failed += not ok
    print(f"{'ok' if ok else 'not ok'} - {name}" + ("" if ok else f"\n#   {detail}"))


ROWS = [  # when, low, high, pairs: the words begin so, exit status
    ("the whole interval is under the limit", -0.4, 1.99, 20, "met: at most 1.99 %", 0),
    ("its upper end is the limit", 0.2, 2.0, 20, "not shown: up to 2.00 %", 1),
    ("it straddles the limit", 1.0, 3.5, 40, "not shown: up to 3.50 %", 1),
    ("it is over the limit", 2.0, 3.5, 40, "not met: at least 2.00 %", 1),
    ("there are too few pairs", 0.1, 0.2, 19, "no verdict: 19 pairs", 2),
]
for when, low, high, pairs, words, status in ROWS:
    got = stamps.verdict(low, high, 2.0, pairs)
    check(f"when {when}: {words}", got[0].startswith(words) and got[1] == status, str(got))
rng = random.Random(1)
low, high = stamps.interval([1.03, 0.99, 1.01, 1.02] * 6, rng)
check("an interval lies around its figure", low < stamps.middle([1.03, 0.99, 1.01, 1.02] * 6) < high, f"{low} {high}")
sys.exit(1 if failed else 0)
