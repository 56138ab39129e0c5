/* sync/mailbox.c: many putters, one taker. A stack that putters push by CAS and the taker takes
 * whole and turns round; only who finds it empty wakes the taker.
 *
 *   (A) put:  newest, CAS release.      Pairs with (B): who takes a mail sees what is in it.
 *   (B) take: newest, exchange acquire.
 *
 * No mail is missed: a put into an empty box sets MAIL in the taker's word after (A); the taker
 * consumes MAIL before it looks at the box, so a put that it does not see there sets MAIL again. */
#include "rt/sync.h"
#include "runtime/sched/here.h"
#include "runtime/sync/waitword.h"
#include <stddef.h>

enum { MAIL = 1, WAKE = 2 }; // tokens

bool rt_mailbox_put(struct rt_mailbox *box, struct rt_mail *mail)
{
    struct rt_mail *newest = atomic_load_explicit(&box->newest, memory_order_relaxed);
    do
        mail->next = newest;
    while (!atomic_compare_exchange_weak_explicit(&box->newest, &newest, mail, memory_order_release,
                                                  memory_order_relaxed)); // (A)
    if (!newest)
        waitword_set(&box->taker, MAIL);
    g_exit_call(g_here());
    return !newest;
}

static struct rt_mail *take_all(struct rt_mailbox *box)
{
    struct rt_mail *oldest = NULL;
    if (!atomic_load_explicit(&box->newest, memory_order_relaxed))
        return NULL;
    struct rt_mail *mail =
        atomic_exchange_explicit(&box->newest, NULL, memory_order_acquire); // (B)
    for (struct rt_mail *next; mail; mail = next) {
        next = mail->next;
        mail->next = oldest;
        oldest = mail;
    }
    return oldest;
}

struct rt_mail *rt_mailbox_take(struct rt_mailbox *box, int64_t deadline_ns)
{
    for (;;) {
        uintptr_t tokens = waitword_take(&box->taker);
        struct rt_mail *list = take_all(box);
        if (list || (tokens & WAKE) || deadline_ns == 0) {
            g_exit_call(g_here());
            return list;
        }
        if (waitword_wait(&box->taker, deadline_ns, PARK_MAILBOX) == 0)
            deadline_ns = 0; // too late: one more look
    }
}

void rt_mailbox_wake(struct rt_mailbox *box)
{
    waitword_set(&box->taker, WAKE);
    g_exit_call(g_here());
}
