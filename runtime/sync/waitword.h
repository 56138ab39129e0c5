/* sync/waitword.h: one goroutine that waits on one word, without a lock. Notes and mailboxes stand
 * on it.
 *
 *     word = tokens (bits 0, 1): what was set and not yet consumed
 *          | LEAVING (bit 2) and the address of a struct rt_wordwait: who waits
 *
 * Tokens and a waiter exclude each other: setting a token takes the waiter out. The wait is ended
 * by whoever takes the waiter's address out of the word by CAS, the setter or the timer; LEAVING
 * means that the goroutine is about to be parked and will see by itself what was put there instead.
 *
 *   (A) set:  CAS, release (and acquire, for the waiter's record). The last touch of the word.
 *   (B) wait: CAS or load, acquire: sees what the setter did before (A). */
#pragma once
#include "rt/time.h"
#include "runtime/sched/park.h"
#include <stdatomic.h>
#include <stdint.h>

enum { WORD_TOKENS = 3, WORD_LEAVING = 4 };

/* Set tokens (1, 2 or both) and ready who waits.  Context: goroutine, timer function or scheduler's
 * stack; never parks. */
void waitword_set(_Atomic uintptr_t *word, uintptr_t tokens);

/* Wait until there are tokens and return them; they stay. 0 at the deadline (0 only looks). One
 * goroutine at a time.  Context: parks. */
uintptr_t waitword_wait(_Atomic uintptr_t *word, int64_t deadline_ns, enum park_reason reason);

/* Consume and return the tokens.  Context: who waits; never parks. */
uintptr_t waitword_take(_Atomic uintptr_t *word);
