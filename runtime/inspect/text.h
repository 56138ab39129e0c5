/* inspect/text.h: goroutines and their stacks as text: for the dump and the leak detector. */
#pragma once
#include "rt/alloc.h"
#include "runtime/inspect/glance.h"
#include "runtime/inspect/symbols.h"

/* Where the text goes: a string, or a descriptor without malloc or stdio. */
struct sink {
    struct rt_string *string;
    int fd; // without a string
    size_t used;
    char buffer[2048];
};

void sink_flush(struct sink *s);
/* At most 511 bytes a call. */
void sink_put(struct sink *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The names of the program's functions, and those that were asked for lately: stacks are much alike. */
struct names {
    struct symbols symbols;
    struct {
        uintptr_t pc; // 0: nothing yet
        const char *name;
        uintptr_t offset;
    } found[32];
};
void names_open(struct names *n);
void names_close(struct names *n);

/* "running", "chan receive", "blocking call". */
const char *text_state(const struct glance *at);
/* Lines of "    function+0x1c", and "  created at ...". */
void text_stack(struct sink *s, struct names *names, const struct glance *at);

enum { TEXT_LINE_STACK = 128 };
/* The stack as one line, innermost first, cut after TEXT_LINE_STACK characters: "rt_chan_recv <
 * serve < main_loop". Of the runtime's own frames at its head only the outermost is named. */
void text_stack_line(struct names *names, const struct glance *at, char out[TEXT_LINE_STACK + 1]);
