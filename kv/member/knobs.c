/* kv/member/knobs.c: see knobs.h. */
#include "kv/member/knobs.h"
#include "kv/member/parts.h"
#include <assert.h>
#include <inttypes.h>
#include <rt/go.h>
#include <rt/parse.h>
#include <stdio.h>

enum unit { UNIT_COUNT, UNIT_BYTES, UNIT_DURATION, UNIT_SWITCH };
static const char *const unit_names[] = {"", "bytes", "duration", "switch"};

static void set_max_inflight(struct member *m, int64_t value);
static void set_sync_timeout(struct member *m, int64_t value);
static void set_group_commit(struct member *m, int64_t value);
static void set_preempt(struct member *m, int64_t value);
static void set_slice(struct member *m, int64_t value);
static void set_slow_request(struct member *m, int64_t value);
static void set_fsync_delay(struct member *m, int64_t value);
static void set_network_delay(struct member *m, int64_t value);
static void set_burn(struct member *m, int64_t value);

#define DELAY_MAX (10 * RT_SECOND)

static const struct knob_row {
    const char *name;
    enum unit unit;
    int64_t least, most;
    bool zero; // 0 is allowed, too
    bool debug;
    void (*set)(struct member *m, int64_t value); // lock held
    const char *text;
} rows[KNOBS] = {
    [KNOB_MAX_INFLIGHT_MSGS] = {"max-inflight-msgs", UNIT_COUNT, 1, 65536, false, false,
                                set_max_inflight,
                                "append messages in flight to a follower; 1: stop and wait"},
    [KNOB_SYNC_TIMEOUT] = {"sync-timeout", UNIT_DURATION, 100000, 60 * RT_SECOND, true, false,
                           set_sync_timeout,
                           "0: group commit; else a sync for every entry, held to this deadline"},
    [KNOB_GROUP_COMMIT_BYTES] = {"group-commit-bytes", UNIT_BYTES, WAL_BLOCK_BYTES, WAL_BATCH_BYTES,
                                 false, false, set_group_commit,
                                 "most bytes of the log that one sync makes durable"},
    [KNOB_GROUP_COMMIT_ENTRIES] = {"group-commit-entries", UNIT_COUNT, 1, 65536, true, false,
                                   set_group_commit,
                                   "most entries that one sync makes durable; 0: as many as wait"},
    [KNOB_PREEMPT] = {"preempt", UNIT_SWITCH, 0, 1, false, false, set_preempt,
                      "interrupt goroutines that run longer than a slice (of the whole process)"},
    [KNOB_SLICE] = {"slice", UNIT_DURATION, RT_MS, RT_SECOND, false, false, set_slice,
                    "how long a goroutine may run before it is preempted (of the whole process)"},
    [KNOB_SLOW_REQUEST] = {"slow-request-threshold", UNIT_DURATION, RT_MS, 3600 * RT_SECOND, true,
                           false, set_slow_request,
                           "writes that take longer are logged with their stages; 0: none"},
    [KNOB_DEBUG_FSYNC_DELAY] = {"debug-fsync-delay", UNIT_DURATION, 1000, DELAY_MAX, true, true,
                                set_fsync_delay,
                                "added to every sync of the log, as of a slower disk"},
    [KNOB_DEBUG_NETWORK_DELAY] = {"debug-network-delay", UNIT_DURATION, 1000, DELAY_MAX, true, true,
                                  set_network_delay,
                                  "added to every message that this member sends to a peer"},
    [KNOB_DEBUG_BURN] =
        {"debug-burn", UNIT_DURATION, 100000, DELAY_MAX, true, true, set_burn,
         "a goroutine computes for so long at a time, with pauses as long; 0: none"},
};

static int64_t value_of(const struct member *m, enum knob knob)
{
    return atomic_load_explicit(&m->knobs.value[knob], memory_order_relaxed);
}

/* ---- Setters ---- */

static void set_max_inflight(struct member *m, int64_t value)
{
    core_post_event(m, CORE_WINDOW, (uint64_t)value, true);
}

static void set_sync_timeout(struct member *m, int64_t value)
{
    wal_set_sync_timeout(m->wal, value);
}

static void set_group_commit(struct member *m, int64_t value)
{
    (void)value; // one of the two
    wal_set_batch_limits(m->wal, (uint32_t)value_of(m, KNOB_GROUP_COMMIT_BYTES),
                         (uint32_t)value_of(m, KNOB_GROUP_COMMIT_ENTRIES));
}

static void set_preempt(struct member *m, int64_t value)
{
    (void)m;
    rt_set_preempt(value != 0);
}

static void set_slice(struct member *m, int64_t value)
{
    (void)m;
    rt_set_slice_ns(value);
}

