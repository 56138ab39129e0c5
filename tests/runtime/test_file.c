/* Files of the real world. */
#include "tests/support/rt_test.h"
#include <assert.h>
#include <errno.h>
#include <rt/alloc.h>
#include <rt/file.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

enum { BLOCK = 4096 };
#define LONG (60 * RT_SECOND)

static char dir[64];

static const char *in_dir(const char *name)
{
    static char paths[4][128];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/rt-test-file-%016llx", (unsigned long long)rt_random_u64());
    return rt_mkdir(dir, 0700);
}

static void remove_name(void *arg, const char *name)
{
    (void)arg;
    (void)rt_unlink(in_dir(name));
}

static int remove_dir(void **state)
{
    (void)state;
    rt_list_dir(dir, remove_name, NULL);
    return rt_rmdir(dir);
}

static struct rt_file *open_or_fail(const char *path, int flags)
{
    struct rt_file *f;
    assert_int_equal(rt_file_open(path, flags, 0600, &f), 0);
    return f;
}

static void what_is_written_is_read_back_at_its_place(void **state)
{
    (void)state;
    struct rt_file *f = open_or_fail(in_dir("f"), RT_OPEN_READ | RT_OPEN_WRITE | RT_OPEN_CREATE);
    char buf[16] = {0};
    uint64_t size;
    assert_int_equal(rt_file_pwrite(f, "hello", 5, 10), 0);
    assert_int_equal(rt_file_size(f, &size), 0);
    assert_int_equal(size, 15);
    assert_int_equal(rt_file_pread(f, buf, sizeof buf, 8), 7);
    assert_memory_equal(buf, "\0\0hello", 7);
    assert_int_equal(rt_file_pread(f, buf, sizeof buf, 15), 0);
    assert_int_equal(rt_file_truncate(f, 12), 0);
    assert_int_equal(rt_file_pread(f, buf, sizeof buf, 10), 2);
    assert_int_equal(rt_file_datasync(f), 0);
    assert_int_equal(rt_file_sync(f), 0);
    assert_int_equal(rt_file_allocate(f, 0, 1 << 20), 0);
    assert_int_equal(rt_file_size(f, &size), 0);
    assert_int_equal(size, 1 << 20);
    assert_int_equal(rt_file_close(f), 0);
}

static void a_big_transfer_is_whole(void **state)
{
    (void)state;
    size_t len = 9 << 20;
    uint8_t *data = rt_alloc(len), *back = rt_alloc(len);
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 13 + (i >> 10));
    struct rt_file *f = open_or_fail(in_dir("f"), RT_OPEN_READ | RT_OPEN_WRITE | RT_OPEN_CREATE);
    assert_int_equal(rt_file_pwrite(f, data, len, 3), 0);
    assert_int_equal(rt_file_pread(f, back, len, 3), (int)len);
    assert_memory_equal(data, back, len);
    assert_int_equal(rt_file_close(f), 0);
    rt_free(data);
    rt_free(back);
}

static void a_durable_write_is_one_call_direct_or_not(void **state)
{
    (void)state;
    uint8_t *block = rt_alloc_aligned(BLOCK, BLOCK), *back = rt_alloc_aligned(BLOCK, BLOCK);
    static const int forms[] = {0, RT_OPEN_DIRECT};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct rt_file *f;
        int err = rt_file_open(in_dir("log"),
                               RT_OPEN_READ | RT_OPEN_WRITE | RT_OPEN_CREATE | forms[i], 0600, &f);
        if (err == -EOPNOTSUPP) {
            print_message("# no O_DIRECT here\n");
            continue;
        }
        assert_int_equal(err, 0);
        memset(block, 'a' + (int)i, BLOCK);
        err = rt_file_pwrite_durable(f, block, BLOCK, BLOCK);
        assert_true(err == 0 || err == -EOPNOTSUPP);
        if (!err) {
            assert_int_equal(rt_file_pread(f, back, BLOCK, BLOCK), BLOCK);
            assert_memory_equal(block, back, BLOCK);
        }
        if (forms[i])
            assert_int_equal(rt_file_pwrite(f, block + 1, BLOCK, 0), -EINVAL);
        assert_int_equal(rt_file_close(f), 0);
    }
    rt_free(block);
    rt_free(back);
}

static void what_cannot_be_opened_gives_the_reason(void **state)
{
    (void)state;
    struct rt_file *f;
    static const struct {
        const char *name;
        int flags, err;
    } rows[] = {
        {"absent", RT_OPEN_READ, -ENOENT},
        {"no/such", RT_OPEN_WRITE | RT_OPEN_CREATE, -ENOENT},
        {"file", RT_OPEN_WRITE | RT_OPEN_CREATE | RT_OPEN_EXCLUSIVE, -EEXIST},
        {"file", RT_OPEN_READ | RT_OPEN_DIRECTORY, -ENOTDIR},
        {"", RT_OPEN_WRITE, -EISDIR},
    };
    rt_file_close(open_or_fail(in_dir("file"), RT_OPEN_WRITE | RT_OPEN_CREATE));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int err = rt_file_open(in_dir(rows[i].name), rows[i].flags, 0600, &f);
        if (err != rows[i].err)
            fail_msg("\"%s\": wanted %d, got %d", rows[i].name, rows[i].err, err);
    }
}

