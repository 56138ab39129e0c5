/* tests/runtime/test_solo_ready_model.c: every interleaving of a solo P with the spiller. proc.c's short
 * way readies a goroutine by a plain store; what keeps spill.c from taking away the stack of one that
 * runs is the barrier that it has every thread pass (spill.h, (C)). Stores are kept back in buffers, in
 * order, as this CPU does. Each rule is taken away in turn: the search must then find a goroutine that
 * runs while its stack is a copy. */
#include "tests/runtime/interleavings.h"

enum { // rules
    MEMBARRIER = 1,
    PLAIN_READY = 2,   // left out: a locked instruction, as with many Ps
    LOOK_AT_AWAY = 4,  // before it runs
    LOCK_OF_SLOT = 8,  // before its stack is put back
    CLAIM_BY_WORD = 16 // the spiller asks whether it is parked
};

enum { PARKING, AWAY, LOCK, WORDS };
enum { STORES_MAX = 6 };
enum { NOT_PARKED, PARKED };

/* What one CPU has stored and others do not see yet, oldest first. */
struct buffer {
    uint8_t count;
    uint8_t word[STORES_MAX], value[STORES_MAX];
};

enum {
    P_PARKS,
    P_READIES,
    P_LOOKS,
    P_LOCKS,
    P_RESTORES,
    P_CLEARS,
    P_UNLOCKS,
    P_SWITCHES,
    P_RUNS,
    P_ENDS
};
enum { S_LOCKS, S_MARKS, S_PASSES, S_CLAIMS, S_SPILLS, S_GIVES_BACK, S_UNLOCKS };

struct stack_scene {
    uint8_t is_state; // 1
    uint8_t memory[WORDS];
    uint8_t copied, running;     // of the goroutine
    uint8_t p, parks;            // the solo P: its pc; how often the goroutine still parks
    uint8_t spiller, tries, was; // its pc; how often it still tries
    struct buffer stores[2];     // of either
    uint8_t pad[STATE_BYTES - 11 - 2 * sizeof(struct buffer)];
};
_Static_assert(sizeof(struct stack_scene) == STATE_BYTES, "a state is compared byte by byte");

enum { OF_P, OF_SPILLER };

static bool see_one_store(struct stack_scene *s, int who)
{
    struct buffer *b = &s->stores[who];
    if (b->count == 0)
        return false;
    s->memory[b->word[0]] = b->value[0];
    b->count--;
    for (int i = 0; i < STORES_MAX; i++) { // no old bytes: equal states must look equal
        bool is_there = i < b->count;
        b->word[i] = is_there ? b->word[i + 1] : 0;
        b->value[i] = is_there ? b->value[i + 1] : 0;
    }
    return true;
}

static void see_all_stores(struct stack_scene *s, int who)
{
    while (see_one_store(s, who))
        ;
}

static void store(struct stack_scene *s, int who, uint8_t word, uint8_t value)
{
    struct buffer *b = &s->stores[who];
    if (b->count == STORES_MAX)
        see_one_store(s, who); // there is no room
    b->word[b->count] = word;
    b->value[b->count++] = value;
}

static uint8_t load(const struct stack_scene *s, int who, uint8_t word)
{
    const struct buffer *b = &s->stores[who];
    for (int i = b->count; i-- > 0;)
        if (b->word[i] == word)
            return b->value[i];
    return s->memory[word];
}

static bool take_lock(struct stack_scene *s, int who)
{
    see_all_stores(s, who);
    bool was_free = !s->memory[LOCK];
    s->memory[LOCK] = true;
    return was_free;
}