static void set_slow_request(struct member *m, int64_t value)
{
    atomic_store_explicit(&m->latency.slow_ns, value, memory_order_relaxed);
}

static void set_fsync_delay(struct member *m, int64_t value) { wal_set_debug_delay(m->wal, value); }

static void set_network_delay(struct member *m, int64_t value)
{
    atomic_store_explicit(&m->knobs.network_delay_ns, value, memory_order_relaxed);
}

/* ---- A computation that never calls anything ---- */

enum { BURN_CHUNK = 1 << 18, BURN_SAMPLES = 5, BURN_PAUSE_MS = 50 };

/* No call, no preemption point: only a signal ends it early. It looks at the knob, so that turning it
 * off ends it at once. */
static __attribute__((noinline)) uint64_t burn(const _Atomic int64_t *on, uint64_t rounds,
                                               uint64_t x)
{
    for (uint64_t i = 0; i < rounds; i++) {
        if (!atomic_load_explicit(on, memory_order_relaxed))
            break;
        x = x * UINT64_C(6364136223846793005) + i;
        __asm__ volatile("" : "+r"(x));
    }
    return x;
}

/* Rounds of burn in a millisecond: of the fastest of a few samples, for others run meanwhile. */
static uint64_t measure_burn(const _Atomic int64_t *on)
{
    int64_t best_ns = RT_SECOND;
    for (int i = 0; i < BURN_SAMPLES; i++) {
        int64_t began = rt_now_ns();
        (void)burn(on, BURN_CHUNK, (uint64_t)began);
        int64_t took = rt_now_ns() - began;
        if (took > 0 && took < best_ns)
            best_ns = took;
    }
    return (uint64_t)BURN_CHUNK * (uint64_t)RT_MS / (uint64_t)best_ns;
}

static bool burn_goes_on(struct member *m)
{
    struct knobs *k = &m->knobs;
    if (value_of(m, KNOB_DEBUG_BURN) && !atomic_load(&m->stopping))
        return true;
    rt_mutex_lock(&k->lock); // under it the next one may be started
    bool on = value_of(m, KNOB_DEBUG_BURN) && !atomic_load(&m->stopping);
    k->burning = on;
    rt_mutex_unlock(&k->lock);
    return on;
}

static void burn_main(void *arg)
{
    struct member *m = arg;
    const _Atomic int64_t *on = &m->knobs.value[KNOB_DEBUG_BURN];
    uint64_t per_ms = measure_burn(on);
    while (burn_goes_on(m)) {
        int64_t ns = value_of(m, KNOB_DEBUG_BURN);
        (void)burn(on, per_ms * (uint64_t)(ns / 1000) / 1000, (uint64_t)ns);
        for (int64_t until = rt_after_ns(ns); rt_now_ns() < until && burn_goes_on(m);) {
            int64_t step = rt_after_ns(BURN_PAUSE_MS * RT_MS);
            rt_sleep_until(step < until ? step : until);
        }
    }
    rt_waitgroup_done(&m->helpers);
}

static void set_burn(struct member *m, int64_t value)
{
    if (!value || m->knobs.burning || atomic_load(&m->stopping))
        return;
    rt_waitgroup_add(&m->helpers, 1);
    m->knobs.burning = rt_go("debug-burn", burn_main, m) == 0; // ends by the knob, or `stopping`
    if (!m->knobs.burning)
        rt_waitgroup_done(&m->helpers);
}

/* ---- Text ---- */

static void format_value(const struct knob_row *row, int64_t value, char *out, size_t cap)
{
    char duration[32];
    if (row->unit == UNIT_DURATION)
        snprintf(out, cap, "%s", value ? rt_format_duration(value, duration) : "0");
    else if (row->unit == UNIT_SWITCH)
        snprintf(out, cap, "%s", value ? "on" : "off");
    else
        snprintf(out, cap, "%" PRId64, value);
}

static void format_range(const struct knob_row *row, char *out, size_t cap)
{
    char least[MEMBER_KNOB_BYTES], most[MEMBER_KNOB_BYTES];
    format_value(row, row->least, least, sizeof(least));
    format_value(row, row->most, most, sizeof(most));
    if (row->unit == UNIT_SWITCH)
        snprintf(out, cap, "on, off");
    else
        snprintf(out, cap, "%s%s to %s", row->zero ? "0, or " : "", least, most);
}

static bool parse(const struct knob_row *row, const char *text, int64_t *out)
{
    int64_t value;
    if (row->unit == UNIT_SWITCH) {
        value = strcmp(text, "on") == 0;
        if (!value && strcmp(text, "off") != 0)
            return false;
    } else if (row->unit == UNIT_DURATION ? rt_parse_duration(text, &value)
                                          : rt_parse_i64(text, &value)) {
        return false;
    }
    if (!(value == 0 && row->zero) && (value < row->least || value > row->most))
        return false;
    *out = value;
    return true;
}

