/* poll/file.h: files of a world. file.c dispatches to the world of the running runtime and does
 * what is common (whole small files, atomic replacement); a world gives single operations with the
 * meaning that rt/file.h states. */
#pragma once
#include "rt/file.h"

struct rt_file {
    const struct rt_file_world *world;
};

struct rt_file_world {
    int (*open)(void *state, const char *path, int flags, mode_t mode, struct rt_file **out);
    int (*close)(struct rt_file *f); // frees f
    ssize_t (*pread)(struct rt_file *f, void *buf, size_t len, uint64_t offset);
    int (*pwrite)(struct rt_file *f, const void *buf, size_t len, uint64_t offset);
    int (*pwrite_durable)(struct rt_file *f, const void *buf, size_t len, uint64_t offset);
    int (*datasync)(struct rt_file *f);
    int (*sync)(struct rt_file *f);
    int (*size)(struct rt_file *f, uint64_t *size_out);
    int (*truncate)(struct rt_file *f, uint64_t size);
    int (*allocate)(struct rt_file *f, uint64_t offset, uint64_t len);
    int (*lock)(struct rt_file *f);
    int (*rename)(void *state, const char *from, const char *to);
    int (*unlink)(void *state, const char *path);
    int (*mkdir)(void *state, const char *path, mode_t mode);
    int (*rmdir)(void *state, const char *path);
    int (*exists)(void *state, const char *path);
    int (*list_dir)(void *state, const char *path, void (*each)(void *arg, const char *name),
                    void *arg);
    int (*free_bytes)(void *state, const char *path, uint64_t *out);
};

extern const struct rt_file_world file_real;
