/* poll/epoll.c: the poller on one epoll instance. Any number of Ms may look into it at once: with
 * edge-triggered entries the kernel hands each event to one of them. The eventfd that breaks a wait
 * is level-triggered; only the one who blocks reads it, so that a look cannot eat the wake-up. */
#include "runtime/poll/poller.h"
#include "runtime/poll/sys.h"
#include <errno.h>
#include <sys/epoll.h>
#include <time.h>

static const uint64_t wake_tag = UINT64_MAX;

static struct {
    int fd, wake_fd;
    _Atomic bool wake_sent; // set by wake, cleared by the blocked poll that has seen it
} epoll = {-1, -1, false};

static void epoll_stop(void)
{
    if (epoll.wake_fd >= 0)
        (void)sys_close(epoll.wake_fd);
    if (epoll.fd >= 0)
        (void)sys_close(epoll.fd);
    epoll.wake_fd = epoll.fd = -1;
    atomic_store(&epoll.wake_sent, false);
}

static int epoll_start(struct why *why)
{
    char text[128];
    int err = epoll.fd = sys_epoll_create();
    if (err >= 0)
        err = epoll.wake_fd = sys_eventfd();
    if (err >= 0)
        err = sys_epoll_add(epoll.fd, epoll.wake_fd, EPOLLIN, wake_tag);
    if (err >= 0) // epoll_pwait2 is younger (5.11) than the rest: see that it is there
        err = sys_epoll_wait(epoll.fd, &(struct epoll_event){0}, 1, &(struct timespec){0});
    if (err >= 0)
        return 0;
    why_set(why, "epoll with nanoseconds: %s", why_errno(err, text, sizeof text));
    epoll_stop();
    return err;
}

static int epoll_add(struct poll_desc *d)
{
    return sys_epoll_add(epoll.fd, d->fd, EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                         poll_desc_tag(d));
}

/* Closing the descriptor, which nobody has duplicated, removes it from the instance. */
static void epoll_remove(struct poll_desc *d) { poll_desc_closed(d); }

static int epoll_poll(int p, int64_t until_ns)
{
    (void)p; // one set of descriptors for all Ps
    struct epoll_event events[POLL_EVENTS_MAX];
    struct timespec buf;
    int count = sys_epoll_wait(epoll.fd, events, POLL_EVENTS_MAX, poll_timeout(until_ns, &buf));
    int ran = 0;
    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 == wake_tag) {
            uint64_t wakes;
            if (until_ns) {
                (void)sys_read(epoll.wake_fd, &wakes, sizeof wakes); // -EAGAIN: read already
                atomic_exchange(&epoll.wake_sent, false); // an RMW: sees what the waker published
            }
            continue;
        }
        struct poll_desc *d = poll_desc_of(events[i].data.u64);
        if (d)
            ran += poll_desc_edges(d, events[i].events); // EPOLLx == POLLx
    }
    return ran; // -EINTR is as good as nothing: the scheduler looks round and comes again
}

static void epoll_wake(void)
{
    if (!atomic_exchange(&epoll.wake_sent, true))
        (void)sys_write(epoll.wake_fd, &(uint64_t){1}, sizeof(uint64_t)); // cannot be full
}

const struct poller_form poller_epoll = {
    .name = "epoll",
    .start = epoll_start,
    .stop = epoll_stop,
    .add = epoll_add,
    .remove = epoll_remove,
    .poll = epoll_poll,
    .wake = epoll_wake,
};
