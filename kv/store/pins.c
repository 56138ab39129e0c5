/* kv/store/pins.c: see pins.h. */
#include "kv/store/pins.h"
#include <rt/time.h>

void pins_add(struct pins *p, struct store_pin *pin, int64_t revision)
{
    pin->revision = revision;
    pin->since_ns = rt_now_ns();
    rt_mutex_lock(&p->lock);
    pin->next = p->first;
    if (pin->next)
        pin->next->link = &pin->next;
    pin->link = &p->first;
    p->first = pin;
    rt_mutex_unlock(&p->lock);
}

static void unlink_locked(struct store_pin *pin)
{
    if (!pin->link)
        return;
    *pin->link = pin->next;
    if (pin->next)
        pin->next->link = pin->link;
    pin->link = NULL;
}

void pins_remove(struct pins *p, struct store_pin *pin)
{
    rt_mutex_lock(&p->lock);
    unlink_locked(pin);
    rt_mutex_unlock(&p->lock);
}

bool pins_hold(struct pins *p, struct store_pin *pin)
{
    rt_mutex_lock(&p->lock);
    bool holds = pin->link != NULL;
    rt_mutex_unlock(&p->lock);
    return holds;
}

bool pins_allow(struct pins *p, int64_t revision, int64_t now_ns)
{
    bool allow = true;
    rt_mutex_lock(&p->lock);
    for (struct store_pin *pin = p->first, *next; pin; pin = next) {
        next = pin->next;
        if (pin->revision >= revision)
            continue;
        if (now_ns - pin->since_ns > STORE_PIN_MAX_S * RT_SECOND)
            unlink_locked(pin);
        else
            allow = false;
    }
    rt_mutex_unlock(&p->lock);
    return allow;
}

void pins_break_all(struct pins *p)
{
    rt_mutex_lock(&p->lock);
    while (p->first)
        unlink_locked(p->first);
    rt_mutex_unlock(&p->lock);
}