/* The goroutine parks, is readied by another one on the same P, and runs again. */
static bool step_p(struct stack_scene *s, unsigned without)
{
    switch (s->p) {
    case P_PARKS:
        s->running = false;
        s->parks--;
        store(s, OF_P, PARKING, PARKED);
        s->p = P_READIES;
        return true;
    case P_READIES:
        if (without & PLAIN_READY)
            see_all_stores(s, OF_P);
        store(s, OF_P, PARKING, NOT_PARKED);
        if (without & PLAIN_READY)
            see_all_stores(s, OF_P);
        s->p = P_LOOKS;
        return true;
    case P_LOOKS:
        s->p = load(s, OF_P, AWAY) && !(without & LOOK_AT_AWAY) ? P_LOCKS : P_SWITCHES;
        return true;
    case P_LOCKS:
        s->p = P_RESTORES;
        return take_lock(s, OF_P) || (without & LOCK_OF_SLOT);
    case P_RESTORES:
        s->copied = false;
        s->p = P_CLEARS;
        return true;
    case P_CLEARS:
        store(s, OF_P, AWAY, false);
        s->p = P_UNLOCKS;
        return true;
    case P_UNLOCKS:
        store(s, OF_P, LOCK, false);
        s->p = P_SWITCHES;
        return true;
    case P_SWITCHES:
        s->running = true;
        s->p = P_RUNS;
        return true;
    case P_RUNS:
        s->p = s->parks > 0 ? P_PARKS : P_ENDS;
        return true;
    default:
        return false;
    }
}

static bool step_spiller(struct stack_scene *s, unsigned without)
{
    switch (s->spiller) {
    case S_LOCKS:
        if (s->tries == 0)
            return false;
        s->tries--;
        s->spiller = S_MARKS;
        return take_lock(s, OF_SPILLER);
    case S_MARKS:
        if (s->copied) {
            s->spiller = S_UNLOCKS;
            return true;
        }
        s->was = load(s, OF_SPILLER, AWAY);
        store(s, OF_SPILLER, AWAY, true);
        s->spiller = S_PASSES;
        return true;
    case S_PASSES: // and has the other one pass
        if (!(without & MEMBARRIER)) {
            see_all_stores(s, OF_SPILLER);
            see_all_stores(s, OF_P);
        }
        s->spiller = S_CLAIMS;
        return true;
    case S_CLAIMS: // (C), a locked instruction
        see_all_stores(s, OF_SPILLER);
        s->spiller =
            s->memory[PARKING] == PARKED || (without & CLAIM_BY_WORD) ? S_SPILLS : S_GIVES_BACK;
        return true;
    case S_SPILLS:
        s->copied = true;
        s->spiller = S_UNLOCKS;
        return true;
    case S_GIVES_BACK:
        store(s, OF_SPILLER, AWAY, s->was);
        s->spiller = S_UNLOCKS;
        return true;
    case S_UNLOCKS:
        store(s, OF_SPILLER, LOCK, false);
        s->spiller = S_LOCKS;
        s->was = 0;
        return true;
    default:
        return false;
    }
}

static bool stack_step(void *state, int agent, int choice, unsigned without)
{
    if (agent > OF_SPILLER)
        return false;
    if (choice == 1)
        return see_one_store(state, agent);
    return agent == OF_P ? step_p(state, without) : step_spiller(state, without);
}

static bool stack_is_good(const void *state, bool ended)
{
    const struct stack_scene *s = state;
    if (s->running && s->copied)
        return false; // it runs on a stack that is not there
    return !ended || (s->p == P_ENDS && s->tries == 0 && !s->memory[LOCK]);
}

static bool nobody_runs_without_its_stack(unsigned without)
{
    struct stack_scene s = {.is_state = 1, .running = true, .p = P_RUNS, .parks = 3, .tries = 3};
    size_t states;
    return holds(&(struct model){stack_step, stack_is_good, 2, without}, &s, &states);
}

static void a_solo_p_s_plain_ready_is_safe_from_the_spiller(void **state)
{
    (void)state;
    assert_true(nobody_runs_without_its_stack(0));
}

static void the_barrier_is_for_the_plain_store_alone(void **state)
{
    (void)state;
    assert_false(nobody_runs_without_its_stack(MEMBARRIER));
    assert_true(nobody_runs_without_its_stack(MEMBARRIER | PLAIN_READY));
}

static void a_spill_and_a_turn_need_each_of_their_rules(void **state)
{
    (void)state;
    assert_false(nobody_runs_without_its_stack(LOOK_AT_AWAY));
    assert_false(nobody_runs_without_its_stack(LOCK_OF_SLOT));
    assert_false(nobody_runs_without_its_stack(CLAIM_BY_WORD));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_solo_p_s_plain_ready_is_safe_from_the_spiller),
        cmocka_unit_test(the_barrier_is_for_the_plain_store_alone),
        cmocka_unit_test(a_spill_and_a_turn_need_each_of_their_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
