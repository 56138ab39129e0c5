/* tests/runtime/test_idle_model.c: every interleaving of a small model of sched/idle.h, A to G, and of
 * the word in which a park and its ready meet. A step of the model is one access to shared memory;
 * a ring's tail is stored into a store buffer, as this CPU does. All reachable states are visited.
 * Each of the two second looks, the barrier, and the waker's second try is taken away in turn: the
 * search must then find work that lies there although a P is idle and nobody looks. */
#include "tests/runtime/interleavings.h"

/* ---- idle.h ---- */

enum {                        // rules that can be left out
    LOOK_AFTER_GIVING_UP = 1, // (F)
    LOOK_AFTER_FINDING = 2,   // by a spinner that stops
    BARRIER = 4,              // (B)
    SECOND_TRY = 8,           // (G)
};

enum pc {
    NOBODY, // an M that can still be started
    ASLEEP,
    RUNS,
    DONE, // nothing to do: RUNS keeps its P for ever
    SUBMITS,
    WAKE_BARRIER,
    WAKE_SEES_IDLE,
    WAKE_SEES_SPINNERS,
    WAKE_CLAIMS,
    WAKE_TAKES_P,
    WAKE_GIVES,
    WAKE_UNDOES,
    SEARCHES,
    BECOMES_SPINNER,
    SPINS,
    GIVES_UP,
    STOPS_SPINNING,
    LOOKS_AGAIN,
    RETAKES,
    LIES_DOWN,
    FOUND,
    LOOKS_BEHIND,
};

struct agent {
    uint8_t pc, then; // then: where waking returns to
    uint8_t spinning, was_spinning;
    uint8_t submits, buffered; // left to submit; stored, but not yet to be seen
};

struct scene {
    uint8_t is_state; // 1
    uint8_t work, idle_ps, spinners;
    struct agent agents[AGENTS];
    uint8_t pad[STATE_BYTES - 4 - AGENTS * sizeof(struct agent)];
};
_Static_assert(sizeof(struct scene) == STATE_BYTES, "a state is compared byte by byte");

static void drain(struct scene *s, struct agent *a)
{
    s->work += a->buffered;
    a->buffered = 0;
}

/* The P just taken goes to an M that sleeps, or to a new one; either searches as the spinner. False
 * when all Ms of the model are on their way to sleep: then this waits for one. */
static bool give_p(struct scene *s)
{
    for (int want = ASLEEP; want >= NOBODY; want--)
        for (int i = 0; i < AGENTS; i++)
            if (s->agents[i].pc == want) {
                s->agents[i] = (struct agent){.pc = SEARCHES, .spinning = 1};
                return true;
            }
    return false;
}

static bool step_wake(struct scene *s, struct agent *a, unsigned without)
{
    switch (a->pc) {
    case WAKE_BARRIER:
        if (!(without & BARRIER))
            drain(s, a); // (B)
        a->pc = WAKE_SEES_IDLE;
        return true;
    case WAKE_SEES_IDLE: // (C)
        a->pc = s->idle_ps ? WAKE_SEES_SPINNERS : a->then;
        return true;
    case WAKE_SEES_SPINNERS: // (C)
        a->pc = s->spinners ? a->then : WAKE_CLAIMS;
        return true;
    case WAKE_CLAIMS:
        drain(s, a); // a locked instruction
        a->pc = s->spinners ? a->then : WAKE_TAKES_P;
        s->spinners += a->pc == WAKE_TAKES_P;
        return true;
    case WAKE_TAKES_P:
        a->pc = s->idle_ps ? WAKE_GIVES : WAKE_UNDOES;
        s->idle_ps -= a->pc == WAKE_GIVES;
        return true;
    case WAKE_GIVES:
        if (!give_p(s))
            return false;
        a->pc = a->then;
        return true;
    case WAKE_UNDOES: // (G)
        s->spinners--;
        a->pc = without & SECOND_TRY ? a->then : WAKE_BARRIER;
        return true;
    default:
        return false;
    }
}

static bool take_work(struct scene *s)
{
    if (!s->work)
        return false;
    s->work--;
    return true;
}

