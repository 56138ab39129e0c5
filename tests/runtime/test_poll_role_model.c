/* tests/runtime/test_poll_role_model.c: every interleaving of a small model of the poll role of
 * sched/idle.h: one thread waits for the first timer of all, who arms an earlier one breaks its wait (T1,
 * T2), sysmon stands in, and who leaves the role sees that somebody takes it. Stores are kept back in
 * buffers, as this CPU does. Each rule is taken away in turn: the search must then find an idle P beside
 * which nobody waits, or not for the first timer. */
#include "tests/runtime/interleavings.h"

enum {                       // rules that can be left out
    BARRIER_OF_ARMER = 1,    // (T1)
    BARRIER_OF_HOLDER = 2,   // (T2)
    ANYTHING_FIRST = 4,      // "wake me for anything", before the heaps are read
    WAKES_STICK = 8,         // one that comes before the wait is not forgotten
    BARRIER_AT_THE_END = 16, // of the role, before looking who is idle
    SYSMON_WAKES = 32,       // when it leaves the role and a P is idle
    HAND_OFF_LOOKS = 64,     // whether anybody has the role
};

/* Moments. No time passes: at the end somebody must wait for the first of them. */
enum { NO_WAIT, SYSMON_ENDS, SOON, LATER, FOREVER };

enum pc {
    NOBODY,
    ASLEEP,   // an M without a P
    COMPUTES, // for ever, with its P; or is gone
    ARMS,
    ARMER_PASSES,
    ARMER_LOOKS,
    ARMER_BREAKS,
    HANDS_OFF,
    HANDER_LOOKS,
    GIVES_UP,
    TAKES_ROLE,
    SAYS_ANYTHING,
    HOLDER_PASSES,
    READS_HEAPS,
    SAYS_UNTIL,
    WAITS,
    CLEARS,
    SAYS_NOTHING,
    FREES_ROLE,
    TAKES_P,
    LIES_DOWN,
    LOOKS_WHO_IS_IDLE,
    WAKES_ONE,
    RESTS, // sysmon
};

struct agent {
    uint8_t pc, then;                        // then: where arming or waking leads to
    uint8_t moment;                          // that it arms, or waits until
    uint8_t has_timer, has_until, has_freed; // stored, and not to be seen yet; has_until: + 1
    uint8_t is_sysmon, rounds;               // rounds: how often it stands in
};

struct scene {
    uint8_t is_state; // 1
    uint8_t first;    // timer
    uint8_t until;    // poll_until_ns
    uint8_t taken, woken, idle_ps;
    uint8_t events;    // descriptors that may yet become ready
    uint8_t has_looks; // sysmon sees that nobody has the role
    struct agent agents[AGENTS];
};
_Static_assert(sizeof(struct scene) == STATE_BYTES, "a state is compared byte by byte");

static void drain(struct scene *s, struct agent *a)
{
    if (a->has_timer && a->has_timer < s->first)
        s->first = a->has_timer;
    if (a->has_until)
        s->until = a->has_until - 1;
    if (a->has_freed)
        s->taken = false;
    a->has_timer = a->has_until = a->has_freed = 0;
}

static struct agent *agent_that(struct scene *s, int pc)
{
    for (int i = 0; i < AGENTS; i++)
        if (s->agents[i].pc == pc)
            return &s->agents[i];
    return NULL;
}

static bool arm(struct scene *s, struct agent *a, unsigned without)
{
    switch (a->pc) {
    case ARMS:
        a->has_timer = a->moment;
        a->pc = ARMER_PASSES;
        return true;
    case ARMER_PASSES:
        if (!(without & BARRIER_OF_ARMER))
            drain(s, a);
        a->pc = ARMER_LOOKS;
        return true;
    case ARMER_LOOKS:
        a->pc = a->moment < s->until ? ARMER_BREAKS : a->then;
        return true;
    case ARMER_BREAKS:
        drain(s, a); // a system call
        s->woken |= !(without & WAKES_STICK) || agent_that(s, WAITS);
        a->pc = a->then;
        return true;
    default:
        return false;
    }
}

