/* kv/store/folder.c: see folder.h. */
#include "kv/store/folder.h"
#include "kv/store/errors.h"
#include <errno.h>
#include <rt/parse.h>

static int say(struct why *why, const char *what, const char *path, int err)
{
    char buf[128];
    why_set(why, "cannot %s %s: %s", what, path, why_errno(err, buf, sizeof buf));
    return err;
}

int folder_lock(const char *dir, struct rt_file **lock_file, struct why *why)
{
    struct rt_string path = {NULL, 0, 0};
    int err = rt_mkdir(dir, 0700);
    if (err && err != -EEXIST)
        return say(why, "make", dir, err);
    rt_string_printf(&path, "%s/lock", dir);
    err = rt_file_open(rt_string_cstr(&path), RT_OPEN_READ | RT_OPEN_WRITE | RT_OPEN_CREATE, 0600,
                       lock_file);
    if (err)
        say(why, "open", rt_string_cstr(&path), err);
    else if ((err = rt_file_lock(*lock_file)) != 0) {
        if (err == -EAGAIN)
            why_set(why, "%s is in use by another process; stop it first", dir);
        else
            say(why, "lock", rt_string_cstr(&path), err);
        rt_file_close(*lock_file);
        *lock_file = NULL;
    }
    rt_string_deinit(&path);
    return err;
}

/* The number in "db-N", or 0. */
static uint64_t number_of(const char *name)
{
    uint64_t n;
    if (strncmp(name, "db-", 3) != 0 || rt_parse_u64(name + 3, &n))
        return 0;
    return n;
}

static int read_current(const char *dir, uint64_t *number, struct why *why)
{
    struct rt_string path = {NULL, 0, 0};
    uint8_t *data;
    size_t len;
    rt_string_printf(&path, "%s/current", dir);
    int err = rt_read_file(rt_string_cstr(&path), 64, &data, &len);
    if (err == -ENOENT) {
        *number = 0;
        err = 0;
    } else if (err)
        say(why, "read", rt_string_cstr(&path), err);
    else {
        char name[65];
        memcpy(name, data, len);
        name[len] = 0;
        rt_free(data);
        *number = number_of(name);
        if (*number == 0) {
            why_set(why, "%s names no database: damaged; replace this member",
                    rt_string_cstr(&path));
            err = STORE_DAMAGED;
        }
    }
    rt_string_deinit(&path);
    return err;
}

static int write_current(const char *dir, uint64_t number, struct why *why)
{
    struct rt_string path = {NULL, 0, 0}, name = {NULL, 0, 0};
    rt_string_printf(&path, "%s/current", dir);
    rt_string_printf(&name, "db-%llu", (unsigned long long)number);
    int err = rt_replace_file(rt_string_cstr(&path), name.data, name.len, 0600);
    if (err)
        say(why, "replace", rt_string_cstr(&path), err);
    rt_string_deinit(&path);
    rt_string_deinit(&name);
    return err;
}

void folder_remove(const char *path)
{
    static const char *const files[] = {"data.mdb", "lock.mdb"};
    struct rt_string file = {NULL, 0, 0};
    for (int i = 0; i < 2; i++) {
        file.len = 0;
        rt_string_printf(&file, "%s/%s", path, files[i]);
        rt_unlink(rt_string_cstr(&file)); // absent, or it stays for the next start
    }
    rt_string_deinit(&file);
    rt_rmdir(path);
}

struct leftovers {
    const char *dir;
    uint64_t current;
    struct rt_string path;
};

static void remove_leftover(void *arg, const char *name)
{
    struct leftovers *l = arg;
    uint64_t number = number_of(name);
    if (number == 0 || number == l->current)
        return;
    l->path.len = 0;
    rt_string_printf(&l->path, "%s/%s", l->dir, name);
    folder_remove(rt_string_cstr(&l->path));
}

int folder_current(const char *dir, struct rt_string *path, struct why *why)
{
    struct leftovers l = {.dir = dir};
    int err = read_current(dir, &l.current, why);
    if (err)
        return err;
    if (l.current == 0) { // a new directory: nothing in it counts yet
        l.current = 1;
        err = write_current(dir, l.current, why);
        if (err)
            return err;
    }
    err = rt_list_dir(dir, remove_leftover, &l);
    rt_string_deinit(&l.path);
    if (err)
        return say(why, "list", dir, err);
    rt_string_printf(path, "%s/db-%llu", dir, (unsigned long long)l.current);
    return 0;
}

int folder_next(const char *dir, struct rt_string *path, struct why *why)
{
    uint64_t current;
    int err = read_current(dir, &current, why);
    if (err)
        return err;
    rt_string_printf(path, "%s/db-%llu", dir, (unsigned long long)current + 1);
    folder_remove(rt_string_cstr(path));
    return 0;
}

int folder_switch(const char *dir, struct why *why)
{
    uint64_t current;
    int err = read_current(dir, &current, why);
    return err ? err : write_current(dir, current + 1, why);
}
