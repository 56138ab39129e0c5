/* inspect/symbols.h: names of functions of this program, from its own file. Static functions too,
 * as long as the file was not stripped. Takes no lock, asks no allocator. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct symbols {
    const uint8_t *file; // mapped; NULL: no names
    size_t size;
    uintptr_t base; // where the program lies, less where its file says
    const void *table;
    size_t count;
    const char *names;
    size_t names_size;
};

void symbols_open(struct symbols *s); // without success: every look-up finds nothing
void symbols_close(struct symbols *s);
/* The function that holds pc, and how far into it. NULL: not one of the program's own. */
const char *symbols_find(const struct symbols *s, uintptr_t pc, uintptr_t *offset_out);
