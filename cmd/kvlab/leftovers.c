/* cmd/kvlab/leftovers.c: two lists and a lock. It is held while a process is started, so that none is
 * running that the list does not know when leftovers_end looks. */
#include "cmd/kvlab/leftovers.h"
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

struct left_child {
    struct left_child *next;
    struct rt_child *child;
};
struct left_knob {
    struct left_knob *next;
    char endpoint[64], name[40], was[40];
};

int leftovers_spawn(struct leftovers *left, const struct rt_command *command, struct rt_child **out,
                    struct why *why)
{
    struct left_child *node = rt_alloc(sizeof *node);
    rt_mutex_lock(&left->lock);
    int err = left->ended ? -ECANCELED : rt_spawn(command, &node->child, why);
    if (left->ended)
        why_set(why, "%s is not started: kvlab is ending", command->argv[0]);
    if (!err) {
        *out = node->child;
        node->next = left->children;
        left->children = node;
    }
    rt_mutex_unlock(&left->lock);
    if (err)
        rt_free(node);
    return err;
}

void leftovers_child_free(struct leftovers *left, struct rt_child *c)
{
    if (!c)
        return;
    rt_mutex_lock(&left->lock);
    struct left_child **at = &left->children;
    while (*at && (*at)->child != c)
        at = &(*at)->next;
    struct left_child *node = *at;
    assert(node);
    *at = node->next;
    rt_child_free(c);
    rt_mutex_unlock(&left->lock);
    rt_free(node);
}

/* Where the knob is in the list, or the list's end.  Context: the lock is held. */
static struct left_knob **find_locked(struct leftovers *left, const char *endpoint,
                                      const char *name)
{
    struct left_knob **at = &left->knobs;
    while (*at && (strcmp((*at)->endpoint, endpoint) != 0 || strcmp((*at)->name, name) != 0))
        at = &(*at)->next;
    return at;
}

void leftovers_knob_turned(struct leftovers *left, const char *endpoint, const char *name,
                           const char *was)
{
    rt_mutex_lock(&left->lock);
    struct left_knob **at = find_locked(left, endpoint, name);
    if (!*at) { // only what it was before us counts
        *at = rt_alloc_zero(sizeof **at);
        snprintf((*at)->endpoint, sizeof(*at)->endpoint, "%s", endpoint);
        snprintf((*at)->name, sizeof(*at)->name, "%s", name);
        snprintf((*at)->was, sizeof(*at)->was, "%s", was);
    }
    rt_mutex_unlock(&left->lock);
}

void leftovers_knob_back(struct leftovers *left, const char *endpoint, const char *name)
{
    rt_mutex_lock(&left->lock);
    struct left_knob **at = find_locked(left, endpoint, name), *knob = *at;
    if (knob)
        *at = knob->next;
    rt_mutex_unlock(&left->lock);
    rt_free(knob);
}

void leftovers_end(struct leftovers *left, struct rt_string *text)
{
    rt_mutex_lock(&left->lock);
    left->ended = true;
    for (struct left_child *c = left->children; c; c = c->next)
        rt_kill(c->child, SIGKILL); // it may have ended already
    for (struct left_knob *k = left->knobs; k; k = k->next)
        rt_string_printf(text,
                         "not put back: %s of %s was %s (kvctl knob set %s %s --endpoints %s)\n",
                         k->name, k->endpoint, k->was, k->name, k->was, k->endpoint);
    rt_mutex_unlock(&left->lock);
}
