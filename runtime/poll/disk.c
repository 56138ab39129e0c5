/* poll/disk.c: the files of the real world.
 *
 * A call that may wait for the disk runs through rt_blocking: the P is in a system call meanwhile,
 * and somebody else takes it over only when there is work for it and the call is slow. A sync of
 * 0.1 ms with nothing else to run hands nothing over.
 *
 * Transfers are repeated after a short count; only a sync, or a durable write that failed, is never
 * tried again (the kernel reports a lost page once). */
#include "rt/alloc.h"
#include "rt/go.h"
#include "runtime/poll/file.h"
#include "runtime/poll/poller.h"
#include "runtime/poll/sys.h"
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { LIST_BUFFER = 32 << 10 };

struct disk_file {
    struct rt_file base;
    int fd;
};

static struct disk_file *file_of(struct rt_file *f)
{
    assert(f->world == &file_real);
    return (struct disk_file *)(void *)f;
}

/* ---- open files -------------------------------------------------------------------------- */

struct file_call {
    int fd;
    const char *path, *other_path;
    void *buf;
    size_t len;
    uint64_t offset;
    int flags;
    mode_t mode;
};

static int64_t call_open(void *arg)
{
    struct file_call *c = arg;
    return sys_open(c->path, c->flags, c->mode);
}

static int disk_open(void *state, const char *path, int flags, mode_t mode, struct rt_file **out)
{
    (void)state;
    static const struct {
        int ours, theirs;
    } table[] = {
        {RT_OPEN_CREATE, O_CREAT},  {RT_OPEN_EXCLUSIVE, O_EXCL},      {RT_OPEN_TRUNCATE, O_TRUNC},
        {RT_OPEN_DIRECT, O_DIRECT}, {RT_OPEN_DIRECTORY, O_DIRECTORY}, {RT_OPEN_APPEND, O_APPEND},
    };
    struct file_call c = {.path = path, .mode = mode, .flags = O_CLOEXEC};
    if (flags & RT_OPEN_WRITE)
        c.flags |= flags & RT_OPEN_READ ? O_RDWR : O_WRONLY;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (flags & table[i].ours)
            c.flags |= table[i].theirs;
    int64_t fd = rt_blocking(call_open, &c);
    if (fd == -EINVAL && (flags & RT_OPEN_DIRECT))
        return -EOPNOTSUPP; // the word of file systems that do not take O_DIRECT
    if (fd < 0)
        return (int)fd;
    struct disk_file *f = rt_alloc(sizeof *f);
    *f = (struct disk_file){{&file_real}, (int)fd};
    *out = &f->base;
    return 0;
}

static int64_t call_close(void *arg) { return sys_close(((struct file_call *)arg)->fd); }

static int disk_close(struct rt_file *base)
{
    struct disk_file *f = file_of(base);
    int err = (int)rt_blocking(call_close, &(struct file_call){.fd = f->fd});
    rt_free(f);
    return err;
}

