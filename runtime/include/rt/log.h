/* rt/log.h: one JSON object a line on stderr: level, ts, msg, then fields with units.
 *
 *     rt_log(log, RT_LOG_WARN, "slow fdatasync", rt_f_int("took_ms", ms), rt_f_str("segment", s));
 *
 * A logger hangs off its member (no global); lines are made in the caller's buffer and written by
 * one write each, so they never mix. Never the value of a key, never a secret.
 * A line that a pipe, a socket or a terminal has no room for is dropped and counted: what waits for
 * whoever reads it would keep a thread of the runtime.
 * Context of all: any thread; never parks (to a file a line blocks the thread as long as the disk does,
 * and to a pipe that others write to as well it may, when they were faster). */
#pragma once
#include "rt/bytes.h"
#include <stdbool.h>
#include <stdint.h>

enum rt_log_level { RT_LOG_DEBUG, RT_LOG_INFO, RT_LOG_WARN, RT_LOG_ERROR, RT_LOG_FATAL };

struct rt_log_field {
    const char *name;
    enum { RT_F_INT, RT_F_UINT, RT_F_HEX, RT_F_STR, RT_F_BYTES, RT_F_BOOL, RT_F_DURATION } kind;
    union {
        int64_t i;
        uint64_t u;
        const char *s;
        struct rt_bytes b;
    };
};
static inline struct rt_log_field rt_f_int(const char *name, int64_t v)
{
    return (struct rt_log_field){.name = name, .kind = RT_F_INT, .i = v};
}
static inline struct rt_log_field rt_f_uint(const char *name, uint64_t v)
{
    return (struct rt_log_field){.name = name, .kind = RT_F_UINT, .u = v};
}
static inline struct rt_log_field rt_f_hex(const char *name, uint64_t v)
{
    return (struct rt_log_field){.name = name, .kind = RT_F_HEX, .u = v};
}
static inline struct rt_log_field rt_f_str(const char *name, const char *v)
{
    return (struct rt_log_field){.name = name, .kind = RT_F_STR, .s = v};
}
static inline struct rt_log_field rt_f_bytes(const char *name, struct rt_bytes v)
{
    return (struct rt_log_field){.name = name, .kind = RT_F_BYTES, .b = v};
}
static inline struct rt_log_field rt_f_bool(const char *name, bool v)
{
    return (struct rt_log_field){.name = name, .kind = RT_F_BOOL, .i = v};
}
/* Nanoseconds, shown as Go shows durations ("1.5ms"). */
static inline struct rt_log_field rt_f_duration(const char *name, int64_t ns)
{
    return (struct rt_log_field){.name = name, .kind = RT_F_DURATION, .i = ns};
}

struct rt_log;
/* Writes to descriptor `fd` (2: stderr) what is at `level` or above. NULL `log` in rt_log_at drops
 * the line. */
struct rt_log *rt_log_new(int fd, enum rt_log_level level);
void rt_log_free(struct rt_log *log);
void rt_log_set_level(struct rt_log *log, enum rt_log_level level);
bool rt_log_level_parse(const char *text, enum rt_log_level *out);
/* What the macro below calls. */
void rt_log_at(struct rt_log *log, enum rt_log_level level, const char *caller, const char *msg,
               const struct rt_log_field *fields, int count);
/* Lines that were dropped for want of room, by all loggers of the process. */
uint64_t rt_log_dropped(void);

/* True at most once per interval for each `gate` (zero-initialised, the caller's): for lines that
 * a peer can cause. */
struct rt_log_gate {
    _Atomic int64_t next_ns;
    _Atomic uint64_t dropped;
};
bool rt_log_gate_open(struct rt_log_gate *gate, int64_t interval_ns);

#define RT_LOG_TEXT_(x) #x
#define RT_LOG_LINE_(x) RT_LOG_TEXT_(x)
#define rt_log(log, level, msg, ...)                                                               \
    rt_log_at((log), (level), __FILE__ ":" RT_LOG_LINE_(__LINE__), (msg),                          \
              (const struct rt_log_field[]){{.name = NULL}, ##__VA_ARGS__} + 1,                    \
              (int)(sizeof((const struct rt_log_field[]){{.name = NULL}, ##__VA_ARGS__}) /         \
                    sizeof(struct rt_log_field)) -                                                 \
                  1)