static bool hand_off(struct scene *s, struct agent *a, unsigned without)
{
    switch (a->pc) {
    case HANDS_OFF:
        drain(s, a);
        s->idle_ps++;
        a->pc = HANDER_LOOKS;
        return true;
    case HANDER_LOOKS:
        a->then = COMPUTES;
        a->pc = s->taken || (without & HAND_OFF_LOOKS) ? COMPUTES : WAKES_ONE;
        return true;
    case WAKES_ONE: { // which finds nothing but the role
        struct agent *sleeper = agent_that(s, ASLEEP);
        drain(s, a);
        if (s->idle_ps > 0 && !sleeper)
            return false; // all are on their way to sleep, or one waits
        if (s->idle_ps > 0) {
            s->idle_ps--;
            sleeper->pc = GIVES_UP;
        }
        a->pc = a->then;
        return true;
    }
    default:
        return false;
    }
}

static bool take_role(struct scene *s, struct agent *a, unsigned without)
{
    switch (a->pc) {
    case GIVES_UP: // (D), (E)
        drain(s, a);
        s->idle_ps++;
        a->pc = TAKES_ROLE;
        return true;
    case TAKES_ROLE:
        a->pc = s->taken ? LIES_DOWN : SAYS_ANYTHING;
        s->taken = true;
        return true;
    case SAYS_ANYTHING:
        if (!(without & ANYTHING_FIRST))
            a->has_until = FOREVER + 1;
        a->pc = HOLDER_PASSES;
        return true;
    case HOLDER_PASSES:
        if (!(without & BARRIER_OF_HOLDER))
            drain(s, a);
        a->pc = READS_HEAPS;
        return true;
    case READS_HEAPS:
        a->moment = a->is_sysmon ? SYSMON_ENDS : s->first;
        a->pc = SAYS_UNTIL;
        return true;
    case SAYS_UNTIL:
        drain(s, a);
        s->until = a->moment;
        a->pc = WAITS;
        return true;
    case CLEARS:
        s->woken = false;
        a->pc = SAYS_ANYTHING;
        return true;
    default:
        return false;
    }
}

/* Woken, or (choice 2) there is something to run, or sysmon's time is over. */
static bool wait_for_events(struct scene *s, struct agent *a, int choice)
{
    if (choice == 0 && s->woken) {
        s->woken = false;
        a->pc = CLEARS;
        return true;
    }
    if (choice != 2 || (!a->is_sysmon && s->events == 0))
        return false;
    s->events -= !a->is_sysmon;
    a->pc = SAYS_NOTHING;
    return true;
}

static bool leave_role(struct scene *s, struct agent *a, int choice, unsigned without)
{
    switch (a->pc) {
    case SAYS_NOTHING:
        s->until = NO_WAIT;
        a->pc = FREES_ROLE;
        return choice == 0;
    case FREES_ROLE:
        a->has_freed = true;
        if (!(without & BARRIER_AT_THE_END))
            drain(s, a);
        a->pc = a->is_sysmon ? LOOKS_WHO_IS_IDLE : TAKES_P;
        return choice == 0;
    case TAKES_P: // and runs for ever, or (choice 2) runs out of work again
        if (s->idle_ps == 0) {
            a->pc = LIES_DOWN;
            return choice == 0;
        }
        drain(s, a);
        s->idle_ps--;
        a->pc = choice == 0 ? COMPUTES : GIVES_UP;
        return choice != 1;
    case LIES_DOWN:
        drain(s, a);
        *a = (struct agent){.pc = ASLEEP};
        return choice == 0;
    case LOOKS_WHO_IS_IDLE:
        a->then = RESTS;
        a->pc = s->idle_ps && !(without & SYSMON_WAKES) ? WAKES_ONE : RESTS;
        return choice == 0;
    case RESTS: // stands in, or (choice 2) sees that somebody should have the role
        a->then = RESTS;
        drain(s, a);
        if (s->taken)
            return false;
        if (choice == 0 && a->rounds > 0) {
            a->rounds--;
            s->taken = true;
            a->pc = SAYS_ANYTHING;
            return true;
        }
        a->pc = WAKES_ONE;
        return choice == 2 && s->has_looks && s->idle_ps > 0;
    default:
        return false;
    }
}

