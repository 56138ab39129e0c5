/* cmd/kvlab/run_tool.c: other programs, and small files. */
#include "cmd/kvlab/run_tool.h"
#include <errno.h>
#include <rt/file.h>
#include <rt/time.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

int file_text(const char *path, char *buf, size_t cap)
{
    struct rt_file *f;
    size_t len = 0;
    ssize_t n = 0;
    buf[0] = 0;
    int err = rt_file_open(path, RT_OPEN_READ, 0, &f);
    if (err)
        return err;
    while (len + 1 < cap && (n = rt_file_pread(f, buf + len, cap - 1 - len, len)) > 0)
        len += (size_t)n;
    rt_file_close(f); // only read: nothing to lose
    buf[len] = 0;
    return n < 0 ? (int)n : (int)len;
}

void file_tail(const char *path, int lines, char *buf, size_t cap)
{
    struct rt_file *f;
    uint64_t size = 0;
    buf[0] = 0;
    if (rt_file_open(path, RT_OPEN_READ, 0, &f))
        return;
    ssize_t n = 0;
    if (rt_file_size(f, &size) == 0)
        n = rt_file_pread(f, buf, cap - 1, size > cap - 1 ? size - (cap - 1) : 0);
    rt_file_close(f); // only read: nothing to lose
    size_t len = n > 0 ? (size_t)n : 0;
    while (len && buf[len - 1] == '\n')
        len--;
    buf[len] = 0;
    char *from = buf + len;
    while (from > buf && !(from[-1] == '\n' && --lines <= 0))
        from--;
    memmove(buf, from, strlen(from) + 1);
}

static void remove_entry(void *arg, const char *name)
{
    char path[800];
    snprintf(path, sizeof path, "%s/%s", (const char *)arg, name);
    int err = rt_unlink(path);
    if (err == -EISDIR || err == -EPERM)
        file_remove_tree(path);
}

void file_remove_tree(const char *path)
{
    rt_list_dir(path, remove_entry, (void *)path);
    rt_rmdir(path);
}

int run_tool(struct leftovers *left, const char *const *argv, const char *log_path, char *said,
             size_t cap, struct why *why)
{
    return run_tool_in(left, argv, NULL, log_path, said, cap, why);
}

int run_tool_in(struct leftovers *left, const char *const *argv, const char *const *envp,
                const char *log_path, char *said, size_t cap, struct why *why)
{
    struct rt_child *child;
    int status = 0;
    rt_unlink(log_path); // an older one, or none
    int err = leftovers_spawn(
        left,
        &(struct rt_command){
            .argv = argv, .envp = envp, .stdout_path = log_path, .stderr_path = log_path},
        &child, why);
    if (err)
        return err;
    err = rt_wait_child(child, rt_after_ns(120 * RT_SECOND), &status);
    if (err) {
        rt_kill(child, SIGKILL);
        rt_wait_child(child, RT_FOREVER, &status);
        why_set(why, "%s does not come to an end", argv[0]);
    }
    leftovers_child_free(left, child);
    file_text(log_path, said, cap);
    size_t len = strlen(said);
    if (len && said[len - 1] == '\n')
        said[len - 1] = 0;
    return err ? err : status;
}
