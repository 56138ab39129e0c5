/* sim/simtree.c: names. There is one tree, as it is now; what a power loss would undo is a list of
 * changes, undone from the last to the first. An undo does what still makes sense: a name that a
 * later, surviving change has taken stays as it is. */
#include "rt/alloc.h"
#include "runtime/sim/simdisk.h"
#include <assert.h>
#include <string.h>

/* ---- nodes ------------------------------------------------------------------------------- */

struct sim_node *sim_node_new(struct simdisk *d, bool is_directory)
{
    struct sim_node *n = rt_alloc_zero(sizeof *n);
    n->number = ++d->numbers;
    n->is_directory = is_directory;
    n->pages = is_directory ? NULL : sim_pages_new();
    return n;
}

void sim_node_use(struct sim_node *n) { n->uses++; }

/* A node that lives on without a name (it is open, or a change speaks of it) counts as the root's:
 * no node points at a parent that is gone. */
static void name_ended(struct simdisk *d, struct sim_node *dir, struct sim_name *name)
{
    if (name->node->parent == dir)
        name->node->parent = d->root;
    sim_node_unuse(d, name->node);
    rt_free(name);
}

void sim_node_unuse(struct simdisk *d, struct sim_node *n)
{
    assert(n->uses > 0);
    if (--n->uses > 0)
        return;
    while (n->names) { // a directory that went with all it holds
        struct sim_name *name = n->names;
        n->names = name->next;
        name_ended(d, n, name);
    }
    if (n->pages)
        sim_pages_free(n->pages, d);
    rt_free(n);
}

/* ---- one directory ----------------------------------------------------------------------- */

/* Where `text` is, or where it would be linked in. */
static struct sim_name **place_of(struct sim_node *dir, const char *text)
{
    struct sim_name **at = &dir->names;
    while (*at && strcmp((*at)->text, text) < 0)
        at = &(*at)->next;
    return at;
}

static struct sim_node *look_up(struct sim_node *dir, const char *text)
{
    struct sim_name *name = *place_of(dir, text);
    return name && strcmp(name->text, text) == 0 ? name->node : NULL;
}

static void put(struct sim_node *dir, const char *text, struct sim_node *node)
{
    struct sim_name **at = place_of(dir, text);
    struct sim_name *name = rt_alloc_zero(sizeof *name);
    assert(!*at || strcmp((*at)->text, text) != 0);
    memcpy(name->text, text, strlen(text) + 1);
    name->node = node;
    name->next = *at;
    *at = name;
    sim_node_use(node);
    node->parent = dir;
}

static void take(struct simdisk *d, struct sim_node *dir, const char *text)
{
    struct sim_name **at = place_of(dir, text);
    struct sim_name *name = *at;
    assert(name);
    assert(strcmp(name->text, text) == 0);
    *at = name->next;
    name_ended(d, dir, name);
}

/* ---- paths ------------------------------------------------------------------------------- */

struct sim_node *sim_tree_find(struct simdisk *d, const char *path, struct sim_node **dir_out,
                               char name_out[SIM_NAME_BYTES])
{
    struct sim_node *dir = d->root, *node = d->root;
    char name[SIM_NAME_BYTES] = ".";
    while (*path) {
        size_t len = strcspn(path, "/");
        if (len == 0 || (len == 1 && path[0] == '.')) {
            path += len + (path[len] == '/');
            continue;
        }
        if (!node || !node->is_directory || len >= SIM_NAME_BYTES) {
            dir = node = NULL;
            break;
        }
        dir = node;
        memcpy(name, path, len);
        name[len] = 0;
        node = strcmp(name, "..") == 0 ? dir->parent : look_up(dir, name);
        path += len;
    }
    if (dir_out) {
        *dir_out = dir;
        memcpy(name_out, name, sizeof name);
    }
    return node;
}

bool sim_tree_is_under(const struct sim_node *node, const struct sim_node *dir)
{
    while (node != dir && node->parent != node)
        node = node->parent;
    return node == dir;
}

/* ---- changes ----------------------------------------------------------------------------- */

static struct sim_change *note_change(struct simdisk *d, enum sim_change_kind kind,
                                      struct sim_node *dir, const char *name, struct sim_node *node)
{
    struct sim_change *c = rt_alloc_zero(sizeof *c);
    c->number = ++d->changes;
    c->kind = kind;
    c->directory = dir;
    c->node = node;
    memcpy(c->name, name, strlen(name) + 1);
    sim_node_use(dir);
    sim_node_use(node);
    if (d->last_change)
        d->last_change->next = c;
    else
        d->first_change = c;
    d->last_change = c;
    return c;
}