/* 0, or with why: MEMBER_NO_KNOB. */
static int find_knob(const char *name, enum knob *knob, struct why *why)
{
    for (int i = 0; i < KNOBS; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            *knob = (enum knob)i;
            return 0;
        }
    }
    why_set(why, "there is no knob \"%.64s\"; kvctl knob list names them", name);
    return MEMBER_NO_KNOB;
}

/* The value that `text` stands for. 0, or with why: MEMBER_BAD_KNOB. */
static int read_value(enum knob knob, const char *text, int64_t *value, struct why *why)
{
    const struct knob_row *row = &rows[knob];
    char range[MEMBER_KNOB_RANGE_BYTES];
    if (parse(row, text, value))
        return 0;
    format_range(row, range, sizeof(range));
    why_set(why, "knob %s does not take \"%.32s\": it takes %s%s; nothing was changed", row->name,
            text, range, row->unit == UNIT_BYTES ? " (bytes)" : "");
    return MEMBER_BAD_KNOB;
}

static void describe_locked(const struct member *m, enum knob knob, struct member_knob *out)
{
    const struct knob_row *row = &rows[knob];
    int64_t value = value_of(m, knob);
    *out = (struct member_knob){
        .name = row->name,
        .unit = unit_names[row->unit],
        .text = row->text,
        .persisted = m->knobs.persisted[knob] && m->knobs.saved[knob] == value,
        .debug = row->debug,
        .number = row->unit == UNIT_DURATION ? (double)value / (double)RT_SECOND : (double)value,
    };
    format_value(row, value, out->value, sizeof(out->value));
    format_value(row, m->knobs.initial[knob], out->initial, sizeof(out->initial));
    format_range(row, out->range, sizeof(out->range));
}

/* ---- The file ---- */

enum { KNOB_FILE_VERSION = 1 };

static int save_locked(struct member *m, struct why *why)
{
    char path[DATA_PATH_BYTES + 32], value[MEMBER_KNOB_BYTES];
    struct rt_string text = {0};
    rt_string_printf(&text, "kvd-knobs %d\n", KNOB_FILE_VERSION);
    for (int i = 0; i < KNOBS; i++) {
        if (!m->knobs.persisted[i])
            continue;
        format_value(&rows[i], m->knobs.saved[i], value, sizeof(value));
        rt_string_printf(&text, "%s %s\n", rows[i].name, value);
    }
    int err = checked_file_write(data_dir_path(&m->dir, "knobs", path), &text, why);
    rt_string_deinit(&text);
    return err;
}

/* One line, cut in place. */
static int load_line(struct member *m, char *line, int64_t *values, struct why *why)
{
    enum knob knob;
    int64_t value;
    char *space = strchr(line, ' ');
    if (!space) {
        why_set(why, "\"%.64s\" is not a name and a value", line);
        return MEMBER_REFUSED;
    }
    *space = 0;
    if (find_knob(line, &knob, why) || read_value(knob, space + 1, &value, why))
        return MEMBER_REFUSED;
    values[knob] = m->knobs.saved[knob] = value;
    m->knobs.persisted[knob] = true;
    return 0;
}

static int load(struct member *m, int64_t *values, struct why *why)
{
    char path[DATA_PATH_BYTES + 32], first[32];
    struct rt_string text = {0};
    int got = checked_file_read(data_dir_path(&m->dir, "knobs", path), &text, why);
    int err = got < 0 ? got : 0;
    char *line = got == 1 ? (char *)text.data : NULL;
    snprintf(first, sizeof(first), "kvd-knobs %d", KNOB_FILE_VERSION);
    (void)rt_string_cstr(&text); // ends with a NUL
    for (int n = 0; !err && line && *line; n++) {
        char *end = strchr(line, '\n');
        if (end)
            *end = 0;
        if (n == 0 && strcmp(line, first) != 0) {
            why_set(why, "it begins with \"%.32s\" where \"%s\" was expected", line, first);
            err = MEMBER_REFUSED;
        } else if (n > 0) {
            err = load_line(m, line, values, why);
        }
        line = end ? end + 1 : NULL;
    }
    rt_string_deinit(&text);
    if (got == MEMBER_REFUSED)
        why_set(why, "its checksum is wrong");
    if (err == MEMBER_REFUSED)
        why_prefix(
            why,
            "%s is not as a member wrote it; nothing was changed; remove the file to start with "
            "the command line's knobs",
            path);
    return err;
}

/* ---- At the door ---- */

