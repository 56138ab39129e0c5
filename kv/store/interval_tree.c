/* kv/store/interval_tree.c: see interval_tree.h. */
#include "kv/store/interval_tree.h"
#include <assert.h>

static uint64_t mix(uint64_t x) // splitmix64's finisher
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

static bool ends_before(const struct interval *a, const struct interval *b)
{
    if (a->keys.kind == KEYS_FROM)
        return false;
    return b->keys.kind == KEYS_FROM || rt_bytes_compare(a->keys.to, b->keys.to) < 0;
}

static void update(struct interval *it)
{
    it->far = it;
    if (it->left && ends_before(it->far, it->left->far))
        it->far = it->left->far;
    if (it->right && ends_before(it->far, it->right->far))
        it->far = it->right->far;
}

static struct interval **link_to(struct interval_tree *t, struct interval *it)
{
    if (!it->parent)
        return &t->root;
    return it->parent->left == it ? &it->parent->left : &it->parent->right;
}

/* Turn `it` above its parent; the order of the ranges stays. */
static void rotate_up(struct interval_tree *t, struct interval *it)
{
    struct interval *p = it->parent, **link = link_to(t, p);
    if (p->left == it) {
        p->left = it->right;
        if (p->left)
            p->left->parent = p;
        it->right = p;
    } else {
        p->right = it->left;
        if (p->right)
            p->right->parent = p;
        it->left = p;
    }
    it->parent = p->parent;
    p->parent = it;
    *link = it;
    update(p);
    update(it);
}

void interval_insert(struct interval_tree *t, struct interval *it)
{
    struct interval *parent = NULL, **link = &t->root;
    assert(it->keys.kind != KEYS_ONE);
    while (*link) {
        parent = *link;
        link =
            rt_bytes_compare(it->keys.from, parent->keys.from) < 0 ? &parent->left : &parent->right;
    }
    it->left = it->right = NULL;
    it->parent = parent;
    it->priority = mix(t->inserted++);
    *link = it;
    update(it);
    while (it->parent && it->parent->priority < it->priority)
        rotate_up(t, it);
    for (struct interval *p = it->parent; p; p = p->parent)
        update(p);
    t->count++;
}

void interval_remove(struct interval_tree *t, struct interval *it)
{
    while (it->left || it->right) { // sink to a leaf
        struct interval *up = !it->left                                  ? it->right
                              : !it->right                               ? it->left
                              : it->left->priority > it->right->priority ? it->left
                                                                         : it->right;
        rotate_up(t, up);
    }
    *link_to(t, it) = NULL;
    for (struct interval *p = it->parent; p; p = p->parent)
        update(p);
    it->parent = NULL;
    t->count--;
}

static void stab(struct interval *it, struct rt_bytes key,
                 void (*each)(void *arg, struct interval *it), void *arg)
{
    while (it) {
        if (it->far->keys.kind == KEYS_BETWEEN && rt_bytes_compare(it->far->keys.to, key) <= 0)
            return; // all below end before the key
        stab(it->left, key, each, arg);
        if (rt_bytes_compare(it->keys.from, key) > 0)
            return; // this one and all to the right begin after it
        if (key_range_has(&it->keys, key))
            each(arg, it);
        it = it->right;
    }
}

void interval_stab(const struct interval_tree *t, struct rt_bytes key,
                   void (*each)(void *arg, struct interval *it), void *arg)
{
    stab(t->root, key, each, arg);
}
