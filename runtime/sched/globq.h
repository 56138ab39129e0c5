/* sched/globq.h: the global queue: what overflowed a ring, was preempted by slice, or was readied
 * where there is no P. Every P takes from it when its own queue is empty, and at every 61st turn so
 * that nothing starves. What timers and descriptors woke while every P was busy is in a list of its
 * own, since a P makes room for it at once; the two lists give in turn. */
#pragma once
#include <stdint.h>

struct g;
struct p;

/* Context of all: any thread; never parks. */
void globq_put(struct g *gp);
/* A list linked by next, `count` long. */
void globq_put_list(struct g *first, struct g *last, uint32_t count);
void globq_put_woken(struct g *first, struct g *last, uint32_t count);
/* One G for us and, when `batch`, a fair share of the rest into our ring. NULL when empty.
 * Context: owner P. */
struct g *globq_get(struct p *p, int batch);
/* Move what was woken to our urgent ring, as far as there is room: how many.  Context: owner P. */
uint32_t globq_get_woken(struct p *p);
uint32_t globq_len(void);   // a hint
uint32_t globq_woken(void); // how many of these were woken; a hint
void globq_clear(void);     // forget all; no M runs