static void a_lock_holds_until_its_file_is_closed(void **state)
{
    (void)state;
    struct rt_file *a = open_or_fail(in_dir("lock"), RT_OPEN_WRITE | RT_OPEN_CREATE);
    struct rt_file *b = open_or_fail(in_dir("lock"), RT_OPEN_WRITE);
    struct rt_file *c = open_or_fail(in_dir("lock"), RT_OPEN_READ);
    assert_int_equal(rt_file_lock(a), 0);
    assert_int_equal(rt_file_lock(a), 0);
    assert_int_equal(rt_file_lock(b), -EAGAIN);
    rt_file_close(c); // another descriptor of the file
    assert_int_equal(rt_file_lock(b), -EAGAIN);
    rt_file_close(a);
    assert_int_equal(rt_file_lock(b), 0);
    rt_file_close(b);
}

struct names {
    char text[256];
};

static void note_name(void *arg, const char *name)
{
    struct names *n = arg;
    size_t len = strlen(n->text);
    snprintf(n->text + len, sizeof n->text - len, "%s ", name);
}

static void a_directory_is_listed_in_order(void **state)
{
    (void)state;
    struct names n = {""};
    static const char *made[] = {"b", "a10", "a1", "c", "B", ".hidden"};
    for (size_t i = 0; i < ARRAY_LEN(made); i++)
        rt_file_close(open_or_fail(in_dir(made[i]), RT_OPEN_WRITE | RT_OPEN_CREATE));
    assert_int_equal(rt_list_dir(dir, note_name, &n), 0);
    assert_string_equal(n.text, ".hidden B a1 a10 b c ");
    assert_int_equal(rt_list_dir(in_dir("none"), note_name, &n), -ENOENT);
    assert_int_equal(rt_list_dir(in_dir("b"), note_name, &n), -ENOTDIR);
}

static void count_name(void *arg, const char *name)
{
    (void)name;
    ++*(int *)arg;
}

static void a_directory_of_thousands_is_listed_whole(void **state)
{
    (void)state;
    int count = 0;
    char name[64];
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "a-rather-long-name-of-a-file-%05d", i);
        rt_file_close(open_or_fail(in_dir(name), RT_OPEN_WRITE | RT_OPEN_CREATE));
    }
    assert_int_equal(rt_list_dir(dir, count_name, &count), 0);
    assert_int_equal(count, 3000);
}

static void names_move_and_go(void **state)
{
    (void)state;
    assert_int_equal(rt_exists(in_dir("x")), 0);
    rt_file_close(open_or_fail(in_dir("x"), RT_OPEN_WRITE | RT_OPEN_CREATE));
    assert_int_equal(rt_exists(in_dir("x")), 1);
    assert_int_equal(rt_rename(in_dir("x"), in_dir("y")), 0);
    assert_int_equal(rt_exists(in_dir("x")), 0);
    assert_int_equal(rt_unlink(in_dir("y")), 0);
    assert_int_equal(rt_unlink(in_dir("y")), -ENOENT);
    assert_int_equal(rt_mkdir(in_dir("d"), 0700), 0);
    assert_int_equal(rt_mkdir(in_dir("d"), 0700), -EEXIST);
    assert_int_equal(rt_sync_dir(in_dir("d")), 0);
    assert_int_equal(rt_rmdir(in_dir("d")), 0);
    uint64_t left = 0;
    assert_int_equal(rt_free_bytes(dir, &left), 0);
    assert_true(left > 0);
}

