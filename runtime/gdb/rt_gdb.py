"""Goroutines in gdb, in a live process or a core file:

    (gdb) source rt_gdb.py
    (gdb) info goroutines            all: id, state, wait reason, name, where it waits
    (gdb) goroutine 17               one of them, with its stack
    (gdb) goroutine all              each with its stack

A goroutine that runs is a thread of the process, and its stack is that thread's. One that does not is walked by
frame pointers from where it was saved; if its stack was spilled, in the copy. The program needs symbols of its
own (it is built with -g)."""

import gdb

FRAMES_MAX = 64
SAVED_RBP, SAVED_PC = 0, 1  # words above a saved stack pointer: sched/switch_amd64.S
RESTING_RBP = 1             # of one in rt_blocking: struct stop_registers of sched/stop.h
STATES = ["free", "runnable", "running", "parked", "blocking call"]
WORD = 8


class Unknown(Exception):
    """The process is not one of ours, or has not started goroutines."""


def static(file, name):
    """A static variable of one file of the runtime."""
    try:
        return gdb.parse_and_eval(f"'runtime/sched/{file}'::{name}")
    except gdb.error as e:
        raise Unknown(f"no {name} of runtime/sched/{file}: was the runtime built with -g? ({e})") from e


def number(value):
    return int(value.cast(gdb.lookup_type("unsigned long")))


def text(pointer):
    try:
        return pointer.string() if number(pointer) else "?"
    except (gdb.error, UnicodeDecodeError):
        return "?"


class Goroutine:
    def __init__(self, slot, g):
        self.slot, self.g = slot, g
        self.id = number(g["id"])
        self.status = number(g["status"])
        self.name = text(g["name"])
        self.sp = number(g["sp"])

    def state(self):
        if self.status == 3:
            reason = gdb.parse_and_eval(f"(enum park_reason){number(self.g['reason'])}")
            return str(reason).replace("PARK_", "").lower().replace("_", " ")
        return STATES[self.status] if self.status < len(STATES) else "?"

    def thread(self):
        """Of one that runs; None when it is on none."""
        if self.status not in (2, 4):
            return None
        m = self.g["m"]
        tid = number(m["tid"]) if number(m) else 0
        for thread in gdb.selected_inferior().threads():
            if tid in (thread.ptid[1], thread.ptid[2]):
                return thread
        return None

    def word(self, at):
        """Of its stack, wherever that is kept."""
        copy, length = spilled(self.slot)
        if copy and self.sp <= at < self.sp + length:
            at = copy + (at - self.sp)
        return int.from_bytes(gdb.selected_inferior().read_memory(at, WORD).tobytes(), "little")

    def pcs(self):
        """Return addresses, innermost first, of one that is off its thread."""
        low = number(gdb.parse_and_eval("stack_arena"))
        size = constant("STACK_SLOT")
        low += self.slot * size
        high = low + size
        try:
            if self.status == 4:
                frame = self.word(self.sp + WORD * RESTING_RBP)
            else:
                yield self.word(self.sp + WORD * SAVED_PC)
                frame = self.word(self.sp + WORD * SAVED_RBP)
            for _ in range(FRAMES_MAX):
                if not low <= frame <= high - 2 * WORD or frame % WORD:
                    return
                above, pc = self.word(frame), self.word(frame + WORD)
                if not pc:
                    return
                yield pc
                if above <= frame:
                    return
                frame = above
        except gdb.MemoryError:
            return


def constant(name):
    return number(gdb.parse_and_eval(f"(unsigned long){name}"))


def spilled(slot):
    """Address and length of the copy that slot's stack lies in; 0 and 0: it is in its place."""
    try:
        slots = static("spill.c", "spill")["slots"]
        if not number(slots):
            return 0, 0
        return number(slots[slot]["copy"]), number(slots[slot]["bytes"])
    except Unknown:
        return 0, 0


def goroutines():
    table = gdb.parse_and_eval("stack_table")
    if not number(table):
        raise Unknown("no goroutines: rt_run was not called yet, or has returned")
    for slot in range(number(static("stack.c", "arena")["used"])):
        g = table[slot]
        if number(g["status"]) != 0:
            yield Goroutine(slot, g)


def place(pc):
    """"function (file:line)" of a return address."""
    at = pc - 1  # inside the call
    block = gdb.block_for_pc(at)
    while block and not block.function:
        block = block.superblock
    line = gdb.find_pc_line(at)
    words = block.function.name if block else gdb.execute(f"info symbol {at:#x}", to_string=True).strip()
    if line.symtab:
        words += f" ({line.symtab.filename}:{line.line})"
    return words


def is_runtime(pc):
    """Of the frames that are at the head of whoever waits."""
    line = gdb.find_pc_line(pc - 1)
    file = line.symtab.filename.removeprefix("./") if line.symtab else "runtime/"
    return file.startswith("runtime/") and not file.startswith("runtime/examples/")


def where(goroutine):
    if goroutine.thread():
        return f"thread {goroutine.thread().num}"
    pcs = list(goroutine.pcs())
    for pc in pcs:
        if not is_runtime(pc):
            return place(pc)
    return place(pcs[0]) if pcs else "?"


def show(goroutine):
    print(f"goroutine {goroutine.id} [{goroutine.state()}]: {goroutine.name}")
    if goroutine.thread() and goroutine.status == 2:
        chosen = gdb.selected_thread()
        goroutine.thread().switch()
        gdb.execute("backtrace")
        if chosen:
            chosen.switch()
    else:
        for i, pc in enumerate(goroutine.pcs()):
            print(f"#{i:<2} {pc:#018x} in {place(pc)}")
    created = number(goroutine.g["created_at"])
    if created:
        print(f"    created at {place(created)}")
    print()


class InfoGoroutines(gdb.Command):
    """List the goroutines: id, state or wait reason, name, place."""

    def __init__(self):
        super().__init__("info goroutines", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        count = 0
        try:
            for goroutine in goroutines():
                away = " spilled" if spilled(goroutine.slot)[0] else ""
                print(f"{goroutine.id:>8}  {goroutine.state() + away:<24} {goroutine.name:<24} {where(goroutine)}")
                count += 1
        except Unknown as e:
            raise gdb.GdbError(str(e)) from e
        print(f"{count} goroutines")


class ShowGoroutine(gdb.Command):
    """Show a goroutine's stack: goroutine ID, or goroutine all."""

    def __init__(self):
        super().__init__("goroutine", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        words = gdb.string_to_argv(argument)
        if len(words) != 1 or not (words[0] == "all" or words[0].isdigit()):
            raise gdb.GdbError("goroutine takes an id (info goroutines lists them), or all")
        shown = 0
        try:
            for goroutine in goroutines():
                if words[0] == "all" or goroutine.id == int(words[0]):
                    show(goroutine)
                    shown += 1
        except Unknown as e:
            raise gdb.GdbError(str(e)) from e
        if not shown:
            raise gdb.GdbError(f"there is no goroutine {words[0]}; info goroutines lists them")


InfoGoroutines()
ShowGoroutine()