static bool step_agent(struct scene *s, struct agent *a, int choice, unsigned without)
{
    if (choice == 1) { // the buffer empties when it likes
        bool has_some = a->has_timer || a->has_until || a->has_freed;
        drain(s, a);
        return has_some;
    }
    if (a->pc == WAITS)
        return wait_for_events(s, a, choice);
    if (choice == 0 && (arm(s, a, without) || hand_off(s, a, without) || take_role(s, a, without)))
        return true;
    return leave_role(s, a, choice, without);
}

/* Which thread is which does not matter, nor what it does not need any more: of such states one is
 * visited. */
static void make_alike(struct scene *s)
{
    for (int i = 0; i < AGENTS; i++) {
        struct agent *a = &s->agents[i];
        if (a->pc == COMPUTES || a->pc == ASLEEP || (a->pc >= GIVES_UP && !a->is_sysmon))
            a->then = 0;
        if (a->pc != WAITS && a->pc != SAYS_UNTIL && (a->pc < ARMS || a->pc > ARMER_LOOKS))
            a->moment = 0;
    }
    for (int i = 1; i < AGENTS; i++)
        for (int j = i; j > 0 && memcmp(&s->agents[j - 1], &s->agents[j], sizeof(struct agent)) < 0;
             j--) {
            struct agent other = s->agents[j];
            s->agents[j] = s->agents[j - 1];
            s->agents[j - 1] = other;
        }
}

static bool role_step(void *state, int agent, int choice, unsigned without)
{
    struct scene *s = state;
    if (!step_agent(s, &s->agents[agent], choice, without))
        return false;
    make_alike(s);
    return true;
}

static bool role_is_good(const void *state, bool ended)
{
    const struct scene *s = state;
    int holders = 0;
    bool waits_well = false;
    for (int i = 0; i < AGENTS; i++) {
        const struct agent *a = &s->agents[i];
        holders += a->pc >= SAYS_ANYTHING && a->pc <= FREES_ROLE;
        waits_well |= a->pc == WAITS && a->moment <= s->first;
    }
    if (holders > 1)
        return false;
    return !ended || s->idle_ps == 0 || waits_well;
}

struct cast {
    uint8_t armers, first, then; // the first arms at that moment; then compute, or give up
    uint8_t searchers, handers, sleepers;
    uint8_t idle_ps, events, rounds; // rounds: of sysmon
    bool has_looks;
};

static size_t all_states;

static bool every_timer_is_waited_for(const struct cast *c, unsigned without)
{
    struct scene s = {.is_state = 1, .first = FOREVER, .has_looks = c->has_looks};
    int n = 0;
    s.idle_ps = c->idle_ps;
    s.events = c->events;
    for (int i = 0; i < c->armers; i++)
        s.agents[n++] = (struct agent){
            .pc = ARMS, .then = c->then, .moment = (c->first == SOON) == (i == 0) ? SOON : LATER};
    for (int i = 0; i < c->searchers; i++)
        s.agents[n++] = (struct agent){.pc = GIVES_UP};
    for (int i = 0; i < c->handers; i++)
        s.agents[n++] = (struct agent){.pc = HANDS_OFF};
    for (int i = 0; i < c->sleepers; i++)
        s.agents[n++] = (struct agent){.pc = ASLEEP};
    s.agents[n++] = (struct agent){.pc = RESTS, .is_sysmon = 1, .rounds = c->rounds};
    size_t states;
    bool good = holds(&(struct model){role_step, role_is_good, 3, without}, &s, &states);
    all_states += states;
    return good;
}