static void replacing_a_file_leaves_the_new_bytes_and_nothing_else(void **state)
{
    (void)state;
    uint8_t *data;
    size_t len;
    struct names n = {""};
    struct stat st;
    for (int i = 0; i < 3; i++) {
        char text[16];
        snprintf(text, sizeof text, "version %d", i);
        assert_int_equal(rt_replace_file(in_dir("state"), text, strlen(text), 0640), 0);
        assert_int_equal(rt_read_file(in_dir("state"), 100, &data, &len), 0);
        assert_int_equal(len, strlen(text));
        assert_memory_equal(data, text, len);
        rt_free(data);
    }
    assert_int_equal(rt_list_dir(dir, note_name, &n), 0);
    assert_string_equal(n.text, "state ");
    assert_int_equal(stat(in_dir("state"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(rt_replace_file(in_dir("state"), NULL, 0, 0640), 0);
    assert_int_equal(rt_read_file(in_dir("state"), 100, &data, &len), 0);
    assert_int_equal(len, 0);
    rt_free(data);
}

static void a_file_larger_than_allowed_is_not_read(void **state)
{
    (void)state;
    uint8_t *data = (uint8_t *)1;
    size_t len = 77;
    assert_int_equal(rt_replace_file(in_dir("big"), "123456", 6, 0600), 0);
    assert_int_equal(rt_read_file(in_dir("big"), 5, &data, &len), -EFBIG);
    assert_int_equal(rt_read_file(in_dir("none"), 5, &data, &len), -ENOENT);
    assert_int_equal(len, 77);
}

static void a_full_disk_gives_enospc_and_recovers(void **state)
{
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s", in_dir("small"));
    assert_int_equal(rt_mkdir(path, 0700), 0);
    if (mount("tmpfs", path, "tmpfs", 0, "size=64k")) {
        rt_rmdir(path);
        skip(); // needs the right to mount
    }
    uint8_t *block = rt_alloc_zero(BLOCK);
    struct rt_file *f;
    assert_int_equal(rt_file_open(in_dir("small/f"), RT_OPEN_WRITE | RT_OPEN_CREATE, 0600, &f), 0);
    int err = 0;
    for (uint64_t i = 0; i < 64 && !err; i++)
        err = rt_file_pwrite(f, block, BLOCK, i * BLOCK);
    assert_int_equal(err, -ENOSPC);
    assert_int_equal(rt_replace_file(in_dir("small/state"), block, BLOCK, 0600), -ENOSPC);
    assert_int_equal(rt_exists(in_dir("small/state.tmp")), 0);
    assert_int_equal(rt_file_truncate(f, 0), 0);
    assert_int_equal(rt_file_pwrite(f, block, BLOCK, 0), 0);
    assert_int_equal(rt_file_close(f), 0);
    rt_free(block);
    assert_int_equal(umount(path), 0);
    assert_int_equal(rt_rmdir(path), 0);
}

enum { WRITERS = 40, WRITES = 20 };

struct writer {
    int number, err;
    struct rt_file *f;
    struct rt_waitgroup *done;
};

static void write_many(void *arg)
{
    struct writer *w = arg;
    uint64_t words[2];
    for (int i = 0; i < WRITES && !w->err; i++) {
        words[0] = (uint64_t)w->number;
        words[1] = (uint64_t)i;
        uint64_t offset = (uint64_t)(w->number * WRITES + i) * sizeof words;
        w->err = rt_file_pwrite(w->f, words, sizeof words, offset);
        if (!w->err && i % 5 == 0)
            w->err = rt_file_datasync(w->f);
    }
    rt_waitgroup_done(w->done);
}

static void many_goroutines_write_one_file(void **state)
{
    (void)state;
    struct rt_file *f = open_or_fail(in_dir("f"), RT_OPEN_READ | RT_OPEN_WRITE | RT_OPEN_CREATE);
    struct writer w[WRITERS];
    struct rt_waitgroup done = {0};
    rt_waitgroup_add(&done, WRITERS);
    for (int i = 0; i < WRITERS; i++) {
        w[i] = (struct writer){.number = i, .f = f, .done = &done};
        assert_int_equal(rt_go("writer", write_many, &w[i]), 0);
    }
    assert_int_equal(rt_waitgroup_wait(&done, rt_after_ns(LONG)), 0);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(w[i].err, 0);
    for (int i = 0; i < WRITERS * WRITES; i++) {
        uint64_t words[2];
        assert_int_equal(rt_file_pread(f, words, sizeof words, (uint64_t)i * sizeof words), 16);
        assert_int_equal(words[0], i / WRITES);
        assert_int_equal(words[1], i % WRITES);
    }
    rt_file_close(f);
}

#define FILE_TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)
static const struct CMUnitTest tests[] = {
    FILE_TEST(what_is_written_is_read_back_at_its_place),
    FILE_TEST(a_big_transfer_is_whole),
    FILE_TEST(a_durable_write_is_one_call_direct_or_not),
    FILE_TEST(what_cannot_be_opened_gives_the_reason),
    FILE_TEST(a_lock_holds_until_its_file_is_closed),
    FILE_TEST(a_directory_is_listed_in_order),
    FILE_TEST(a_directory_of_thousands_is_listed_whole),
    FILE_TEST(names_move_and_go),
    FILE_TEST(replacing_a_file_leaves_the_new_bytes_and_nothing_else),
    FILE_TEST(a_file_larger_than_allowed_is_not_read),
    FILE_TEST(a_full_disk_gives_enospc_and_recovers),
    FILE_TEST(many_goroutines_write_one_file),
};
RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(&(struct rt_options){.procs = 2}, group); }
