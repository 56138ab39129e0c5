/* kv/member/bootstrap.c: see bootstrap.h. The identity file is text, one "word value" a line, its last
 * line "crc <hex>" over all before. */
#include "kv/member/bootstrap.h"
#include "kv/member/crc.h"
#include "kv/member/limits.h"
#include <errno.h>
#include <inttypes.h>
#include <rt/parse.h>
#include <stdio.h>

enum { SMALL_FILE_BYTES = 64 << 10, IDENTITY_FORMAT = 1 };

static int os_error(struct why *why, int err, const char *what, const char *path)
{
    char text[128];
    why_set(why, "cannot %s %s: %s", what, path, why_errno(err, text, sizeof(text)));
    return err;
}

const char *data_dir_path(const struct data_dir *d, const char *name, char *buf)
{
    snprintf(buf, DATA_PATH_BYTES + 32, "%s/%s", d->root, name);
    return buf;
}

/* ---- Checked text files ---- */

int checked_file_read(const char *path, struct rt_string *out, struct why *why)
{
    uint8_t *data;
    size_t len;
    int exists = rt_exists(path);
    if (exists <= 0)
        return exists < 0 ? os_error(why, exists, "look for", path) : 0;
    int err = rt_read_file(path, SMALL_FILE_BYTES, &data, &len);
    if (err)
        return os_error(why, err, "read", path);
    struct rt_string text = {0};
    rt_string_append(&text, data, len);
    rt_free(data);
    const char *crc_line = strstr(rt_string_cstr(&text), "\ncrc ");
    uint64_t crc;
    char hex[32] = "";
    if (crc_line)
        snprintf(hex, sizeof(hex), "%.*s", (int)strcspn(crc_line + 5, "\n"), crc_line + 5);
    size_t covered = crc_line ? (size_t)(crc_line + 1 - (const char *)text.data) : 0;
    if (!crc_line || rt_parse_hex(hex, &crc) || crc != member_crc32c(0, text.data, covered)) {
        why_set(why,
                "%s is damaged. Nothing was changed. Replace this member: deploy/README.md, "
                "\"Replace a member\"",
                path);
        rt_string_deinit(&text);
        return MEMBER_REFUSED;
    }
    rt_string_append(out, text.data, covered);
    rt_string_deinit(&text);
    return 1;
}

int checked_file_write(const char *path, struct rt_string *text, struct why *why)
{
    rt_string_printf(text, "crc %08" PRIx32 "\n", member_crc32c(0, text->data, text->len));
    int err = rt_replace_file(path, text->data, text->len, 0600);
    return err ? os_error(why, err, "write", path) : 0;
}

/* The value of "word value" in the text, into buf; NULL: no such line. */
static const char *value_of(const char *text, const char *word, char *buf, size_t cap)
{
    size_t len = strlen(word);
    for (const char *line = text; *line;) {
        size_t line_len = strcspn(line, "\n");
        if (line_len > len && strncmp(line, word, len) == 0 && line[len] == ' ') {
            snprintf(buf, cap, "%.*s", (int)(line_len - len - 1), line + len + 1);
            return buf;
        }
        line += line_len + (line[line_len] == '\n');
    }
    return NULL;
}

/* ---- Identity ---- */

static int read_identity(struct data_dir *d, struct why *why)
{
    char path[DATA_PATH_BYTES + 32], value[300];
    struct rt_string text = {0};
    data_dir_path(d, "identity", path);
    int got = checked_file_read(path, &text, why);
    if (got <= 0) {
        rt_string_deinit(&text);
        return got;
    }
    const char *all = rt_string_cstr(&text);
    struct identity *it = &d->identity;
    uint64_t format;
    int err = 0;
    if (!value_of(all, "format", value, sizeof(value)) || rt_parse_u64(value, &format))
        err = MEMBER_REFUSED;
    if (!err && format != IDENTITY_FORMAT) {
        why_set(why,
                "%s has format %" PRIu64 "; this program knows %d. Start it with the program that "
                "wrote it",
                path, format, IDENTITY_FORMAT);
        rt_string_deinit(&text);
        return MEMBER_REFUSED;
    }
    if (err || !value_of(all, "cluster", value, sizeof(value)) ||
        rt_parse_hex(value, &it->cluster_id) || !value_of(all, "member", value, sizeof(value)) ||
        rt_parse_hex(value, &it->member_id) || !value_of(all, "name", it->name, sizeof(it->name)) ||
        !value_of(all, "token", it->token, sizeof(it->token))) {
        why_set(why, "%s says not who this member is", path);
        err = MEMBER_REFUSED;
    }
    rt_string_deinit(&text);
    d->has_identity = !err;
    return err;
}

int data_dir_adopt(struct data_dir *d, const struct identity *it, struct why *why)
{
    char path[DATA_PATH_BYTES + 32];
    struct rt_string text = {0};
    rt_string_printf(&text,
                     "format %d\ncluster %" PRIx64 "\nmember %" PRIx64 "\nname %s\ntoken %s\n",
                     IDENTITY_FORMAT, it->cluster_id, it->member_id, it->name, it->token);
    int err = checked_file_write(data_dir_path(d, "identity", path), &text, why);
    rt_string_deinit(&text);
    if (err)
        return err;
    d->identity = *it;
    d->has_identity = true;
    return 0;
}

/* What was given on the command line counts; defaults do not, for initial settings may be left out
 * when a member is started again. */
