/* tests/runtime/interleavings.h: visit every state that a small model can reach, in whatever order its
 * agents take their steps. A state is a struct of STATE_BYTES, compared byte by byte, whose first byte
 * is 1; a step is one access to memory that agents share. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { AGENTS = 7, STATE_BYTES = 64 };

struct model {
    /* Do one step of `agent`, in its `choice`-th way; false: it has no such step. */
    bool (*step)(void *state, int agent, int choice, unsigned without);
    /* Is this state, in which nobody has a step (`ended`) or any other, as it must be? */
    bool (*is_good)(const void *state, bool ended);
    int choices;
    unsigned without; // which rules are left out
};

struct search {
    uint8_t (*seen)[STATE_BYTES]; // open addressing; a first byte of 0 is a free place
    uint8_t (*todo)[STATE_BYTES];
    size_t cap, count, todo_count;
};

static uint64_t hash(const uint8_t *state)
{
    uint64_t h = 14695981039346656037u;
    for (int i = 0; i < STATE_BYTES; i++)
        h = (h ^ state[i]) * 1099511628211u;
    return h ^ h >> 29;
}

static void visit(struct search *s, const uint8_t *state)
{
    size_t at = hash(state) & (s->cap - 1);
    for (; s->seen[at][0]; at = (at + 1) & (s->cap - 1))
        if (memcmp(s->seen[at], state, STATE_BYTES) == 0)
            return;
    assert_true(++s->count < s->cap / 2);
    memcpy(s->seen[at], state, STATE_BYTES);
    memcpy(s->todo[s->todo_count++], state, STATE_BYTES);
}

/* True when every reachable state is good. */
static bool holds(const struct model *m, const void *first, size_t *states_out)
{
    struct search s = {.cap = 1 << 19};
    bool good = true;
    s.seen = calloc(s.cap, STATE_BYTES);
    s.todo = calloc(s.cap, STATE_BYTES);
    assert_non_null(s.seen);
    assert_non_null(s.todo);
    visit(&s, first);
    while (s.todo_count > 0 && good) {
        uint8_t from[STATE_BYTES], to[STATE_BYTES];
        bool ended = true;
        memcpy(from, s.todo[--s.todo_count], STATE_BYTES);
        for (int agent = 0; agent < AGENTS; agent++)
            for (int choice = 0; choice < m->choices; choice++) {
                memcpy(to, from, STATE_BYTES);
                if (m->step(to, agent, choice, m->without)) {
                    ended = false;
                    visit(&s, to);
                }
            }
        good = m->is_good(from, ended);
    }
    free(s.seen);
    free(s.todo);
    *states_out = s.count;
    return good;
}
