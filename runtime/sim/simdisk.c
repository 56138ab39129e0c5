/* sim/simdisk.c: open files of the simulated world: what each call returns, how long it takes, and
 * what goes wrong. A write reaches memory at once; a sync sleeps, and then what was there when it began
 * is durable. Whoever loses the power meanwhile gets -EIO. */
#include "runtime/sim/simdisk.h"
#include "rt/alloc.h"
#include "rt/time.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

static const uint64_t unlimited_bytes = UINT64_C(1) << 40;

static struct sim_file *file_of(struct rt_file *base)
{
    assert(base->world == &file_simulated);
    struct sim_file *f = (struct sim_file *)(void *)base;
    sim_turn(f->sim);
    return f;
}

static int note(struct sim *s, const char *op, uint64_t what, int64_t result)
{
    sim_event(s, op, what, result);
    return (int)result;
}

static void take_time(struct sim *s)
{
    int64_t ns = (int64_t)sim_draw_between(s, SIM_DISK, (uint64_t)s->faults.disk_latency_min_ns,
                                           (uint64_t)s->faults.disk_latency_max_ns);
    sim_turn(s);
    if (ns)
        rt_sleep_ns(ns);
    sim_turn(s);
}

/* ---- open files -------------------------------------------------------------------------- */

static int find_to_open(struct sim *s, const char *path, int flags, struct sim_node **out)
{
    struct sim_node *dir;
    char name[SIM_NAME_BYTES];
    struct sim_node *node = sim_tree_find(s->disk, path, &dir, name);
    if (!node && (!dir || !(flags & RT_OPEN_CREATE)))
        return -ENOENT;
    if (node && (flags & RT_OPEN_CREATE) && (flags & RT_OPEN_EXCLUSIVE))
        return -EEXIST;
    if (node && node->is_directory && (flags & RT_OPEN_WRITE))
        return -EISDIR;
    if ((flags & RT_OPEN_DIRECTORY) && (!node || !node->is_directory))
        return -ENOTDIR;
    if (!node)
        node = sim_tree_create(s->disk, dir, name, false);
    else if ((flags & RT_OPEN_TRUNCATE) && !node->is_directory)
        sim_pages_truncate(node->pages, s->disk, 0);
    *out = node;
    return 0;
}

static int disk_open(void *state, const char *path, int flags, mode_t mode, struct rt_file **out)
{
    (void)mode; // one user
    struct sim *s = state;
    struct sim_node *node;
    sim_begin_run(s);
    int err = find_to_open(s, path, flags, &node);
    if (!err) {
        struct sim_file *f = rt_alloc_zero(sizeof *f);
        *f = (struct sim_file){.base = {&file_simulated},
                               .sim = s,
                               .node = node,
                               .flags = flags,
                               .next = s->disk->open_files};
        s->disk->open_files = f;
        sim_node_use(node);
        *out = &f->base;
    }
    return note(s, "open", sim_hash_text(path), err);
}

static void forget(struct simdisk *d, struct sim_file *f)
{
    struct sim_file **at = &d->open_files;
    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    if (f->node->locked_by == f)
        f->node->locked_by = NULL;
    sim_node_unuse(d, f->node);
    rt_free(f);
}

static int disk_close(struct rt_file *base)
{
    struct sim_file *f = file_of(base);
    struct sim *s = f->sim;
    uint64_t number = f->node->number;
    forget(s->disk, f);
    return note(s, "close file", number, 0);
}

/* What every transfer checks. */
static int may_transfer(const struct sim_file *f, int needed, const void *buf, size_t len,
                        uint64_t offset)
{
    if (f->dead)
        return -EIO;
    if (!(f->flags & needed))
        return -EBADF;
    if (f->node->is_directory)
        return -EISDIR;
    if ((f->flags & RT_OPEN_DIRECT) &&
        ((uintptr_t)buf % SIM_PAGE || len % SIM_PAGE || offset % SIM_PAGE))
        return -EINVAL;
    return 0;
}

