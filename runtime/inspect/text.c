/* inspect/text.c: no malloc and no stdio unless the sink is a string. */
#include "runtime/inspect/text.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void sink_flush(struct sink *s)
{
    size_t at = 0;
    while (!s->string && at < s->used) {
        ssize_t n = write(s->fd, s->buffer + at, s->used - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break; // nobody reads it
        at += (size_t)n;
    }
    if (s->string)
        rt_string_append(s->string, s->buffer, s->used);
    s->used = 0;
}

void sink_put(struct sink *s, const char *format, ...)
{
    enum { LINE_MAX_BYTES = 512 };
    if (sizeof(s->buffer) - s->used < LINE_MAX_BYTES)
        sink_flush(s);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(s->buffer + s->used, LINE_MAX_BYTES, format, args);
    va_end(args);
    if (n > 0)
        s->used += (size_t)n < LINE_MAX_BYTES ? (size_t)n : LINE_MAX_BYTES - 1;
}

static const char *const reason_names[PARK_REASONS] = {
    [PARK_NONE] = "nothing",
    [PARK_YIELD] = "yield",
    [PARK_SLEEP] = "sleep",
    [PARK_CHAN_SEND] = "chan send",
    [PARK_CHAN_RECV] = "chan receive",
    [PARK_SELECT] = "select",
    [PARK_MUTEX] = "mutex",
    [PARK_RWMUTEX] = "rwmutex",
    [PARK_COND] = "cond",
    [PARK_WAITGROUP] = "waitgroup",
    [PARK_SEM] = "semaphore",
    [PARK_NOTE] = "note",
    [PARK_MAILBOX] = "mailbox",
    [PARK_READ] = "read",
    [PARK_WRITE] = "write",
    [PARK_CONN] = "connection",
    [PARK_FILE] = "file",
    [PARK_BLOCKING] = "blocking call's turn",
    [PARK_FOREVER] = "wait",
};

const char *park_reason_name(enum park_reason reason)
{
    return (unsigned)reason < PARK_REASONS ? reason_names[reason] : "?";
}

const char *text_state(const struct glance *at)
{
    switch (at->status) {
    case G_RUNNABLE:
        return "runnable";
    case G_PARKED:
        return park_reason_name(at->reason);
    case G_BLOCKING:
        return "blocking call";
    case G_RUNNING:
    case G_FREE:
        break;
    }
    return "running";
}

void names_open(struct names *n)
{
    memset(n, 0, sizeof(*n));
    symbols_open(&n->symbols);
}

void names_close(struct names *n) { symbols_close(&n->symbols); }

static const char *names_find(struct names *n, uintptr_t pc, uintptr_t *offset_out)
{
    size_t i = (pc ^ pc >> 6) % (sizeof(n->found) / sizeof(n->found[0]));
    if (n->found[i].pc != pc) {
        n->found[i].name = symbols_find(&n->symbols, pc, &n->found[i].offset);
        n->found[i].pc = pc;
    }
    *offset_out = n->found[i].offset;
    return n->found[i].name;
}

static void put_place(struct sink *s, struct names *names, const char *before, uintptr_t pc)
{
    uintptr_t offset;
    const char *name = names_find(names, pc, &offset);
    if (name)
        sink_put(s, "%s%s+0x%lx\n", before, name, (unsigned long)offset);
    else
        sink_put(s, "%s0x%lx\n", before, (unsigned long)pc);
}

void text_stack(struct sink *s, struct names *names, const struct glance *at)
{
    for (int i = 0; i < at->frames; i++)
        put_place(s, names, "    ", at->pcs[i]);
    if (at->cut)
        sink_put(s, "    ...\n");
    if (at->created_at)
        put_place(s, names, "  created at ", at->created_at);
}

void text_stack_line(struct names *names, const struct glance *at, char out[TEXT_LINE_STACK + 1])
{
    size_t used = 0;
    out[0] = 0;
    for (int i = at->head; i < at->frames && used < TEXT_LINE_STACK; i++) {
        uintptr_t offset;
        const char *name = names_find(names, at->pcs[i], &offset);
        int n = name ? snprintf(out + used, TEXT_LINE_STACK + 1 - used, "%s%s",
                                i > at->head ? " < " : "", name)
                     : snprintf(out + used, TEXT_LINE_STACK + 1 - used, "%s0x%lx",
                                i > at->head ? " < " : "", (unsigned long)at->pcs[i]);
        used += n > 0 ? (size_t)n : 0;
    }
}
