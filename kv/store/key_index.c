/* kv/store/key_index.c: the tree. The revisions of one key are in key_revs.c.
 *
 * Invariants: (1) keys ascend from left to right; (2) min[i] is the smallest key under child[i];
 * (3) live[i] is the number of living keys under child[i]; (4) no node is empty but a root leaf;
 * (5) leaves are linked in order. Insertion splits full nodes on its way down, so a parent always
 * has room; removal joins small neighbours on its way up. */
#include "kv/store/key_index.h"
#include "kv/store/key_revs.h"
#include <assert.h>

enum { FAN = 64, HEIGHT_MAX = 12 };

struct leaf {
    struct leaf *next, *prev;
    uint64_t live; // bit i: keys[i] lives
    unsigned count;
    struct index_key *keys[FAN];
};

struct inner {
    unsigned count;
    struct index_key *min[FAN];
    uint64_t live[FAN];
    void *child[FAN];
};

struct path {
    struct inner *node[HEIGHT_MAX]; // node[h] is h levels above the leaf; [0] is not used
    unsigned pos[HEIGHT_MAX];
    struct leaf *leaf;
    unsigned at; // first key in the leaf that is >= the one looked for
    bool found;
};

static struct leaf *leaf_new(struct key_index *ix)
{
    struct leaf *l = rt_alloc(sizeof *l);
    l->next = l->prev = NULL;
    l->live = 0;
    l->count = 0;
    ix->bytes += sizeof *l;
    return l;
}

static void leaf_free(struct key_index *ix, struct leaf *l)
{
    if (l->prev)
        l->prev->next = l->next;
    if (l->next)
        l->next->prev = l->prev;
    ix->bytes -= sizeof *l;
    rt_free(l);
}

static struct inner *inner_new(struct key_index *ix)
{
    struct inner *n = rt_alloc(sizeof *n);
    n->count = 0;
    ix->bytes += sizeof *n;
    return n;
}

static void inner_free(struct key_index *ix, struct inner *n)
{
    ix->bytes -= sizeof *n;
    rt_free(n);
}

void key_index_init(struct key_index *ix)
{
    *ix = (struct key_index){.root = NULL};
    ix->root = leaf_new(ix);
}

static void free_below(struct key_index *ix, void *node, unsigned height)
{
    if (height == 0) {
        struct leaf *l = node;
        for (unsigned i = 0; i < l->count; i++)
            key_revs_free(ix, l->keys[i]);
        leaf_free(ix, l);
        return;
    }
    struct inner *n = node;
    for (unsigned i = 0; i < n->count; i++)
        free_below(ix, n->child[i], height - 1);
    inner_free(ix, n);
}

void key_index_deinit(struct key_index *ix)
{
    if (ix->root)
        free_below(ix, ix->root, ix->height);
    ix->root = NULL;
}

