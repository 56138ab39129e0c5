#!/usr/bin/python3
"""What the execution tracer writes is JSON of the form that trace viewers open, and tells a story that can have
happened: on each track slices do not overlap, goroutines run in one place at a time, arrows begin and end in slices."""
import collections, json, os, subprocess, sys, tempfile

root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
tool = os.path.join(root, os.environ.get("KVD_BUILD", "build"), "tests", "runtime", "tool_trace")
failed = 0


def check(name, ok, detail=""):
    global failed
    failed += not ok
    print(f"{'ok' if ok else 'not ok'} - {name}" + ("" if ok else f"\n#   {str(detail)[:500]}"))


def take(procs, bytes_max, rounds=200):
    with tempfile.NamedTemporaryFile(suffix=".json") as f:
        subprocess.run([tool, str(procs), str(bytes_max), str(rounds), f.name], check=True, timeout=200)
        return json.load(open(f.name))


def slices_of(trace):
    """(begin, end, name, how it ended) of each track, and what is wrong with them."""
    tracks, open_slices, wrong = collections.defaultdict(list), {}, []
    # Python's sort keeps the file's order among equal times, as viewers do.
    for e in sorted((e for e in trace["traceEvents"] if e["ph"] in "BE"), key=lambda e: e["ts"]):
        track = (e["pid"], e["tid"])
        if e["ph"] == "B":
            if track in open_slices:
                wrong.append(f"{track}: {e} begins inside {open_slices[track]}")
            open_slices[track] = e
        elif track not in open_slices:
            wrong.append(f"{track}: {e} ends nothing")
        else:
            b = open_slices.pop(track)
            if e["ts"] < b["ts"]:
                wrong.append(f"{track}: {b} ends before it begins")
            tracks[track].append((b["ts"], e["ts"], b["name"], e.get("args", {}).get("left")))
    wrong += [f"{b} never ends" for b in open_slices.values()]
    return tracks, wrong


def arrows_of(trace, tracks):
    """How many arrows there are, and those that do not begin and end inside a slice."""
    begun, count, wrong = {}, 0, []

    def inside(e):
        return any(b <= e["ts"] <= end for b, end, _, _ in tracks[(e["pid"], e["tid"])])

    for e in sorted((e for e in trace["traceEvents"] if e["ph"] in "sf"), key=lambda e: e["ts"]):
        if not inside(e):
            wrong.append(f"{e} is in no slice")
        if e["ph"] == "s":
            if e["id"] in begun:
                wrong.append(f"{e} begins twice")
            begun[e["id"]] = e
        elif e["id"] not in begun:
            wrong.append(f"{e} ends what did not begin")
        else:
            del begun[e["id"]]
            count += 1
    return count, wrong


def overlaps(tracks):
    """Goroutines that are on two Ps at once."""
    runs = collections.defaultdict(list)
    for (pid, _), slices in tracks.items():
        if pid == 1:
            for b, end, name, _ in slices:
                runs[name].append((b, end))
    wrong = []
    for name, times in runs.items():
        times.sort()
        wrong += [(name, a, b) for a, b in zip(times, times[1:]) if b[0] < a[1]]
    return wrong


def regions_are_paired(trace):
    depth = collections.Counter()
    for e in sorted((e for e in trace["traceEvents"] if e["ph"] in "be"), key=lambda e: e["ts"]):
        depth[(e["id"], e["name"])] += 1 if e["ph"] == "b" else -1
        if depth[(e["id"], e["name"])] < 0:
            return False
    return bool(depth) and not any(depth.values())


for procs in (1, 2, 4):
    on = f"with {procs} P{'s' if procs > 1 else ''}"
    trace = take(procs, 64 << 20)
    tracks, wrong = slices_of(trace)
    check(f"{on}, slices of a track follow each other", not wrong, wrong[:3])
    check(f"{on}, no end was without its begin", trace["otherData"]["repaired"] == 0, trace["otherData"])
    check(f"{on}, a goroutine is in one place at a time", not overlaps(tracks), overlaps(tracks)[:3])
    arrows, wrong = arrows_of(trace, tracks)
    check(f"{on}, arrows lead from slice to slice", arrows > 1000 and not wrong, (arrows, wrong[:3]))
    names = collections.Counter(name.split(" #")[0] for (pid, _), s in tracks.items() if pid == 1 for _, _, name, _ in s)
    left = collections.Counter(why for (pid, _), s in tracks.items() if pid == 1 for _, _, _, why in s)
    check(f"{on}, every goroutine is there by its name",
          names["child"] >= 300 and names["ping"] >= 4 and names["pong"] >= 4 and names["spinner"] >= 2, names)
    check(f"{on}, each slice says why it ended",
          all(left[w] for w in ("exit", "chan receive", "sleep", "yield", "blocking call")) and left["exit"] >= 311
          and not left["?"], left)
    threads = collections.Counter(name.split(":")[0] for (pid, _), s in tracks.items() if pid == 2 for _, _, name, _ in s)
    check(f"{on}, threads show their blocking calls and waits",
          threads["blocking call"] == 3 and threads["waits for events"] > 0, threads)
    check(f"{on}, regions of the program are paired", regions_are_paired(trace))
    marks = [e for e in trace["traceEvents"] if e["ph"] == "i" and e["name"] == "woke up"]
    check(f"{on}, marks of the program are there", len(marks) == 3, marks)
    check(f"{on}, tracks have names",
          {e["args"]["name"] for e in trace["traceEvents"] if e["ph"] == "M" and e["pid"] == 1} >= {f"P{i}" for i in range(procs)})
    check(f"{on}, queues are counted",
          any(e["ph"] == "C" and e["args"]["goroutines"] > 0 for e in trace["traceEvents"]))

if not os.environ.get("KVD_BUILD", "").count("tsan"):
    left = collections.Counter(why for s in slices_of(take(1, 64 << 20))[0].values() for _, _, _, why in s)
    check("a computation beside others is seen to be preempted", any("preempted" in str(w) for w in left), left)

trace = take(2, 1 << 20, 5000)
tracks, wrong = slices_of(trace)
check("a recording that used up its bytes says so", trace["otherData"]["full"], trace["otherData"])
check("and is whole up to there", not wrong and trace["otherData"]["repaired"] == 0, wrong[:3])
check("and kept to its bytes", 0 < trace["otherData"]["events"] * 32 <= 1 << 20, trace["otherData"])
sys.exit(1 if failed else 0)