static void apply_locked(struct member *m, enum knob knob, int64_t value)
{
    atomic_store_explicit(&m->knobs.value[knob], value, memory_order_relaxed);
    if (m->knobs.gauges[knob])
        rt_gauge_set(m->knobs.gauges[knob], value);
    rows[knob].set(m, value);
}

static void log_change(struct member *m, const char *words, const struct member_knob *knob,
                       const char *previous)
{
    rt_log(m->log, RT_LOG_INFO, words, rt_f_str("knob", knob->name), rt_f_str("value", knob->value),
           rt_f_str("previous", previous), rt_f_bool("persisted", knob->persisted));
}

static void make_gauges(struct member *m)
{
    char labels[96];
    for (int i = 0; i < KNOBS && m->config.metrics; i++) {
        const char *unit = rows[i].unit == UNIT_DURATION ? "nanoseconds" : unit_names[rows[i].unit];
        snprintf(labels, sizeof(labels), "name=\"%s\",unit=\"%s\"", rows[i].name, unit);
        m->knobs.gauges[i] =
            rt_metrics_gauge(m->config.metrics, "kvd_knob", labels,
                             "What is set now of what can be changed while it runs.");
    }
}

int knobs_open(struct member *m, struct why *why)
{
    struct knobs *k = &m->knobs;
    int64_t values[KNOBS];
    const int64_t initial[KNOBS] = {
        [KNOB_MAX_INFLIGHT_MSGS] = m->config.max_inflight_msgs,
        [KNOB_SYNC_TIMEOUT] = m->config.sync_timeout_ns,
        [KNOB_GROUP_COMMIT_BYTES] = WAL_BATCH_BYTES,
        [KNOB_PREEMPT] = rt_get_preempt(),
        [KNOB_SLICE] = rt_get_slice_ns(),
        [KNOB_SLOW_REQUEST] = MEMBER_SLOW_REQUEST_MS * RT_MS,
    };
    memcpy(k->initial, initial, sizeof(initial));
    memcpy(values, initial, sizeof(initial));
    int err = load(m, values, why);
    if (err)
        return err;
    make_gauges(m);
    rt_mutex_lock(&k->lock);
    for (int i = 0; i < KNOBS; i++) { // all values first: a setter may look at another's
        atomic_store_explicit(&k->value[i], values[i], memory_order_relaxed);
        if (k->gauges[i])
            rt_gauge_set(k->gauges[i], values[i]);
    }
    set_slow_request(m, values[KNOB_SLOW_REQUEST]);
    for (int i = 0; i < KNOBS; i++) {
        struct member_knob knob;
        if (!k->persisted[i])
            continue;
        apply_locked(m, (enum knob)i, values[i]);
        describe_locked(m, (enum knob)i, &knob);
        log_change(m, "knob set from what was persisted", &knob, knob.initial);
    }
    rt_mutex_unlock(&k->lock);
    return 0;
}

uint32_t member_knobs(struct member *m, struct member_knob *out, uint32_t cap)
{
    uint32_t n = 0;
    rt_mutex_lock(&m->knobs.lock);
    for (; n < KNOBS && n < cap; n++)
        describe_locked(m, (enum knob)n, &out[n]);
    rt_mutex_unlock(&m->knobs.lock);
    return n;
}

int member_knob_set(struct member *m, const char *name, const char *text, bool persist,
                    struct member_knob *out, char *previous, struct why *why)
{
    enum knob knob;
    int64_t value;
    int err = find_knob(name, &knob, why);
    if (err)
        return err;
    bool is_default = strcmp(text, "default") == 0; // only here: a file names values
    if (is_default)
        value = m->knobs.initial[knob];
    else
        err = read_value(knob, text, &value, why);
    if (err)
        return err;
    if (atomic_load(&m->stopping))
        return MEMBER_STOPPED;
    rt_waitgroup_add(&m->callers, 1);
    rt_mutex_lock(&m->knobs.lock);
    bool was_persisted = m->knobs.persisted[knob];
    int64_t was_saved = m->knobs.saved[knob];
    format_value(&rows[knob], value_of(m, knob), previous, MEMBER_KNOB_BYTES);
    apply_locked(m, knob, value);
    if (persist) {
        m->knobs.persisted[knob] = !is_default;
        m->knobs.saved[knob] = value;
        err = save_locked(m, why);
        if (err) {
            m->knobs.persisted[knob] = was_persisted;
            m->knobs.saved[knob] = was_saved;
        }
    }
    describe_locked(m, knob, out);
    rt_mutex_unlock(&m->knobs.lock);
    log_change(m, "knob changed", out, previous);
    rt_waitgroup_done(&m->callers);
    return err;
}