static ssize_t disk_pread(struct rt_file *base, void *buf, size_t len, uint64_t offset)
{
    struct sim_file *f = file_of(base);
    struct sim *s = f->sim;
    ssize_t n = may_transfer(f, RT_OPEN_READ, buf, len, offset);
    if (!n && sim_chance(s, SIM_DISK, s->faults.read_eio_ppm))
        n = -EIO;
    if (!n)
        n = (ssize_t)sim_pages_read(f->node->pages, buf, len, offset);
    sim_event(s, "pread", f->node->number ^ offset << 20, n);
    return n;
}

static int write_now(struct sim_file *f, const void *buf, size_t len, uint64_t offset)
{
    struct sim *s = f->sim;
    struct sim_pages *pages = f->node->pages;
    int err = may_transfer(f, RT_OPEN_WRITE, buf, len, offset);
    if (err)
        return err;
    if (sim_chance(s, SIM_DISK, s->faults.write_eio_ppm))
        return -EIO;
    if (f->flags & RT_OPEN_APPEND)
        offset = sim_pages_size(pages);
    if (offset + len > sim_pages_size(pages) && sim_chance(s, SIM_DISK, s->faults.write_enospc_ppm))
        return -ENOSPC;
    return sim_pages_write(pages, s->disk, buf, len, offset);
}

static int disk_pwrite(struct rt_file *base, const void *buf, size_t len, uint64_t offset)
{
    struct sim_file *f = file_of(base);
    int err = write_now(f, buf, len, offset);
    return note(f->sim, "pwrite", f->node->number ^ sim_hash(buf, len) ^ offset << 20, err);
}

static int sync_range(struct sim_file *f, uint64_t offset, uint64_t len)
{
    struct sim *s = f->sim;
    if (f->dead)
        return -EIO;
    struct sim_pages *pages = f->node->pages;
    struct sim_pages_copy *copy = pages ? sim_pages_sync_begin(pages, offset, len) : NULL;
    uint64_t change = s->disk->changes;
    take_time(s);
    int err = f->dead || sim_chance(s, SIM_DISK, s->faults.sync_eio_ppm) ? -EIO : 0;
    if (err && pages)
        sim_pages_sync_failed(pages, copy); // what was lost shows when the power goes
    else if (!err && pages)
        sim_pages_sync_end(pages, copy);
    else if (!err)
        sim_tree_sync(s->disk, f->node, change);
    return err;
}

static int disk_pwrite_durable(struct rt_file *base, const void *buf, size_t len, uint64_t offset)
{
    struct sim_file *f = file_of(base);
    uint64_t what = f->node->number ^ sim_hash(buf, len) ^ offset << 20;
    int err = write_now(f, buf, len, offset);
    bool append = f->flags & RT_OPEN_APPEND;
    if (!err)
        err = sync_range(f, append ? 0 : offset, append ? UINT64_MAX : len);
    return note(f->sim, "pwrite durable", what, err);
}

static int disk_sync(struct rt_file *base)
{
    struct sim_file *f = file_of(base);
    return note(f->sim, "sync", f->node->number, sync_range(f, 0, UINT64_MAX));
}

static int disk_size(struct rt_file *base, uint64_t *size_out)
{
    struct sim_file *f = file_of(base);
    uint64_t size = f->node->is_directory ? 0 : sim_pages_size(f->node->pages);
    int err = f->dead ? -EIO : 0;
    if (!err)
        *size_out = size;
    return note(f->sim, "size", f->node->number ^ size << 20, err);
}

static int disk_truncate(struct rt_file *base, uint64_t size)
{
    struct sim_file *f = file_of(base);
    int err = may_transfer(f, RT_OPEN_WRITE, NULL, 0, 0);
    if (!err)
        err = sim_pages_truncate(f->node->pages, f->sim->disk, size);
    return note(f->sim, "truncate", f->node->number ^ size << 20, err);
}

