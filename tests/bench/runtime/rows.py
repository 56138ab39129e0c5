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


def both(name, unit, command, figure, **more):
    """Ours and Go's have the same name and arguments."""
    return Row(name, unit, "{bin}/" + command, figure, go="{go}/" + command, **more)


ROWS = [
    # ---- goroutines ----
    both("spawn + exit, one P", "ns", "goroutines spawn", "spawn", procs=1, aims=[AtMost(1 / 5)]),
    both("spawn + exit, two P", "ns", "goroutines spawn", "spawn", procs=2),
    both("yield among 2, one P", "ns", "goroutines yield 2", "yield", procs=1, aims=[AtMost(1 / 5)]),
    both("yield among 1,000, one P", "ns", "goroutines yield 1000", "yield", procs=1, aims=[AtMost(1 / 5)]),
]
