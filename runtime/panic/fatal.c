/* panic/fatal.c: the one way to die: a line, the goroutine dump, abort. A failed assertion comes
 * here too, by our own __assert_fail, which the linker prefers to libc's.
 *
 * Several threads may die at once, and the dump itself may fail on a broken process. The first
 * thread prints; another one waits for its abort; the same one coming back aborts at once. */
#include "runtime/panic/fatal.h"
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LINE_BYTES = 1024 };

void (*rt_fatal_hook)(int fd);
static _Atomic long dying_tid; // 0, or the thread that prints

static void write_all(const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, text, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; // nobody listens any more; dying goes on
        text += n;
        len -= (size_t)n;
    }
}

void fatal_die(const char *line)
{
    long self = syscall(SYS_gettid), first = 0;
    if (!atomic_compare_exchange_strong(&dying_tid, &first, self)) {
        if (first == self)
            abort();
        for (;;)
            pause();
    }
    write_all(line, strlen(line));
    write_all("\n", 1);
    if (rt_fatal_hook)
        rt_fatal_hook(STDERR_FILENO);
    abort();
}

void rt_fatal(const char *format, ...)
{
    char line[LINE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    fatal_die(line);
}

/* What assert() calls. Takes the place of libc's, so that the dump follows the line. */
void __assert_fail(const char *condition, const char *file, unsigned line, const char *function)
{
    rt_fatal("%s:%u: %s: assertion failed: %s", file, line, function, condition);
}
