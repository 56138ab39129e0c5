/* rt/chan.h: channels and select, with Go's semantics. Values are copied by size. A channel is
 * referenced by whoever made it; free it only when nobody can touch it any more. */
#pragma once
#include "rt/time.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rt_chan;
struct rt_conn;

/* cap 0 is unbuffered. NULL: out of memory.  Context of both: any thread; never parks. */
struct rt_chan *rt_chan_new(size_t value_bytes, uint32_t cap);
void rt_chan_free(struct rt_chan *c);

/* 0; -EPIPE: closed; -ETIMEDOUT. Deadline 0 only tries (-EAGAIN).  Context: parks. */
int rt_chan_send(struct rt_chan *c, const void *value, int64_t deadline_ns);
/* 0; -EPIPE: closed and empty; -ETIMEDOUT, -EAGAIN as above.  Context: parks. */
int rt_chan_recv(struct rt_chan *c, void *value, int64_t deadline_ns);
/* Receivers drain what is left, then get -EPIPE. A second close is a panic.  Context: never parks. */
void rt_chan_close(struct rt_chan *c);
uint32_t rt_chan_len(const struct rt_chan *c); // never parks

enum rt_case_kind { RT_CASE_NONE, RT_CASE_SEND, RT_CASE_RECV, RT_CASE_READABLE };

struct rt_case {
    enum rt_case_kind kind;
    struct rt_chan *chan; // SEND, RECV
    struct rt_conn *conn; // READABLE: bytes, end of stream, an error or rt_conn_wake
    void *value;          // SEND: what; RECV: where to
    int result;           // out, of the chosen case: 0 or -EPIPE
};

/* Wait until one case can go on, do it, return its position; of several one is chosen at random.
 * -ETIMEDOUT at the deadline, -EAGAIN with deadline 0. At most 16 cases.  Context: parks. */
int rt_select(struct rt_case *cases, int count, int64_t deadline_ns);