static void free_change(struct simdisk *d, struct sim_change *c)
{
    sim_node_unuse(d, c->node);
    if (c->replaced)
        sim_node_unuse(d, c->replaced);
    if (c->from)
        sim_node_unuse(d, c->from);
    sim_node_unuse(d, c->directory);
    rt_free(c);
}

struct sim_node *sim_tree_create(struct simdisk *d, struct sim_node *dir, const char *name,
                                 bool is_directory)
{
    struct sim_node *node = sim_node_new(d, is_directory);
    put(dir, name, node);
    note_change(d, SIM_CREATED, dir, name, node);
    return node;
}

void sim_tree_remove(struct simdisk *d, struct sim_node *dir, const char *name)
{
    note_change(d, SIM_REMOVED, dir, name, look_up(dir, name));
    take(d, dir, name);
}

void sim_tree_rename(struct simdisk *d, struct sim_node *from_dir, const char *from_name,
                     struct sim_node *to_dir, const char *to_name)
{
    struct sim_node *node = look_up(from_dir, from_name);
    struct sim_change *c = note_change(d, SIM_RENAMED, to_dir, to_name, node);
    c->from = from_dir;
    sim_node_use(from_dir);
    memcpy(c->from_name, from_name, strlen(from_name) + 1);
    c->replaced = look_up(to_dir, to_name);
    if (c->replaced) {
        sim_node_use(c->replaced);
        take(d, to_dir, to_name);
    }
    take(d, from_dir, from_name);
    put(to_dir, to_name, node);
}

void sim_tree_sync(struct simdisk *d, struct sim_node *dir, uint64_t number)
{
    struct sim_change **at = &d->first_change;
    struct sim_change *last = NULL;
    while (*at) {
        struct sim_change *c = *at;
        if (c->number <= number && (c->directory == dir || c->from == dir)) {
            *at = c->next;
            free_change(d, c);
        } else {
            last = c;
            at = &c->next;
        }
    }
    d->last_change = last;
}

static void undo(struct simdisk *d, struct sim_change *c)
{
    struct sim_node *now = look_up(c->directory, c->name);
    switch (c->kind) {
    case SIM_CREATED:
        if (now == c->node)
            take(d, c->directory, c->name);
        break;
    case SIM_REMOVED:
        if (!now)
            put(c->directory, c->name, c->node);
        break;
    case SIM_RENAMED:
        if (now != c->node || sim_tree_is_under(c->from, c->node))
            break; // where it came from was moved into it by one that survives
        take(d, c->directory, c->name);
        if (c->replaced)
            put(c->directory, c->name, c->replaced);
        if (!look_up(c->from, c->from_name))
            put(c->from, c->from_name, c->node);
        break;
    }
}

/* Those under `dir` leave the list, the last first, so that each undo finds what it left. */
uint64_t sim_tree_lose_power(struct simdisk *d, struct sim_node *dir, struct sim *s)
{
    struct sim_change *here = NULL, *elsewhere = NULL, *last = NULL;
    struct sim_change **end = &elsewhere;
    for (struct sim_change *c = d->first_change, *next; c; c = next) {
        next = c->next;
        if (sim_tree_is_under(c->directory, dir)) {
            c->next = here;
            here = c;
        } else {
            *end = last = c;
            end = &c->next;
        }
    }
    *end = NULL;
    d->first_change = elsewhere;
    d->last_change = last;
    uint64_t undone = 0;
    struct sim_change *done = NULL;
    for (struct sim_change *c = here, *next; c; c = next) {
        next = c->next;
        if (sim_draw(s, SIM_DISK) & 1) {
            undo(d, c);
            undone++;
        }
        c->next = done;
        done = c;
    }
    while (done) { // only now: an undo may need what another one holds
        struct sim_change *c = done;
        done = c->next;
        free_change(d, c);
    }
    return undone;
}

void sim_tree_free(struct simdisk *d)
{
    while (d->first_change) {
        struct sim_change *c = d->first_change;
        d->first_change = c->next;
        free_change(d, c);
    }
    d->last_change = NULL;
    sim_node_unuse(d, d->root);
}