static bool step_search(struct scene *s, struct agent *a, int choice, unsigned without)
{
    switch (a->pc) {
    case SEARCHES:
        a->pc = take_work(s) ? FOUND : a->spinning ? SPINS : BECOMES_SPINNER;
        return choice == 0;
    case BECOMES_SPINNER: // or does not care to
        if (choice == 0 && s->spinners == 0) {
            s->spinners = 1;
            a->spinning = 1;
            a->pc = SPINS;
            return true;
        }
        a->pc = GIVES_UP;
        return choice == 1;
    case SPINS:
        a->pc = take_work(s) ? FOUND : GIVES_UP;
        return choice == 0;
    case GIVES_UP: // (D)
        s->idle_ps++;
        a->was_spinning = a->spinning;
        a->pc = a->spinning ? STOPS_SPINNING : LOOKS_AGAIN;
        return choice == 0;
    case STOPS_SPINNING: // (D)
        s->spinners--;
        a->spinning = 0;
        a->pc = LOOKS_AGAIN;
        return choice == 0;
    case LOOKS_AGAIN: // (F)
        a->pc = s->work && !(without & LOOK_AFTER_GIVING_UP) ? RETAKES : LIES_DOWN;
        return choice == 0;
    case RETAKES:
        a->pc = s->idle_ps ? SEARCHES : LIES_DOWN;
        if (s->idle_ps) {
            s->idle_ps--;
            s->spinners += a->was_spinning;
            a->spinning = a->was_spinning;
        }
        return choice == 0;
    case LIES_DOWN:
        *a = (struct agent){.pc = ASLEEP};
        return choice == 0;
    case FOUND:
        if (a->spinning)
            s->spinners--;
        a->pc = a->spinning && !(without & LOOK_AFTER_FINDING) ? LOOKS_BEHIND : RUNS;
        a->spinning = 0;
        return choice == 0;
    case LOOKS_BEHIND:
        a->then = RUNS;
        a->pc = s->work ? WAKE_BARRIER : RUNS;
        return choice == 0;
    default:
        return false;
    }
}

static bool step_agent(struct scene *s, struct agent *a, int choice, unsigned without)
{
    if (choice == 1 && a->buffered) { // the buffer empties when it likes
        drain(s, a);
        return true;
    }
    if (a->pc == SUBMITS) {
        if (choice != 0)
            return false;
        if (a->submits == 0) {
            a->pc = DONE;
            return true;
        }
        a->submits--;
        a->buffered++; // (A)
        a->then = SUBMITS;
        a->pc = WAKE_BARRIER;
        return true;
    }
    if (choice == 0 && step_wake(s, a, without))
        return true;
    return step_search(s, a, choice, without);
}

/* Which M is which does not matter: states are kept in one order of their agents. */
static void sort_agents(struct scene *s)
{
    for (int i = 1; i < AGENTS; i++)
        for (int j = i; j > 0 && memcmp(&s->agents[j - 1], &s->agents[j], sizeof(struct agent)) < 0;
             j--) {
            struct agent other = s->agents[j];
            s->agents[j] = s->agents[j - 1];
            s->agents[j - 1] = other;
        }
}

static bool idle_step(void *state, int agent, int choice, unsigned without)
{
    struct scene *s = state;
    if (!step_agent(s, &s->agents[agent], choice, without))
        return false;
    sort_agents(s);
    return true;
}

static bool idle_is_good(const void *state, bool ended)
{
    const struct scene *s = state;
    int spinning = 0;
    for (int i = 0; i < AGENTS; i++) {
        const struct agent *a = &s->agents[i];
        spinning +=
            a->spinning || a->pc == WAKE_TAKES_P || a->pc == WAKE_GIVES || a->pc == WAKE_UNDOES;
    }
    if (spinning != s->spinners || s->spinners > AGENTS)
        return false;
    return !ended || s->work == 0 || s->idle_ps == 0;
}

static size_t all_states;

/* Some Ms that submit and then compute for ever, some that run out of work, some Ps that are idle. */
static bool nothing_is_lost(int submitters, int each, int searchers, int idle_ps, unsigned without)
{
    struct scene s = {.is_state = 1, .idle_ps = (uint8_t)idle_ps};
    int n = 0;
    for (int i = 0; i < submitters; i++)
        s.agents[n++] = (struct agent){.pc = SUBMITS, .submits = (uint8_t)each};
    for (int i = 0; i < searchers; i++)
        s.agents[n++] = (struct agent){.pc = SEARCHES};
    size_t states;
    sort_agents(&s);
    bool good = holds(&(struct model){idle_step, idle_is_good, 2, without}, &s, &states);
    all_states += states;
    return good;
}

static bool nothing_is_lost_anywhere(unsigned without)
{
    for (int submitters = 1; submitters <= 2; submitters++)
        for (int each = 1; each <= 3 - submitters; each++)
            for (int searchers = 0; searchers <= 2; searchers++)
                for (int idle_ps = 0; idle_ps <= 2; idle_ps++)
                    if (!nothing_is_lost(submitters, each, searchers, idle_ps, without))
                        return false;
    return true;
}

static void no_work_is_left_while_a_p_is_idle(void **state)
{
    (void)state;
    all_states = 0;
    assert_true(nothing_is_lost_anywhere(0));
    print_message("# %zu states\n", all_states);
    assert_true(all_states > 10000); // it did go somewhere
}

static void without_the_look_after_giving_up_work_is_lost(void **state)
{
    (void)state;
    assert_false(nothing_is_lost_anywhere(LOOK_AFTER_GIVING_UP));
}

static void without_the_look_of_a_spinner_that_found_work_is_lost(void **state)
{
    (void)state;
    assert_false(nothing_is_lost_anywhere(LOOK_AFTER_FINDING));
}