/* With all that may happen, sysmon's looks included. */
static bool every_timer_is_waited_for_at_last(unsigned without)
{
    for (uint8_t armers = 1; armers <= 2; armers++)
        for (uint8_t first = SOON; first <= (armers == 1 ? LATER : SOON); first++) // two: one each
            for (uint8_t then = 0; then < 2; then++)
                for (uint8_t idle_ps = 0; idle_ps < 2; idle_ps++) {
                    struct cast c = {.armers = armers,
                                     .first = first,
                                     .then = then ? GIVES_UP : COMPUTES,
                                     .searchers = 1,
                                     .sleepers = 1,
                                     .idle_ps = idle_ps,
                                     .events = 1,
                                     .rounds = 1,
                                     .has_looks = true};
                    if (!every_timer_is_waited_for(&c, without))
                        return false;
                }
    return true;
}

/* Where those who leave must see to it themselves. */
static bool every_timer_is_waited_for_at_once(unsigned without)
{
    static const struct cast casts[] = {
        // Ps become idle, one after the other, while sysmon stands in
        {.armers = 1, .first = SOON, .then = COMPUTES, .searchers = 1, .sleepers = 1, .rounds = 2},
        {.armers = 1, .first = SOON, .then = GIVES_UP, .searchers = 1, .sleepers = 1, .rounds = 2},
        // a P is handed off while the holder leaves for want of one
        {.armers = 1, .first = SOON, .then = HANDS_OFF, .searchers = 0, .sleepers = 1},
        {.armers = 1, .first = LATER, .then = COMPUTES, .handers = 1, .sleepers = 1},
    };
    for (size_t i = 0; i < sizeof(casts) / sizeof(casts[0]); i++)
        if (!every_timer_is_waited_for(&casts[i], without))
            return false;
    return true;
}

/* The holder waits, all Ps are busy; an event makes it leave, and there is no P for it. */
static bool a_hand_off_meets_who_leaves(unsigned without)
{
    struct scene s = {.is_state = 1, .first = LATER, .until = LATER, .taken = true, .events = 1};
    s.agents[0] = (struct agent){.pc = WAITS, .moment = LATER};
    s.agents[1] = (struct agent){.pc = HANDS_OFF};
    s.agents[2] = (struct agent){.pc = ASLEEP};
    size_t states;
    bool good = holds(&(struct model){role_step, role_is_good, 3, without}, &s, &states);
    all_states += states;
    return good;
}

static void no_timer_is_left_without_somebody_who_waits_for_it(void **state)
{
    (void)state;
    all_states = 0;
    assert_true(every_timer_is_waited_for_at_last(0));
    assert_true(every_timer_is_waited_for_at_once(0));
    assert_true(a_hand_off_meets_who_leaves(0));
    print_message("# %zu states\n", all_states);
    assert_true(all_states > 10000); // it did go somewhere
}

static void without_either_barrier_a_timer_is_slept_through(void **state)
{
    (void)state;
    assert_false(every_timer_is_waited_for_at_last(BARRIER_OF_ARMER));
    assert_false(every_timer_is_waited_for_at_last(BARRIER_OF_HOLDER));
}

static void who_waits_says_so_before_it_looks(void **state)
{
    (void)state;
    assert_false(every_timer_is_waited_for_at_last(ANYTHING_FIRST));
}

static void a_wake_that_comes_before_the_wait_sticks(void **state)
{
    (void)state;
    assert_false(every_timer_is_waited_for_at_last(WAKES_STICK));
}

static void who_leaves_the_role_sees_that_somebody_takes_it(void **state)
{
    (void)state;
    assert_false(every_timer_is_waited_for_at_once(SYSMON_WAKES));
    assert_false(every_timer_is_waited_for_at_once(BARRIER_AT_THE_END));
}

static void who_hands_a_p_off_looks_at_the_role(void **state)
{
    (void)state;
    assert_false(a_hand_off_meets_who_leaves(HAND_OFF_LOOKS));
    assert_false(a_hand_off_meets_who_leaves(BARRIER_AT_THE_END));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_timer_is_left_without_somebody_who_waits_for_it),
        cmocka_unit_test(without_either_barrier_a_timer_is_slept_through),
        cmocka_unit_test(who_waits_says_so_before_it_looks),
        cmocka_unit_test(a_wake_that_comes_before_the_wait_sticks),
        cmocka_unit_test(who_leaves_the_role_sees_that_somebody_takes_it),
        cmocka_unit_test(who_hands_a_p_off_looks_at_the_role),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