static int64_t call_pread(void *arg)
{
    struct file_call *c = arg;
    size_t done = 0;
    while (done < c->len) {
        ssize_t n = sys_pread(c->fd, (char *)c->buf + done, c->len - done, c->offset + done);
        if (n < 0)
            return n;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (int64_t)done;
}

static ssize_t disk_pread(struct rt_file *base, void *buf, size_t len, uint64_t offset)
{
    struct file_call c = {.fd = file_of(base)->fd, .buf = buf, .len = len, .offset = offset};
    return (ssize_t)rt_blocking(call_pread, &c);
}

/* pwritev2 with RWF_DSYNC makes each piece durable by itself, so a short count is no danger. */
static int64_t call_pwrite(void *arg)
{
    struct file_call *c = arg;
    size_t done = 0;
    while (done < c->len) {
        ssize_t n =
            sys_pwrite(c->fd, (char *)c->buf + done, c->len - done, c->offset + done, c->flags);
        if (n < 0)
            return n;
        if (n == 0)
            return -EIO; // no progress and no reason
        done += (size_t)n;
    }
    return 0;
}

static int write_with(struct rt_file *base, const void *buf, size_t len, uint64_t offset, int flags)
{
    struct file_call c = {.fd = file_of(base)->fd,
                          .buf = (void *)(uintptr_t)buf,
                          .len = len,
                          .offset = offset,
                          .flags = flags};
    return (int)rt_blocking(call_pwrite, &c);
}

static int disk_pwrite(struct rt_file *base, const void *buf, size_t len, uint64_t offset)
{
    return write_with(base, buf, len, offset, 0);
}

static int disk_pwrite_durable(struct rt_file *base, const void *buf, size_t len, uint64_t offset)
{
    int err = poll_write_durable(file_of(base)->fd, buf, len, offset);
    if (err == -ENOSYS)
        err = write_with(base, buf, len, offset, RWF_DSYNC);
    return err == -ENOSYS ? -EOPNOTSUPP : err; // a kernel or sandbox without pwritev2
}

static int64_t call_datasync(void *arg) { return sys_fdatasync(((struct file_call *)arg)->fd); }
static int64_t call_sync(void *arg) { return sys_fsync(((struct file_call *)arg)->fd); }

static int disk_datasync(struct rt_file *base)
{
    return (int)rt_blocking(call_datasync, &(struct file_call){.fd = file_of(base)->fd});
}

static int disk_sync(struct rt_file *base)
{
    return (int)rt_blocking(call_sync, &(struct file_call){.fd = file_of(base)->fd});
}

static int disk_size(struct rt_file *base, uint64_t *size_out)
{
    struct stat st;
    int err = sys_fstat(file_of(base)->fd, &st); // of an open file: in memory
    if (!err)
        *size_out = (uint64_t)st.st_size;
    return err;
}

static int64_t call_truncate(void *arg)
{
    struct file_call *c = arg;
    return sys_ftruncate(c->fd, c->offset);
}

static int disk_truncate(struct rt_file *base, uint64_t size)
{
    struct file_call c = {.fd = file_of(base)->fd, .offset = size};
    return (int)rt_blocking(call_truncate, &c);
}

static int64_t call_allocate(void *arg)
{
    struct file_call *c = arg;
    return sys_fallocate(c->fd, c->offset, c->len);
}

static int disk_allocate(struct rt_file *base, uint64_t offset, uint64_t len)
{
    struct file_call c = {.fd = file_of(base)->fd, .offset = offset, .len = len};
    return (int)rt_blocking(call_allocate, &c);
}

/* flock, not fcntl: that one is lost when any descriptor of the file is closed. */
static int disk_lock(struct rt_file *base)
{
    return sys_flock(file_of(base)->fd, LOCK_EX | LOCK_NB);
}

/* ---- names ------------------------------------------------------------------------------- */

static int64_t call_rename(void *arg)
{
    struct file_call *c = arg;
    return sys_rename(c->path, c->other_path);
}

static int disk_rename(void *state, const char *from, const char *to)
{
    (void)state;
    return (int)rt_blocking(call_rename, &(struct file_call){.path = from, .other_path = to});
}

static int64_t call_unlink(void *arg) { return sys_unlink(((struct file_call *)arg)->path); }

static int disk_unlink(void *state, const char *path)
{
    (void)state;
    return (int)rt_blocking(call_unlink, &(struct file_call){.path = path});
}

static int64_t call_mkdir(void *arg)
{
    struct file_call *c = arg;
    return sys_mkdir(c->path, c->mode);
}

static int disk_mkdir(void *state, const char *path, mode_t mode)
{
    (void)state;
    return (int)rt_blocking(call_mkdir, &(struct file_call){.path = path, .mode = mode});
}

static int64_t call_rmdir(void *arg) { return sys_rmdir(((struct file_call *)arg)->path); }

static int disk_rmdir(void *state, const char *path)
{
    (void)state;
    return (int)rt_blocking(call_rmdir, &(struct file_call){.path = path});
}

static int64_t call_exists(void *arg)
{
    struct stat st;
    int err = sys_stat(((struct file_call *)arg)->path, &st);
    return err == -ENOENT ? 0 : err ? err : 1;
}

static int disk_exists(void *state, const char *path)
{
    (void)state;
    return (int)rt_blocking(call_exists, &(struct file_call){.path = path});
}

struct free_call {
    const char *path;
    uint64_t bytes;
};

static int64_t call_free_bytes(void *arg)
{
    struct free_call *c = arg;
    struct statvfs st;
    int err = sys_statvfs(c->path, &st);
    if (!err)
        c->bytes = (uint64_t)st.f_bavail * st.f_frsize;
    return err;
}

static int disk_free_bytes(void *state, const char *path, uint64_t *out)
{
    (void)state;
    struct free_call c = {.path = path};
    int err = (int)rt_blocking(call_free_bytes, &c);
    if (!err)
        *out = c.bytes;
    return err;
}

/* ---- listing ----------------------------------------------------------------------------- */

static int64_t call_getdents(void *arg)
{
    struct file_call *c = arg;
    return sys_getdents(c->fd, c->buf, c->len);
}

/* All names, one after another with their NULs. */
static int read_names(int fd, struct rt_string *names, size_t *count_out)
{
    char *buf = rt_alloc(LIST_BUFFER);
    struct file_call c = {.fd = fd, .buf = buf, .len = LIST_BUFFER};
    int64_t n;
    size_t count = 0;
    while ((n = rt_blocking(call_getdents, &c)) > 0) {
        for (int64_t at = 0; at < n;) {
            const struct dirent64 *d = (const void *)(buf + at);
            if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0) {
                rt_string_append(names, d->d_name, strlen(d->d_name) + 1);
                count++;
            }
            at += d->d_reclen;
        }
    }
    rt_free(buf);
    *count_out = count;
    return (int)n;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int disk_list_dir(void *state, const char *path, void (*each)(void *arg, const char *name),
                         void *arg)
{
    (void)state;
    struct file_call c = {.path = path, .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC};
    int fd = (int)rt_blocking(call_open, &c);
    if (fd < 0)
        return fd;
    struct rt_string names = {0};
    size_t count = 0;
    int err = read_names(fd, &names, &count);
    (void)sys_close(fd); // it was only read
    const char **sorted = err ? NULL : rt_alloc((count + 1) * sizeof *sorted);
    if (!err && !sorted)
        err = -ENOMEM;
    if (!err) {
        const char *name = rt_string_cstr(&names);
        for (size_t i = 0; i < count; i++, name += strlen(name) + 1)
            sorted[i] = name;
        qsort(sorted, count, sizeof *sorted, compare_names);
        for (size_t i = 0; i < count; i++)
            each(arg, sorted[i]);
    }
    rt_free(sorted);
    rt_string_deinit(&names);
    return err;
}

const struct rt_file_world file_real = {
    .open = disk_open,
    .close = disk_close,
    .pread = disk_pread,
    .pwrite = disk_pwrite,
    .pwrite_durable = disk_pwrite_durable,
    .datasync = disk_datasync,
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
