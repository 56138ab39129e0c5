/* poll/poller.c: the slots of descriptors, and the choice of a form. */
#include "runtime/poll/poller.h"
#include "rt/alloc.h"
#include "rt/time.h"
#include "runtime/poll/sys.h"
#include "runtime/sched/proc.h"
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLAB_DESCS = 1024, SLABS = POLL_MAX_DESCS / SLAB_DESCS, NO_SLOT = UINT32_MAX };

static struct {
    struct spinlock start_lock;
    const struct poller_form *_Atomic form; // set under start_lock
    struct sched_poller to_sched;           // const while form is set
    char why[WHY_BYTES + 256];
    struct spinlock slots_lock;
    uint32_t first_free, slots_used;         // slots_lock
    _Atomic(struct poll_desc *) slab[SLABS]; // set once under slots_lock, read by anybody
} poller = {.first_free = NO_SLOT};

/* ---- slots ------------------------------------------------------------------------------- */

static struct poll_desc *desc_at(uint32_t slot)
{
    struct poll_desc *slab =
        atomic_load_explicit(&poller.slab[slot / SLAB_DESCS], memory_order_acquire);
    return slab ? &slab[slot % SLAB_DESCS] : NULL;
}

uint64_t poll_desc_tag(const struct poll_desc *d)
{
    return (uint64_t)atomic_load_explicit(&d->generation, memory_order_relaxed) << 24 | d->slot;
}

struct poll_desc *poll_desc_of(uint64_t tag)
{
    uint32_t slot = tag & 0xffffff;
    assert(slot < POLL_MAX_DESCS);
    struct poll_desc *d = desc_at(slot);
    assert(d);
    uint32_t generation = atomic_load_explicit(&d->generation, memory_order_acquire);
    return generation == (uint32_t)(tag >> 24) ? d : NULL;
}

/* A slot nobody uses, or NULL. A fresh slab may be allocated for nothing when two come at once. */
static struct poll_desc *take_slot(void)
{
    struct poll_desc *fresh = NULL;
    spin_lock(&poller.slots_lock);
    if (poller.first_free == NO_SLOT && poller.slots_used % SLAB_DESCS == 0 &&
        poller.slots_used < POLL_MAX_DESCS && !desc_at(poller.slots_used)) {
        spin_unlock(&poller.slots_lock);
        fresh = rt_alloc_zero(SLAB_DESCS * sizeof *fresh);
        spin_lock(&poller.slots_lock);
    }
    struct poll_desc *d = NULL;
    if (poller.first_free != NO_SLOT) {
        d = desc_at(poller.first_free);
        poller.first_free = d->next_free;
    } else if (poller.slots_used < POLL_MAX_DESCS) {
        uint32_t slot = poller.slots_used;
        if (!desc_at(slot) && fresh) {
            atomic_store_explicit(&poller.slab[slot / SLAB_DESCS], fresh, memory_order_release);
            fresh = NULL;
        }
        d = desc_at(slot);
        if (d) {
            d->slot = slot;
            poller.slots_used++;
        }
    }
    spin_unlock(&poller.slots_lock);
    rt_free(fresh);
    return d;
}

static void give_slot(struct poll_desc *d)
{
    spin_lock(&poller.slots_lock);
    d->fd = -1;
    d->next_free = poller.first_free;
    poller.first_free = d->slot;
    spin_unlock(&poller.slots_lock);
}

int poll_open(int fd, struct poll_desc **out)
{
    assert(fd >= 0);
    int err = poller_start(NULL);
    if (err)
        return err;
    struct poll_desc *d = take_slot();
    if (!d)
        return -EMFILE;
    d->fd = fd;
    d->uring = (struct uring_desc){.lock = {0}};
    atomic_store_explicit(&d->ended, false, memory_order_relaxed);
    atomic_store_explicit(&d->read.value, 0, memory_order_relaxed);
    atomic_store_explicit(&d->write.value, 0, memory_order_relaxed);
    err = atomic_load_explicit(&poller.form, memory_order_relaxed)->add(d);
    if (err) {
        atomic_fetch_add_explicit(&d->generation, 1, memory_order_release);
        give_slot(d);
        return err;
    }
    *out = d;
    return 0;
}

void poll_close(struct poll_desc *d)
{
    assert(d->fd >= 0);
    atomic_load_explicit(&poller.form, memory_order_relaxed)->remove(d);
}

void poll_desc_closed(struct poll_desc *d)
{
    int fd = d->fd;
    /* From here on events of this use find another generation. The number is free for others only
     * after that. */
    atomic_fetch_add_explicit(&d->generation, 1, memory_order_release);
    give_slot(d);
    (void)sys_close(fd); // a socket: nothing that close reports is about data somebody relies on
}

int poll_desc_edges(struct poll_desc *d, uint32_t events)
{
    int ran = 0;
    if (events & (POLLPRI | POLLRDHUP | POLLHUP | POLLERR))
        atomic_store(&d->ended, true); // then looks at the word, which a reader clears before it
                                       // looks here: one of the two sees the other
    if (events & (POLLIN | POLLPRI | POLLRDHUP | POLLHUP | POLLERR))
        ran += poll_word_edge(&d->read);
    if (events & (POLLOUT | POLLHUP | POLLERR))
        ran += poll_word_edge(&d->write);
    return ran;
}

struct timespec *poll_timeout(int64_t until_ns, struct timespec *buf)
{
    if (until_ns == RT_FOREVER)
        return NULL;
    int64_t left = until_ns ? until_ns - rt_now_ns() : 0;
    if (left < 0)
        left = 0;
    *buf = (struct timespec){left / RT_SECOND, left % RT_SECOND};
    return buf;
}

/* ---- I/O --------------------------------------------------------------------------------- */