static int disk_allocate(struct rt_file *base, uint64_t offset, uint64_t len)
{
    struct sim_file *f = file_of(base);
    struct sim *s = f->sim;
    int err = may_transfer(f, RT_OPEN_WRITE, NULL, 0, 0);
    if (!err && sim_chance(s, SIM_DISK, s->faults.write_enospc_ppm))
        err = -ENOSPC;
    if (!err)
        err = sim_pages_allocate(f->node->pages, s->disk, offset, len);
    return note(s, "allocate", f->node->number ^ (offset + len) << 20, err);
}

static int disk_lock(struct rt_file *base)
{
    struct sim_file *f = file_of(base);
    struct sim_file *owner = f->node->locked_by;
    int err = f->dead ? -EIO : owner && owner != f ? -EAGAIN : 0;
    if (!err)
        f->node->locked_by = f;
    return note(f->sim, "lock", f->node->number, err);
}

/* ---- names ------------------------------------------------------------------------------- */

static int rename_found(struct simdisk *d, const char *from, const char *to)
{
    struct sim_node *from_dir, *to_dir;
    char from_name[SIM_NAME_BYTES], to_name[SIM_NAME_BYTES];
    struct sim_node *node = sim_tree_find(d, from, &from_dir, from_name);
    struct sim_node *over = sim_tree_find(d, to, &to_dir, to_name);
    if (!node || !to_dir)
        return -ENOENT;
    if (node == d->root || over == d->root ||
        (node->is_directory && sim_tree_is_under(to_dir, node)))
        return -EINVAL;
    if (node == over)
        return 0;
    if (over && over->is_directory != node->is_directory)
        return over->is_directory ? -EISDIR : -ENOTDIR;
    if (over && over->names)
        return -ENOTEMPTY;
    sim_tree_rename(d, from_dir, from_name, to_dir, to_name);
    return 0;
}

static int disk_rename(void *state, const char *from, const char *to)
{
    struct sim *s = state;
    sim_begin_run(s);
    return note(s, "rename", sim_hash_text(from) ^ sim_hash_text(to) << 1,
                rename_found(s->disk, from, to));
}

static int disk_unlink(void *state, const char *path)
{
    struct sim *s = state;
    struct sim_node *dir;
    char name[SIM_NAME_BYTES];
    sim_begin_run(s);
    struct sim_node *node = sim_tree_find(s->disk, path, &dir, name);
    int err = !node ? -ENOENT : node->is_directory ? -EISDIR : 0;
    if (!err)
        sim_tree_remove(s->disk, dir, name);
    return note(s, "unlink", sim_hash_text(path), err);
}

static int disk_mkdir(void *state, const char *path, mode_t mode)
{
    (void)mode;
    struct sim *s = state;
    struct sim_node *dir;
    char name[SIM_NAME_BYTES];
    sim_begin_run(s);
    struct sim_node *node = sim_tree_find(s->disk, path, &dir, name);
    int err = node ? -EEXIST : !dir ? -ENOENT : 0;
    if (!err)
        sim_tree_create(s->disk, dir, name, true);
    return note(s, "mkdir", sim_hash_text(path), err);
}

static int disk_rmdir(void *state, const char *path)
{
    struct sim *s = state;
    struct sim_node *dir;
    char name[SIM_NAME_BYTES];
    sim_begin_run(s);
    struct sim_node *node = sim_tree_find(s->disk, path, &dir, name);
    int err = !node ? -ENOENT : !node->is_directory ? -ENOTDIR : node->names ? -ENOTEMPTY : 0;
    if (node == s->disk->root)
        err = -EBUSY;
    if (!err)
        sim_tree_remove(s->disk, dir, name);
    return note(s, "rmdir", sim_hash_text(path), err);
}

static int disk_exists(void *state, const char *path)
{
    struct sim *s = state;
    sim_begin_run(s);
    return note(s, "exists", sim_hash_text(path), sim_tree_find(s->disk, path, NULL, NULL) ? 1 : 0);
}