/* steps is statistics: readers count without a lock, and a lost count does no harm. */
static void step(const struct key_index *ix)
{
    uint64_t *steps = (uint64_t *)&ix->steps;
    __atomic_store_n(steps, __atomic_load_n(steps, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
}

/* The last child whose smallest key is <= key, or the first. */
static unsigned inner_pick(const struct key_index *ix, const struct inner *n, struct rt_bytes key)
{
    unsigned low = 0, high = n->count; // child[low] will do, child[high] will not
    while (high - low > 1) {
        unsigned mid = (low + high) / 2;
        step(ix);
        if (rt_bytes_compare(index_key_bytes(n->min[mid]), key) <= 0)
            low = mid;
        else
            high = mid;
    }
    return low;
}

static unsigned leaf_pick(const struct key_index *ix, const struct leaf *l, struct rt_bytes key,
                          bool *found)
{
    unsigned low = 0, high = l->count;
    *found = false;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        step(ix);
        int order = rt_bytes_compare(index_key_bytes(l->keys[mid]), key);
        if (order == 0) {
            *found = true;
            return mid;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void descend(const struct key_index *ix, struct rt_bytes key, struct path *p)
{
    void *node = ix->root;
    for (unsigned h = ix->height; h > 0; h--) {
        struct inner *n = node;
        p->node[h] = n;
        p->pos[h] = inner_pick(ix, n, key);
        node = n->child[p->pos[h]];
    }
    p->leaf = node;
    p->at = leaf_pick(ix, p->leaf, key, &p->found);
}

struct index_key *key_index_find(const struct key_index *ix, struct rt_bytes key)
{
    struct path p;
    descend(ix, key, &p);
    return p.found ? p.leaf->keys[p.at] : NULL;
}

/* ---- Insertion ---- */

static uint64_t bits_below(unsigned n) { return n >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1; }

static unsigned node_count(const void *node, unsigned height)
{
    return height ? ((const struct inner *)node)->count : ((const struct leaf *)node)->count;
}

static struct leaf *split_leaf(struct key_index *ix, struct leaf *l, unsigned keep)
{
    struct leaf *r = leaf_new(ix);
    r->count = l->count - keep;
    memcpy(r->keys, l->keys + keep, r->count * sizeof *r->keys);
    r->live = l->live >> keep;
    l->live &= bits_below(keep);
    l->count = keep;
    r->prev = l;
    r->next = l->next;
    if (r->next)
        r->next->prev = r;
    l->next = r;
    return r;
}

static struct inner *split_inner(struct key_index *ix, struct inner *n, unsigned keep)
{
    struct inner *r = inner_new(ix);
    r->count = n->count - keep;
    memcpy(r->min, n->min + keep, r->count * sizeof *r->min);
    memcpy(r->live, n->live + keep, r->count * sizeof *r->live);
    memcpy(r->child, n->child + keep, r->count * sizeof *r->child);
    n->count = keep;
    return r;
}

static uint64_t inner_living(const struct inner *n)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < n->count; i++)
        sum += n->live[i];
    return sum;
}

/* child[pos] of n, which stands `height` levels above the leaves, is full: make two of it. Keys that
 * come in order leave full nodes behind: then nearly all stays on the left. */
static void split_child(struct key_index *ix, struct inner *n, unsigned height, unsigned pos,
                        bool at_end)
{
    assert(n->count < FAN);
    unsigned keep = at_end && pos == n->count - 1 ? FAN - 1 : FAN / 2;
    memmove(n->min + pos + 2, n->min + pos + 1, (n->count - pos - 1) * sizeof *n->min);
    memmove(n->live + pos + 2, n->live + pos + 1, (n->count - pos - 1) * sizeof *n->live);
    memmove(n->child + pos + 2, n->child + pos + 1, (n->count - pos - 1) * sizeof *n->child);
    n->count++;
    if (height == 1) {
        struct leaf *r = split_leaf(ix, n->child[pos], keep);
        n->child[pos + 1] = r;
        n->min[pos + 1] = r->keys[0];
        n->live[pos + 1] = (uint64_t)__builtin_popcountll(r->live);
    } else {
        struct inner *r = split_inner(ix, n->child[pos], keep);
        n->child[pos + 1] = r;
        n->min[pos + 1] = r->min[0];
        n->live[pos + 1] = inner_living(r);
    }
    n->live[pos] -= n->live[pos + 1];
}

static bool is_last_key(const struct key_index *ix, struct rt_bytes key)
{
    void *node = ix->root;
    for (unsigned h = ix->height; h > 0; h--)
        node = ((struct inner *)node)->child[((struct inner *)node)->count - 1];
    struct leaf *l = node;
    return l->count && rt_bytes_compare(index_key_bytes(l->keys[l->count - 1]), key) < 0;
}

static void grow_root(struct key_index *ix)
{
    struct inner *n = inner_new(ix);
    assert(ix->height + 1 < HEIGHT_MAX);
    n->count = 1;
    n->child[0] = ix->root;
    n->min[0] =
        ix->height ? ((struct inner *)ix->root)->min[0] : ((struct leaf *)ix->root)->keys[0];
    n->live[0] = ix->living;
    ix->root = n;
    ix->height++;
}

static void insert(struct key_index *ix, struct index_key *k)
{
    struct rt_bytes key = index_key_bytes(k);
    bool at_end = false, found;
    if (node_count(ix->root, ix->height) == FAN)
        grow_root(ix);
    void *node = ix->root;
    for (unsigned h = ix->height; h > 0; h--) {
        struct inner *n = node;
        unsigned pos = inner_pick(ix, n, key);
        if (node_count(n->child[pos], h - 1) == FAN) {
            if (!at_end)
                at_end = is_last_key(ix, key);
            split_child(ix, n, h, pos, at_end);
            pos = inner_pick(ix, n, key);
        }
        if (pos == 0 && rt_bytes_compare(key, index_key_bytes(n->min[0])) < 0)
            n->min[0] = k;
        node = n->child[pos];
    }
    struct leaf *l = node;
    unsigned at = leaf_pick(ix, l, key, &found);
    assert(!found);
    assert(l->count < FAN);
    memmove(l->keys + at + 1, l->keys + at, (l->count - at) * sizeof *l->keys);
    l->live = (l->live & bits_below(at)) | (l->live & ~bits_below(at)) << 1;
    l->keys[at] = k;
    l->count++;
    ix->keys++;
}

/* ---- Life and death ---- */

static void set_living(struct key_index *ix, struct rt_bytes key, bool lives)
{
    struct path p;
    descend(ix, key, &p);
    assert(p.found);
    uint64_t bit = UINT64_C(1) << p.at;
    if (!!(p.leaf->live & bit) == lives)
        return;
    p.leaf->live ^= bit;
    for (unsigned h = 1; h <= ix->height; h++)
        p.node[h]->live[p.pos[h]] += lives ? 1 : (uint64_t)-1;
    ix->living += lives ? 1 : (uint64_t)-1;
}

static struct index_key *find_or_insert(struct key_index *ix, struct rt_bytes key)
{
    struct index_key *k = key_index_find(ix, key);
    if (!k) {
        k = key_revs_new(ix, key);
        insert(ix, k);
    }
    return k;
}

struct index_key *key_index_add(struct key_index *ix, struct rt_bytes key, struct rev rev)
{
    struct index_key *k = find_or_insert(ix, key);
    bool lived = index_key_lives(k);
    assert(!rev.tombstone || lived);
    if (rev.tombstone)
        k->create = k->version = 0;
    else {
        k->create = lived ? k->create : rev.main;
        k->version++;
    }
    key_revs_append(ix, k, rev);
    if (lived != index_key_lives(k))
        set_living(ix, key, !lived);
    return k;
}

struct index_key *key_index_restore(struct key_index *ix, struct rt_bytes key, struct rev rev,
                                    int64_t create, int64_t version)
{
    struct index_key *k = find_or_insert(ix, key);
    bool lived = index_key_lives(k);
    k->create = create;
    k->version = version;
    key_revs_append(ix, k, rev);
    if (lived != index_key_lives(k))
        set_living(ix, key, !lived);
    return k;
}

/* ---- Removal ---- */

static void forget_child(struct inner *n, unsigned pos)
{
    n->count--;
    memmove(n->min + pos, n->min + pos + 1, (n->count - pos) * sizeof *n->min);
    memmove(n->live + pos, n->live + pos + 1, (n->count - pos) * sizeof *n->live);
    memmove(n->child + pos, n->child + pos + 1, (n->count - pos) * sizeof *n->child);
}

/* Join child[pos + 1] of n into child[pos] if together they are small. */
static void join_children(struct key_index *ix, struct inner *n, unsigned height, unsigned pos)
{
    if (pos + 1 >= n->count)
        return;
    unsigned a = node_count(n->child[pos], height - 1),
             b = node_count(n->child[pos + 1], height - 1);
    if (a + b > FAN * 3 / 4 && (a + b > FAN || (a > FAN / 8 && b > FAN / 8)))
        return;
    if (height == 1) {
        struct leaf *l = n->child[pos], *r = n->child[pos + 1];
        memcpy(l->keys + a, r->keys, b * sizeof *r->keys);
        if (a < 64)
            l->live |= r->live << a;
        l->count += b;
        leaf_free(ix, r);
    } else {
        struct inner *l = n->child[pos], *r = n->child[pos + 1];
        memcpy(l->min + a, r->min, b * sizeof *r->min);
        memcpy(l->live + a, r->live, b * sizeof *r->live);
        memcpy(l->child + a, r->child, b * sizeof *r->child);
        l->count += b;
        inner_free(ix, r);
    }
    n->live[pos] += n->live[pos + 1];
    forget_child(n, pos + 1);
}

/* After a removal: fix the smallest keys above, let empty nodes go, join small ones. */
static void repair(struct key_index *ix, struct path *p)
{
    void *child = p->leaf;
    for (unsigned h = 1; h <= ix->height; h++) {
        struct inner *n = p->node[h];
        unsigned pos = p->pos[h];
        if (node_count(child, h - 1) == 0) {
            if (h == 1)
                leaf_free(ix, child);
            else
                inner_free(ix, child);
            forget_child(n, pos);
        } else {
            n->min[pos] =
                h == 1 ? ((struct leaf *)child)->keys[0] : ((struct inner *)child)->min[0];
            join_children(ix, n, h, pos);
            if (pos > 0)
                join_children(ix, n, h, pos - 1);
        }
        child = n;
    }
    while (ix->height > 0) {
        struct inner *n = ix->root;
        if (n->count > 1)
            break;
        ix->root = n->count ? n->child[0] : (void *)leaf_new(ix);
        ix->height = n->count ? ix->height - 1 : 0;
        inner_free(ix, n);
    }
}

static void remove_key(struct key_index *ix, struct index_key *k)
{
    struct path p;
    assert(!index_key_lives(k));
    descend(ix, index_key_bytes(k), &p);
    assert(p.found);
    assert(p.leaf->keys[p.at] == k);
    struct leaf *l = p.leaf;
    l->count--;
    memmove(l->keys + p.at, l->keys + p.at + 1, (l->count - p.at) * sizeof *l->keys);
    l->live = (l->live & bits_below(p.at)) | (l->live >> 1 & ~bits_below(p.at));
    ix->keys--;
    repair(ix, &p);
    key_revs_free(ix, k);
}

bool key_index_trim(struct key_index *ix, struct index_key *k, uint32_t n)
{
    assert(n <= k->count);
    if (n == k->count) {
        remove_key(ix, k);
        return true;
    }
    key_revs_trim(ix, k, n);
    return false;
}

/* ---- Counting and walking ---- */

static uint64_t living_before(const struct key_index *ix, struct rt_bytes key)
{
    struct path p;
    uint64_t sum = 0;
    descend(ix, key, &p);
    for (unsigned h = 1; h <= ix->height; h++)
        for (unsigned i = 0; i < p.pos[h]; i++)
            sum += p.node[h]->live[i];
    return sum + (uint64_t)__builtin_popcountll(p.leaf->live & bits_below(p.at));
}

uint64_t key_index_count(struct key_index *ix, struct rt_bytes from, const struct rt_bytes *to)
{
    uint64_t below = living_before(ix, from);
    uint64_t upto = to ? living_before(ix, *to) : ix->living;
    return upto > below ? upto - below : 0;
}

struct index_cursor key_index_seek(const struct key_index *ix, struct rt_bytes from)
{
    struct path p;
    descend(ix, from, &p);
    return (struct index_cursor){p.leaf, p.at};
}

struct index_key *index_cursor_next(struct index_cursor *c)
{
    struct leaf *l = c->leaf;
    while (l && c->pos >= l->count) {
        c->leaf = l = l->next;
        c->pos = 0;
    }
    return l ? l->keys[c->pos++] : NULL;
}

/* ---- For tests ---- */

struct check {
    struct index_key *before;
    uint64_t keys, living;
    struct leaf *leaf;
};

static bool sound_below(const void *node, unsigned height, struct check *c)
{
    if (height == 0) {
        struct leaf *l = (struct leaf *)node;
        if (l->prev != c->leaf || (c->leaf && c->leaf->next != l))
            return false;
        c->leaf = l;
        for (unsigned i = 0; i < l->count; i++) {
            struct index_key *k = l->keys[i];
            if (c->before && rt_bytes_compare(index_key_bytes(c->before), index_key_bytes(k)) >= 0)
                return false;
            if (index_key_lives(k) != !!(l->live >> i & 1) || k->count == 0 ||
                index_key_newest(k).tombstone == index_key_lives(k))
                return false;
            c->before = k;
            c->keys++;
            c->living += index_key_lives(k);
        }
        return !(l->live & ~bits_below(l->count));
    }
    const struct inner *n = node;
    for (unsigned i = 0; i < n->count; i++) {
        uint64_t living = c->living, keys = c->keys;
        struct index_cursor first = {(void *)n->child[i], 0};
        for (unsigned h = height - 1; h > 0; h--)
            first.leaf = ((struct inner *)first.leaf)->child[0];
        if (((struct leaf *)first.leaf)->keys[0] != n->min[i] ||
            !sound_below(n->child[i], height - 1, c) || c->living - living != n->live[i] ||
            c->keys == keys)
            return false;
    }
    return n->count > 0;
}

bool key_index_is_sound(const struct key_index *ix)
{
    struct check c = {.before = NULL};
    return sound_below(ix->root, ix->height, &c) && c.keys == ix->keys && c.living == ix->living &&
           (!c.leaf || !c.leaf->next);
}
