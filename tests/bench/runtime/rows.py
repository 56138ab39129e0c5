"""The table of `make bench-runtime`. README.md says what the fields mean. Aims are those that the runtime
was built to; a row without one is for information."""
from dataclasses import dataclass, field


@dataclass
class AtMost:
    """Ours divided by theirs must not be more than this."""
    ratio: float
    of: str = "go"


@dataclass
class AtLeast:
    ratio: float
    of: str = "go"


@dataclass
class Below:
    """Our own figure, in the row's unit."""
    value: float


@dataclass
class Above:
    value: float


@dataclass
class Row:
    name: str
    unit: str
    ours: str
    figure: str
    go: str = None
    others: dict = field(default_factory=dict)      # name -> command
    others_env: dict = field(default_factory=dict)  # name -> settings of that one
    procs: int = None
    cpus: str = None
    env: dict = field(default_factory=dict)
    aims: list = field(default_factory=list)
    go_figure: str = None  # when Go's program gives it another name
    timeout_s: int = 120   # of one command
    rounds: int = None     # no more than so many: it takes minutes, and hardly varies


def both(name, unit, command, figure, **more):
    """Ours and Go's have the same name and arguments."""
    return Row(name, unit, "{bin}/" + command, figure, go="{go}/" + command, **more)


LIBRARIES = "/usr/lib/x86_64-linux-gnu/"
PRELOADS = {"mimalloc": {"LD_PRELOAD": LIBRARIES + "libmimalloc.so.2"},
            "jemalloc": {"LD_PRELOAD": LIBRARIES + "libjemalloc.so.2"}}
MALLOCS = {name: "{bin}/alloc_malloc own 1" for name in ("glibc", "mimalloc", "jemalloc")}
MALLOCS["one lock"] = "{bin}/alloc_onelock own 1"
MALLOCS_16 = {name: command.replace("own 1", "own 16") for name, command in MALLOCS.items()}

PARKED_TIMEOUT_S = 500  # five GB come and go, and stacks are put away at a pace that leaves the CPUs to others
LEAST_SERVED = Above(80)  # per cent of the mean: nobody waits while others are served twice


def echo(name, unit, figure, arguments, aims, **more):
    """The same load on ours (on the default poller and on io_uring), Go's and bare epoll in C: with one
    thread, which leaves the load a CPU of its own, and with two, as ours and Go's have."""
    load = "{bin}/echo_load " + arguments + " "
    return Row(name, unit, load + "{bin}/echo_serve", figure, go=load + "{go}/echo_serve",
               others={"epoll in C": load + "{bin}/echo_raw", "the same, 2 threads": load + "{bin}/echo_raw 2",
                       "io_uring": load + "{bin}/echo_serve"},
               others_env={"io_uring": {"KVD_POLLER": "uring"}}, aims=aims, **more)


