/* sched/globq.h: the global queue: what overflowed a ring, was preempted by slice, or was readied
 * where there is no P. Every P takes from it when its own queue is empty, and at every 61st turn so
 * that nothing starves. */
#pragma once
#include <stdint.h>

struct g;
struct p;

/* Context of all: any thread; never parks. */
void globq_put(struct g *gp);
/* A list linked by next, `count` long. */
void globq_put_list(struct g *first, struct g *last, uint32_t count);
/* One G for us and, when `batch`, a fair share of the rest into our ring. NULL when empty.
 * Context: owner P. */
struct g *globq_get(struct p *p, int batch);
uint32_t globq_len(void); // a hint
void globq_clear(void);   // forget all; no M runs