static void without_the_barrier_work_is_lost(void **state)
{
    (void)state;
    assert_false(nothing_is_lost_anywhere(BARRIER));
}

static void without_the_waker_s_second_try_work_is_lost(void **state)
{
    (void)state;
    assert_false(nothing_is_lost_anywhere(SECOND_TRY));
}

/* ---- gmp.h (A), (B): a park and its ready ---- */

enum {                         // what can be done wrong
    LOOKS_THEN_STORES = 1,     // ready: not one locked instruction
    QUEUES_BEFORE_LEAVING = 2, // the parker is to be seen as parked on its own stack
    FORGETS_THE_TOKEN = 4,     // park: does not look whether the ready came first
};

enum { WORD_NOT_PARKED, WORD_PARKED, WORD_WOKEN };
enum { GOES, LEAVES, ARRIVED, OFF, QUEUED }; // the goroutine
enum { READY, STORES, READY_DONE };          // its waker

struct meeting {
    uint8_t is_state;
    uint8_t word, goroutine, waker, seen, on_stack, queued, parks, readies;
    uint8_t pad[STATE_BYTES - 9];
};
_Static_assert(sizeof(struct meeting) == STATE_BYTES, "a state is compared byte by byte");

static bool step_goroutine(struct meeting *s, unsigned without)
{
    switch (s->goroutine) {
    case GOES: // parks, or runs once more
        if (s->queued) {
            s->queued--;
            s->on_stack++;
            return true;
        }
        if (s->parks == 0)
            return false;
        s->parks--;
        s->readies++; // it is published: one ready will come
        s->goroutine = without & QUEUES_BEFORE_LEAVING ? ARRIVED : LEAVES;
        return true;
    case LEAVES:
        s->on_stack--;
        s->goroutine = ARRIVED;
        return true;
    case ARRIVED: // (A)
        if (s->word == WORD_WOKEN && !(without & FORGETS_THE_TOKEN)) {
            s->word = WORD_NOT_PARKED;
            s->queued++;
            s->goroutine = GOES;
        } else {
            s->word = WORD_PARKED;
            s->goroutine = OFF;
        }
        return true;
    case OFF: // in nobody's hands, or in a queue, from which some M takes it
        if (!s->queued)
            return false;
        s->goroutine = GOES;
        return true;
    default:
        return false;
    }
}

static bool step_waker(struct meeting *s, unsigned without)
{
    switch (s->waker) {
    case READY:
        if (!s->readies)
            return false;
        s->readies--;
        s->seen = s->word;
        if (without & LOOKS_THEN_STORES) {
            s->waker = STORES;
            return true;
        }
        s->word = WORD_WOKEN; // (B)
        s->waker = READY_DONE;
        return true;
    case STORES:
        s->word = WORD_WOKEN;
        s->waker = READY_DONE;
        return true;
    case READY_DONE:
        if (s->seen == WORD_PARKED) {
            s->word = WORD_NOT_PARKED;
            s->queued++;
        }
        s->waker = READY;
        return true;
    default:
        return false;
    }
}

static bool park_step(void *state, int agent, int choice, unsigned without)
{
    (void)choice;
    if (agent > 1)
        return false;
    return agent == 0 ? step_goroutine(state, without) : step_waker(state, without);
}

static bool park_is_good(const void *state, bool ended)
{
    const struct meeting *s = state;
    if (s->on_stack > 1 || (s->queued && s->on_stack) || s->queued > 1)
        return false; // it would run twice
    return !ended || (s->goroutine == GOES && s->parks == 0 && s->on_stack == 1);
}

static bool every_park_ends_once(unsigned without)
{
    struct meeting s = {.is_state = 1, .on_stack = 1, .parks = 3};
    size_t states;
    return holds(&(struct model){park_step, park_is_good, 1, without}, &s, &states);
}

static void every_ready_ends_its_park_exactly_once(void **state)
{
    (void)state;
    assert_true(every_park_ends_once(0));
}

static void a_park_and_its_ready_need_each_of_their_rules(void **state)
{
    (void)state;
    assert_false(every_park_ends_once(LOOKS_THEN_STORES));
    assert_false(every_park_ends_once(QUEUES_BEFORE_LEAVING));
    assert_false(every_park_ends_once(FORGETS_THE_TOKEN));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_work_is_left_while_a_p_is_idle),
        cmocka_unit_test(without_the_look_after_giving_up_work_is_lost),
        cmocka_unit_test(without_the_look_of_a_spinner_that_found_work_is_lost),
        cmocka_unit_test(without_the_barrier_work_is_lost),
        cmocka_unit_test(without_the_waker_s_second_try_work_is_lost),
        cmocka_unit_test(every_ready_ends_its_park_exactly_once),
        cmocka_unit_test(a_park_and_its_ready_need_each_of_their_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