/* The names are copied first: `each` may change the directory. */
static int disk_list_dir(void *state, const char *path, void (*each)(void *arg, const char *name),
                         void *arg)
{
    struct sim *s = state;
    sim_begin_run(s);
    struct sim_node *dir = sim_tree_find(s->disk, path, NULL, NULL);
    int err = !dir ? -ENOENT : !dir->is_directory ? -ENOTDIR : 0;
    struct rt_string names = {0};
    size_t count = 0;
    for (struct sim_name *n = err ? NULL : dir->names; n; n = n->next, count++)
        rt_string_append(&names, n->text, strlen(n->text) + 1);
    note(s, "list", sim_hash_text(path), err ? err : (int64_t)count);
    const char *name = rt_string_cstr(&names);
    for (size_t i = 0; i < count; i++, name += strlen(name) + 1)
        each(arg, name);
    rt_string_deinit(&names);
    return err;
}

static int disk_free_bytes(void *state, const char *path, uint64_t *out)
{
    struct sim *s = state;
    const struct simdisk *d = s->disk;
    sim_begin_run(s);
    int err = sim_tree_find(s->disk, path, NULL, NULL) ? 0 : -ENOENT;
    if (!err)
        *out = !d->limit_bytes                  ? unlimited_bytes
               : d->used_bytes < d->limit_bytes ? d->limit_bytes - d->used_bytes
                                                : 0;
    return note(s, "free bytes", sim_hash_text(path), err);
}

/* ---- power, life ------------------------------------------------------------------------- */

static uint64_t lose_contents(struct sim *s, struct sim_node *node)
{
    if (!node->is_directory)
        return sim_pages_lose_power(node->pages, s->disk, s);
    uint64_t lost = 0;
    for (struct sim_name *n = node->names; n; n = n->next)
        lost += lose_contents(s, n->node);
    return lost;
}

void rt_sim_power_loss(struct rt_world *world, const char *prefix)
{
    struct sim *s = sim_of(world);
    struct sim_node *dir = sim_tree_find(s->disk, prefix, NULL, NULL);
    if (!dir)
        return;
    for (struct sim_file *f = s->disk->open_files; f; f = f->next) {
        if (!sim_tree_is_under(f->node, dir))
            continue;
        f->dead = true;
        if (f->node->locked_by == f)
            f->node->locked_by = NULL;
    }
    uint64_t undone = sim_tree_lose_power(s->disk, dir, s);
    uint64_t lost = lose_contents(s, dir);
    sim_event(s, "power loss", sim_hash_text(prefix), (int64_t)(undone << 32 ^ lost));
}

void rt_sim_set_disk_bytes(struct rt_world *world, uint64_t bytes)
{
    struct sim *s = sim_of(world);
    s->disk->limit_bytes = bytes;
    sim_turn(s);
}

struct simdisk *simdisk_new(void)
{
    struct simdisk *d = rt_alloc_zero(sizeof *d);
    d->root = sim_node_new(d, true);
    d->root->parent = d->root;
    sim_node_use(d->root);
    return d;
}

void simdisk_end_run(struct sim *s)
{
    while (s->disk->open_files) {
        struct sim_node *node = s->disk->open_files->node;
        if (node->pages)
            sim_pages_forget_syncs(node->pages);
        forget(s->disk, s->disk->open_files);
    }
}

void simdisk_free(struct simdisk *d)
{
    assert(!d->open_files);
    sim_tree_free(d);
    rt_free(d);
}

const struct rt_file_world file_simulated = {
    .open = disk_open,
    .close = disk_close,
    .pread = disk_pread,
    .pwrite = disk_pwrite,
    .pwrite_durable = disk_pwrite_durable,
    .datasync = disk_sync,
    .sync = disk_sync,
    .size = disk_size,
    .truncate = disk_truncate,
    .allocate = disk_allocate,
    .lock = disk_lock,
    .rename = disk_rename,
    .unlink = disk_unlink,
    .mkdir = disk_mkdir,
    .rmdir = disk_rmdir,
    .exists = disk_exists,
    .list_dir = disk_list_dir,
    .free_bytes = disk_free_bytes,
};
