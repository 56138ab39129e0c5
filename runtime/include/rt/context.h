/* rt/context.h: cancellation and deadlines that pass from caller to callee, as Go's context. */
#pragma once
#include "rt/chan.h"

struct rt_context;

/* A child of `parent` (NULL: of nothing) that ends when cancelled, at deadline_ns, or with its
 * parent, whichever comes first. Referenced; unref when done. NULL: out of memory.
 * Context: goroutine; never parks. */
struct rt_context *rt_context_new(struct rt_context *parent, int64_t deadline_ns);
struct rt_context *rt_context_ref(struct rt_context *c);
void rt_context_unref(struct rt_context *c);

/* End it with `err` (-ECANCELED, ...); the first end counts.  Context: never parks. */
void rt_context_cancel(struct rt_context *c, int err);

/* 0 while alive, else why it ended (-ECANCELED, -ETIMEDOUT, ...).  Context: never parks. */
int rt_context_err(struct rt_context *c);
int64_t rt_context_deadline_ns(const struct rt_context *c);

/* Closed when it ends: for select. Never send on it.  Context: never parks. */
struct rt_chan *rt_context_done(struct rt_context *c);
