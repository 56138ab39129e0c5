/* rt/file.h: files and directories. All calls may take the disk's time, have no deadline, and
 * wait for it inside rt_blocking or, for durable writes, on the io_uring. Results are 0, a count, or
 * -errno.  Context of all: goroutine; parks. */
#pragma once
#include "rt/bytes.h"
#include "rt/why.h"
#include <sys/types.h>
#include <sys/uio.h>

struct rt_file;

enum rt_open {
    RT_OPEN_READ = 1,
    RT_OPEN_WRITE = 2,
    RT_OPEN_CREATE = 4,
    RT_OPEN_EXCLUSIVE = 8, // with CREATE: it must not exist
    RT_OPEN_TRUNCATE = 16,
    RT_OPEN_DIRECT = 32,    // O_DIRECT: offsets, lengths and buffers in multiples of 4 KiB
    RT_OPEN_DIRECTORY = 64, // to sync it
    RT_OPEN_APPEND = 128,
};

/* 0 or -errno; -EOPNOTSUPP when the file system does not take RT_OPEN_DIRECT. */
int rt_file_open(const char *path, int flags, mode_t mode, struct rt_file **out);
int rt_file_close(struct rt_file *f); // frees f whatever it returns
/* Bytes read, less than len only at the end of the file. */
ssize_t rt_file_pread(struct rt_file *f, void *buf, size_t len, uint64_t offset);
/* Write all at offset: 0 or -errno. */
int rt_file_pwrite(struct rt_file *f, const void *buf, size_t len, uint64_t offset);
/* Write all and make it durable in one call (RWF_DSYNC); -EOPNOTSUPP when the file system does not
 * take it. A failed call is never retried by the caller (fsync's errors are reported once). */
int rt_file_pwrite_durable(struct rt_file *f, const void *buf, size_t len, uint64_t offset);
int rt_file_datasync(struct rt_file *f);
int rt_file_sync(struct rt_file *f); // on a directory: its names
int rt_file_size(struct rt_file *f, uint64_t *size_out);
int rt_file_truncate(struct rt_file *f, uint64_t size);
int rt_file_allocate(struct rt_file *f, uint64_t offset, uint64_t len); // fallocate, mode 0
/* Advisory lock of the whole file, held until this rt_file is closed: -EAGAIN when another open file
 * (of this process or another) has it. */
int rt_file_lock(struct rt_file *f);

int rt_rename(const char *from, const char *to);
int rt_unlink(const char *path);
int rt_mkdir(const char *path, mode_t mode);
int rt_rmdir(const char *path);
int rt_exists(const char *path); // 1, 0 or -errno
/* Call each(arg, name) for every entry but . and .. in name order. The names are read before the
 * first call, so each may change the directory and park. */
int rt_list_dir(const char *path, void (*each)(void *arg, const char *name), void *arg);
int rt_sync_dir(const char *path);
/* Bytes that an unprivileged writer may still use on the file system of `path`. */
int rt_free_bytes(const char *path, uint64_t *out);
/* Whole small file into fresh memory (rt_free); at most max bytes, else -EFBIG. */
int rt_read_file(const char *path, size_t max, uint8_t **data_out, size_t *len_out);
/* Replace a small file atomically and durably: write beside, sync, rename, sync the directory. */
int rt_replace_file(const char *path, const void *data, size_t len, mode_t mode);