static const struct poller_form *form_of_run(void)
{
    return atomic_load_explicit(&poller.form, memory_order_relaxed);
}

ssize_t poll_recv(struct poll_desc *d, void *buf, size_t len)
{
    const struct poller_form *form = form_of_run();
    return form->recv ? form->recv(d, buf, len) : sys_recv(d->fd, buf, len, 0);
}

bool poll_is_readable(struct poll_desc *d)
{
    const struct poller_form *form = form_of_run();
    char byte;
    return form->is_readable ? form->is_readable(d)
                             : sys_recv(d->fd, &byte, 1, MSG_PEEK) != -EAGAIN;
}

/* What comes after a read that emptied the socket makes an edge later than the one consumed before
 * the read. Not so for an end, an error or urgent data, which stop a read short although more can be
 * had: their edge may be the one that was consumed. */
bool poll_is_drained(struct poll_desc *d)
{
    const struct poller_form *form = form_of_run();
    return form->is_drained ? form->is_drained(d) : !atomic_load(&d->ended);
}

void poll_want_write(struct poll_desc *d)
{
    const struct poller_form *form = form_of_run();
    if (form->want_write)
        form->want_write(d);
}

int poll_accept(struct poll_desc *d)
{
    const struct poller_form *form = form_of_run();
    return form->accept ? form->accept(d) : sys_accept(d->fd, NULL, NULL);
}

int poll_write_durable(int fd, const void *buf, size_t len, uint64_t offset)
{
    const struct poller_form *form = form_of_run();
    return form && form->write_durable ? form->write_durable(fd, buf, len, offset) : -ENOSYS;
}

/* ---- the choice -------------------------------------------------------------------------- */

/* epoll first: it works in every container and binds nothing to a thread. 50 echo connections, two
 * Ps a side (examples/echo.c, six pairs on a machine busy with other work): 29,000 answers a second
 * on epoll, 22,000 on io_uring in the median, each between 16,000 and 50,000. */
static const struct poller_form *const preference[] = {&poller_epoll, &poller_uring};
enum { FORMS = sizeof preference / sizeof preference[0] };

static int sched_poll(int p, int64_t until_ns)
{
    return atomic_load_explicit(&poller.form, memory_order_relaxed)->poll(p, until_ns);
}

static void sched_wake(void) { atomic_load_explicit(&poller.form, memory_order_relaxed)->wake(); }

static void sched_stop(void)
{
    atomic_load_explicit(&poller.form, memory_order_relaxed)->stop();
    for (uint32_t slot = 0; slot < poller.slots_used; slot++) {
        struct poll_desc *d = desc_at(slot);
        if (d->fd >= 0)
            (void)sys_close(d->fd); // of a goroutine that was abandoned
    }
    for (uint32_t i = 0; i < SLABS && poller.slab[i]; i++) {
        rt_free(poller.slab[i]);
        atomic_store_explicit(&poller.slab[i], NULL, memory_order_relaxed);
    }
    poller.slots_used = 0;
    poller.first_free = NO_SLOT;
    atomic_store_explicit(&poller.form, NULL, memory_order_release);
}

static int start_form(const struct poller_form *form, const char *reason, struct why *why)
{
    int err = form->start(why);
    if (err)
        return err;
    snprintf(poller.why, sizeof poller.why, "%s%s%s", reason, form->features ? "; " : "",
             form->features ? form->features() : "");
    poller.to_sched = (struct sched_poller){.name = form->name,
                                            .why = poller.why,
                                            .poll = sched_poll,
                                            .wake = sched_wake,
                                            .leave = form->leave,
                                            .stop = sched_stop};
    atomic_store_explicit(&poller.form, form, memory_order_release);
    bool first = sched_poller_set(&poller.to_sched);
    assert(first);
    return 0;
}

static int start_best(struct why *why)
{
    char reason[sizeof poller.why] = "preferred by default";
    int err = -ENOSYS;
    for (int i = 0; i < FORMS; i++) {
        struct why refusal = {""};
        err = start_form(preference[i], reason, &refusal);
        if (err == 0)
            return 0;
        snprintf(reason, sizeof reason, "%s was refused: %s", preference[i]->name, refusal.text);
    }
    why_set(why, "no poller works: %s", reason);
    return err;
}

static int start_named(const struct poller_form *form, const char *reason, struct why *why)
{
    struct why refusal = {""};
    int err = start_form(form, reason, &refusal);
    if (err)
        why_set(why, "the poller %s (%s) is refused: %s", form->name, reason, refusal.text);
    return err;
}

static int start_chosen(struct why *why)
{
    enum rt_poller wanted = sched_options()->poller;
    if (wanted == RT_POLLER_EPOLL)
        return start_named(&poller_epoll, "asked for by the program", why);
    if (wanted == RT_POLLER_URING)
        return start_named(&poller_uring, "asked for by the program", why);
    const char *setting = getenv("KVD_POLLER");
    if (!setting || !*setting || strcmp(setting, "auto") == 0)
        return start_best(why);
    if (strcmp(setting, "epoll") == 0)
        return start_named(&poller_epoll, "asked for by KVD_POLLER", why);
    if (strcmp(setting, "uring") == 0)
        return start_named(&poller_uring, "asked for by KVD_POLLER", why);
    why_set(why, "KVD_POLLER is \"%s\"; it takes auto, epoll or uring", setting);
    return -EINVAL;
}

int poller_start(struct why *why)
{
    if (atomic_load_explicit(&poller.form, memory_order_acquire))
        return 0;
    assert(sched_options());
    spin_lock(&poller.start_lock);
    int err = 0;
    if (!atomic_load_explicit(&poller.form, memory_order_relaxed))
        err = start_chosen(why);
    spin_unlock(&poller.start_lock);
    return err;
}
