/* poll/file.c: files, as far as they are the same in every world: the way to the world's
 * operations, and what is made of them. */
#include "runtime/poll/file.h"
#include "rt/alloc.h"
#include "rt/sim.h"
#include "runtime/sched/proc.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

static const struct rt_file_world *current_files(void **state_out)
{
    const struct rt_world *world = sched_world();
    *state_out = world ? world->state : NULL;
    return world && world->file ? world->file : &file_real;
}

/* ---- one operation, by its world --------------------------------------------------------- */

int rt_file_open(const char *path, int flags, mode_t mode, struct rt_file **out)
{
    void *state;
    const struct rt_file_world *files = current_files(&state);
    assert(flags & (RT_OPEN_READ | RT_OPEN_WRITE));
    return files->open(state, path, flags, mode, out);
}

int rt_file_close(struct rt_file *f) { return f->world->close(f); }

ssize_t rt_file_pread(struct rt_file *f, void *buf, size_t len, uint64_t offset)
{
    return f->world->pread(f, buf, len, offset);
}

int rt_file_pwrite(struct rt_file *f, const void *buf, size_t len, uint64_t offset)
{
    return f->world->pwrite(f, buf, len, offset);
}

int rt_file_pwrite_durable(struct rt_file *f, const void *buf, size_t len, uint64_t offset)
{
    return f->world->pwrite_durable(f, buf, len, offset);
}

int rt_file_datasync(struct rt_file *f) { return f->world->datasync(f); }
int rt_file_sync(struct rt_file *f) { return f->world->sync(f); }
int rt_file_size(struct rt_file *f, uint64_t *size_out) { return f->world->size(f, size_out); }
int rt_file_truncate(struct rt_file *f, uint64_t size) { return f->world->truncate(f, size); }

int rt_file_allocate(struct rt_file *f, uint64_t offset, uint64_t len)
{
    return f->world->allocate(f, offset, len);
}

int rt_file_lock(struct rt_file *f) { return f->world->lock(f); }

int rt_rename(const char *from, const char *to)
{
    void *state;
    const struct rt_file_world *files = current_files(&state);
    return files->rename(state, from, to);
}

int rt_unlink(const char *path)
{
    void *state;
    const struct rt_file_world *files = current_files(&state);
    return files->unlink(state, path);
}

int rt_mkdir(const char *path, mode_t mode)
{
    void *state;
    const struct rt_file_world *files = current_files(&state);
    return files->mkdir(state, path, mode);
}

int rt_rmdir(const char *path)
{
    void *state;
    const struct rt_file_world *files = current_files(&state);
    return files->rmdir(state, path);
}

int rt_exists(const char *path)
{
    void *state;
    const struct rt_file_world *files = current_files(&state);
    return files->exists(state, path);
}

int rt_list_dir(const char *path, void (*each)(void *arg, const char *name), void *arg)
{
    void *state;
    const struct rt_file_world *files = current_files(&state);
    return files->list_dir(state, path, each, arg);
}

int rt_free_bytes(const char *path, uint64_t *out)
{
    void *state;
    const struct rt_file_world *files = current_files(&state);
    return files->free_bytes(state, path, out);
}

/* ---- made of the operations above -------------------------------------------------------- */

int rt_sync_dir(const char *path)
{
    struct rt_file *dir;
    int err = rt_file_open(path, RT_OPEN_READ | RT_OPEN_DIRECTORY, 0, &dir);
    if (err)
        return err;
    err = rt_file_sync(dir);
    int close_err = rt_file_close(dir);
    return err ? err : close_err;
}

int rt_read_file(const char *path, size_t max, uint8_t **data_out, size_t *len_out)
{
    struct rt_file *f;
    int err = rt_file_open(path, RT_OPEN_READ, 0, &f);
    if (err)
        return err;
    uint64_t size = 0;
    uint8_t *data = NULL;
    ssize_t n = 0;
    err = rt_file_size(f, &size);
    if (!err && size > max)
        err = -EFBIG;
    if (!err && !(data = rt_alloc(size ? size : 1)))
        err = -ENOMEM;
    if (!err && size) {
        n = rt_file_pread(f, data, size, 0);
        err = n < 0 ? (int)n : 0;
    }
    int close_err = rt_file_close(f);
    if (err || close_err) {
        rt_free(data);
        return err ? err : close_err;
    }
    *data_out = data;
    *len_out = (size_t)n;
    return 0;
}

static int write_beside(const char *path, const void *data, size_t len, mode_t mode)
{
    struct rt_file *f;
    int err = rt_file_open(path, RT_OPEN_WRITE | RT_OPEN_CREATE | RT_OPEN_TRUNCATE, mode, &f);
    if (err)
        return err;
    if (len)
        err = rt_file_pwrite(f, data, len, 0);
    if (!err)
        err = rt_file_datasync(f);
    int close_err = rt_file_close(f);
    return err ? err : close_err;
}

/* The order is what makes it durable: the bytes before the name, the name before we say so. A
 * leftover of an attempt that a crash cut short is overwritten by the next one. */
int rt_replace_file(const char *path, const void *data, size_t len, mode_t mode)
{
    struct rt_string beside = {0}, dir = {0};
    const char *slash = strrchr(path, '/');
    rt_string_printf(&beside, "%s.tmp", path);
    if (!slash)
        rt_string_printf(&dir, ".");
    else if (slash == path)
        rt_string_printf(&dir, "/");
    else
        rt_string_append(&dir, path, (size_t)(slash - path));
    int err = write_beside(rt_string_cstr(&beside), data, len, mode);
    if (!err)
        err = rt_rename(rt_string_cstr(&beside), path);
    if (err)
        (void)rt_unlink(rt_string_cstr(&beside)); // best effort: the first error is what counts
    if (!err)
        err = rt_sync_dir(rt_string_cstr(&dir));
    rt_string_deinit(&beside);
    rt_string_deinit(&dir);
    return err;
}