int data_dir_check_settings(const struct data_dir *d, const struct member_config *config,
                            struct why *why)
{
    const struct identity *it = &d->identity;
    if (config->name && *config->name && strcmp(config->name, "default") != 0 &&
        strcmp(config->name, it->name) != 0) {
        why_set(why,
                "%s belongs to member %s (%" PRIx64 "), not to %s; nothing was changed. Start it "
                "with --name %s, or give %s another --data-dir",
                d->root, it->name, it->member_id, config->name, it->name, config->name);
        return MEMBER_REFUSED;
    }
    const char *token = config->initial_cluster_token;
    if (token && *token && strcmp(token, "etcd-cluster") != 0 && strcmp(token, it->token) != 0) {
        why_set(why,
                "%s belongs to the cluster %" PRIx64 " with token %s, not to one with token %s; "
                "nothing was changed. Leave --initial-cluster-token away, or use another "
                "--data-dir",
                d->root, it->cluster_id, it->token, token);
        return MEMBER_REFUSED;
    }
    return 0;
}

/* ---- The directory ---- */

/* A directory that was just made is durable only with the one that holds it. */
static int make_dir(const char *path, struct why *why)
{
    char parent[DATA_PATH_BYTES + 32];
    int err = rt_mkdir(path, 0700);
    if (err == -EEXIST)
        return 0;
    if (err)
        return os_error(why, err, "make", path);
    snprintf(parent, sizeof(parent), "%s", path);
    size_t len = strlen(parent);
    while (len > 1 && parent[len - 1] == '/')
        len--;
    while (len > 0 && parent[len - 1] != '/')
        len--;
    snprintf(parent + len, sizeof(parent) - len, ".");
    err = rt_sync_dir(parent);
    return err ? os_error(why, err, "sync", parent) : 0;
}

static int lock(struct data_dir *d, struct why *why)
{
    char path[DATA_PATH_BYTES + 32];
    data_dir_path(d, "lock", path);
    int err = rt_file_open(path, RT_OPEN_WRITE | RT_OPEN_CREATE, 0600, &d->lock);
    if (err)
        return os_error(why, err, "open", path);
    err = rt_file_lock(d->lock);
    if (!err)
        return 0;
    rt_file_close(d->lock);
    d->lock = NULL;
    if (err != -EAGAIN)
        return os_error(why, err, "lock", path);
    why_set(why, "%s is in use by another process; stop it, or use another --data-dir", d->root);
    return MEMBER_REFUSED;
}

int data_dir_open(const struct member_config *config, struct data_dir *d, struct why *why)
{
    *d = (struct data_dir){0};
    const char *own_wal = config->wal_dir && *config->wal_dir ? config->wal_dir : NULL;
    if (strlen(config->data_dir) > DATA_PATH_BYTES - 32 ||
        (own_wal && strlen(own_wal) > DATA_PATH_BYTES - 32)) {
        why_set(why, "the name of the data directory is longer than %d bytes",
                DATA_PATH_BYTES - 32);
        return MEMBER_BAD_CONFIG;
    }
    int err = make_dir(config->data_dir, why);
    if (err)
        return err;
    snprintf(d->root, sizeof(d->root), "%s/member", config->data_dir);
    err = make_dir(d->root, why);
    if (!err && own_wal)
        err = make_dir(own_wal, why);
    if (err)
        return err;
    snprintf(d->store, sizeof(d->store), "%s/member/store", config->data_dir);
    if (own_wal)
        snprintf(d->wal, sizeof(d->wal), "%s", own_wal);
    else
        snprintf(d->wal, sizeof(d->wal), "%s/member/wal", config->data_dir);
    err = lock(d, why);
    if (err)
        return err;
    err = read_identity(d, why);
    if (err)
        data_dir_close(d);
    return err;
}

void data_dir_close(struct data_dir *d)
{
    if (d->lock)
        rt_file_close(d->lock);
    d->lock = NULL;
}

/* ---- An image on its way in ---- */

int data_dir_set_installing(struct data_dir *d, uint64_t index, uint64_t term, struct why *why)
{
    char path[DATA_PATH_BYTES + 32];
    struct rt_string text = {0};
    rt_string_printf(&text, "index %" PRIu64 "\nterm %" PRIu64 "\n", index, term);
    int err = checked_file_write(data_dir_path(d, "installing", path), &text, why);
    rt_string_deinit(&text);
    return err;
}

int data_dir_get_installing(struct data_dir *d, uint64_t *index, uint64_t *term, struct why *why)
{
    char path[DATA_PATH_BYTES + 32], value[64];
    struct rt_string text = {0};
    int got = checked_file_read(data_dir_path(d, "installing", path), &text, why);
    if (got == 1) {
        const char *all = rt_string_cstr(&text);
        if (!value_of(all, "index", value, sizeof(value)) || rt_parse_u64(value, index) ||
            !value_of(all, "term", value, sizeof(value)) || rt_parse_u64(value, term)) {
            why_set(why, "%s is not understood", path);
            got = MEMBER_REFUSED;
        }
    }
    rt_string_deinit(&text);
    return got;
}

int data_dir_clear_installing(struct data_dir *d, struct why *why)
{
    char path[DATA_PATH_BYTES + 32];
    data_dir_path(d, "installing", path);
    int err = rt_unlink(path);
    if (err && err != -ENOENT)
        return os_error(why, err, "remove", path);
    return 0;
}