ROWS = [
    # ---- goroutines ----
    both("spawn + exit, one P", "ns", "goroutines spawn", "spawn", procs=1, aims=[AtMost(1 / 5)]),
    both("spawn + exit, two P", "ns", "goroutines spawn", "spawn", procs=2),
    both("yield among 2, one P", "ns", "goroutines yield 2", "yield", procs=1, aims=[AtMost(1 / 5)]),
    both("yield among 1,000, one P", "ns", "goroutines yield 1000", "yield", procs=1, aims=[AtMost(1 / 5)]),

    # ---- a million goroutines that wait on a channel ----
    *[both(f"a million parked{words}, {what}", unit, f"parked {form} 1000000", figure, procs=2, aims=aims,
           timeout_s=PARKED_TIMEOUT_S, rounds=rounds)
      for words, form, most, rounds in (("", "plain", 1.6, None), (", spilled", "spilled", 0.4, 1))
      for what, figure, unit, aims in (("resident each", "resident", "B", [AtMost(most)]),
                                       ("starting one", "create", "ns", []),
                                       ("waking one", "wake", "ns", []))
      if (form, figure) != ("spilled", "wake")],

    # ---- channels and select ----
    both("unbuffered round trip, one P", "ns", "channels pingpong", "roundtrip", procs=1, aims=[AtMost(1 / 5)]),
    both("unbuffered round trip, two P", "ns", "channels pingpong", "roundtrip", procs=2, aims=[AtMost(1 / 4)]),
    both("channel of 100, an item, one P", "ns", "channels buffered", "item", procs=1, aims=[AtMost(1 / 3)]),
    both("channel of 100, an item, two P", "ns", "channels buffered", "item", procs=2, aims=[AtMost(1 / 3)]),
    both("channel of 1, by one goroutine", "ns", "channels alone", "item", procs=1),
    both("select of 4, one ready", "ns", "channels select_ready", "select", procs=1, aims=[AtMost(1 / 3)]),
    both("select of 4, blocking", "ns", "channels select_blocking", "select", procs=1, aims=[AtMost(1 / 3)]),
    both("select of 4, none ready, no wait", "ns", "channels select_default", "select", procs=1),

    # ---- mutex ----
    both("mutex, alone", "ns", "mutexes alone", "mutex", procs=1, aims=[AtMost(1 / 1.5)]),
    both("mutex, two goroutines on two P", "ns", "mutexes contended", "mutex", procs=2),
    both("mutex, two goroutines on one P", "ns", "mutexes contended", "mutex", procs=1),

    # ---- timers ----
    both("a million sleepers, starting one", "ns", "timers sleepers 1000000", "create", procs=2),
    both("a million sleepers, resident each", "B", "timers sleepers 1000000", "resident", procs=2),
    both("a million timers, arming one", "ns", "timers arm 1000000", "start", procs=1),
    both("a million timers, stopping one", "ns", "timers arm 1000000", "stop", procs=1),
    both("1 ms sleep, late, idle, p50", "us", "timers late 1000", "late_p50", procs=2, aims=[AtMost(1 / 2)]),
    both("1 ms sleep, late, idle, p99", "us", "timers late 1000", "late_p99", procs=2),
    both("100 us sleep, late, idle, p50", "us", "timers late 100", "late_p50", procs=2, aims=[AtMost(1 / 8)]),
    both("100 us sleep, late, idle, p99", "us", "timers late 100", "late_p99", procs=2),

    # ---- preemption ----
    both("10 ms tick beside a hog, one P, late p50", "us", "hogs tick", "late_p50", procs=1, aims=[AtMost(1 / 20)]),
    both("10 ms tick beside a hog, one P, late p99", "us", "hogs tick", "late_p99", procs=1, aims=[AtMost(1 / 3)]),
    both("10 ms tick beside hogs, two P, late p50", "us", "hogs tick", "late_p50", procs=2, aims=[AtMost(1 / 20)]),
    both("10 ms tick beside hogs, two P, late p99", "us", "hogs tick", "late_p99", procs=2, aims=[AtMost(1 / 3)]),
    both("the article's program, sleeper runs at", "ms", "hogs article", "asleep", procs=1, aims=[Below(11)]),
    both("same, not yet asleep when main computes", "ms", "hogs article", "unstarted", procs=1),

    # ---- calls that block ----
    both("blocked read, the next one runs after, p50", "us", "blocking handoff", "handoff_p50", procs=1),
    both("blocked read, the next one runs after, p99", "us", "blocking handoff", "handoff_p99", procs=1),
    both("a call that may block, added to getppid", "ns", "blocking call", "added", procs=1),

    # ---- defer ----
    both("1,000 defers, 8 in a function", "us", "defers few", "thousand", procs=1, aims=[AtMost(1)]),
    both("1,000 defers, in a loop", "us", "defers loop", "thousand", procs=1,
         others={"Go's open-coded": "{go}/defers few", "a linked list": "{bin}/defers list"},
         aims=[AtMost(1, of="Go's open-coded")]),
    both("panic, caught", "ns", "defers panic", "panic", procs=1),

    # ---- the managed heap: 200 MB live, two goroutines churning ----
    *[row
      for mode, word in (("hybrid", "hybrid"), ("dijkstra", "Dijkstra"), ("stopped", "one stop"))
      for row in (
          both(f"1 ms sleep, late, beside the collector ({word}), p50", "us", f"gc {mode}", "late_p50", procs=2,
               aims=[AtMost(1 / 10)] if mode == "hybrid" else []),
          both(f"1 ms sleep, late, beside the collector ({word}), p99", "us", f"gc {mode}", "late_p99", procs=2,
               aims=[AtMost(1 / 10)] if mode == "hybrid" else []),
          both(f"stop of the world ({word}), p99", "us", f"gc {mode}", "pause_p99", procs=2),
          both(f"stop of the world ({word}), longest", "us", f"gc {mode}", "pause_max", procs=2),
          both(f"nodes made ({word})", "M/s", f"gc {mode}", "nodes", procs=2),
          both(f"resident ({word})", "MB", f"gc {mode}", "rss", procs=2))],
    Row("one P held back by the collector (hybrid), p99", "us", "{bin}/gc hybrid", "hold_p99", procs=2),
    Row("one P held back by the collector (hybrid), longest", "us", "{bin}/gc hybrid", "hold_max", procs=2),

    # ---- allocation ----
    *[Row(f"allocated and freed, {words}, one", "ns", "{bin}/alloc own 1", figure, go="{go}/alloc own 1", procs=2,
          others=MALLOCS, others_env=PRELOADS, aims=[AtMost(1, of=best)])
      for words, figure, best in (("16 B", "b16", "mimalloc"), ("64 B", "b64", "mimalloc"),
                                  ("1 KiB", "b1024", "mimalloc"), ("16 KiB", "b16384", "jemalloc"))],
    # 16 goroutines on two Ps here and in Go; of the others 16 threads, on all CPUs that there are.
    *[Row(f"allocated and freed, {words}, by 16 on 2 P", "ns", "{bin}/alloc own 16", figure, go="{go}/alloc own 16", procs=2,
          others=MALLOCS_16, others_env=PRELOADS, aims=[AtMost(1 / times, of="one lock")])
      for words, figure, times in (("16 B", "b16", 10), ("64 B", "b64", 10), ("1 KiB", "b1024", 10),
                                   ("16 KiB", "b16384", 2.5))],
    *[Row(f"allocated by 16 on 2 P, freed by another, {words}", "ns", "{bin}/alloc passed 16", figure, procs=2,
          others={name: c.replace("own", "passed") for name, c in MALLOCS_16.items()}, others_env=PRELOADS)
      for words, figure in (("16 B", "b16"), ("1 KiB", "b1024"), ("16 KiB", "b16384"))],

    # ---- sockets and files ----
    *[row for n in (50, 1000, 9000) for row in (
        echo(f"echo 64 B, {n:,} connections", "req/s", "requests", str(n),
             [AtLeast(0.9, of="epoll in C"), AtLeast(1)]),
        echo(f"echo 64 B, {n:,} connections, p99", "us", "latency_p99", str(n), []),
        echo(f"echo 64 B, {n:,} connections, the server's CPU time", "ns", "server_cpu", str(n), []))],
    echo("echo 64 B, 50 connections, one P", "req/s", "requests", "50",
         [AtLeast(0.9, of="epoll in C"), AtLeast(1)], procs=1),
    echo("echo 64 B, 1,000 connections, the least served", "%", "fewest", "1000", [LEAST_SERVED]),
    echo("echo 64 B, 1,000 connections, the most served", "%", "most", "1000", []),
    echo("echo 64 B, 2,000 connections, one P, the least served", "%", "fewest", "2000", [LEAST_SERVED], procs=1),
    *[echo(f"echo 64 B, one connection, {words}, {what}", unit, figure, arguments, aims, **setup)
      for words, arguments, setup in (("one core", "1", {"cpus": "0"}), ("two cores", "1 cpus=0,1", {"procs": 1}))
      for what, unit, figure, aims in (("p50", "us", "latency_p50", [AtMost(1.5, of="epoll in C")]),
                                       ("p99", "us", "latency_p99", []),
                                       ("rate", "req/s", "requests", []))],
    Row("durable write of 4 KiB, p50", "us", "{bin}/durable alone", "durable_p50",
        others={"through io_uring": "{bin}/durable alone"},
        others_env={"through io_uring": {"KVD_POLLER": "uring"}}),
    Row("durable write of 4 KiB beside busy goroutines, p50", "us", "{bin}/durable beside", "durable_p50",
        others={"through io_uring": "{bin}/durable beside"},
        others_env={"through io_uring": {"KVD_POLLER": "uring"}}),
]
