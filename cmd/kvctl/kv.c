/* cmd/kvctl/kv.c: put, get, del, compaction. */
#include "cmd/kvctl/kvctl.h"
#include "rt/parse.h"
#include <inttypes.h>
#include <stdio.h>

enum { STDIN_VALUE_BYTES = 64 << 20 }; // a value from stdin that is larger is refused

/* The first key after all keys with this prefix; "\0" when there is none. */
static struct rt_bytes prefix_end(struct kvctl *k, struct rt_bytes prefix)
{
    uint8_t *end = rt_arena_copy(&k->arena, prefix.data, prefix.len);
    for (size_t len = prefix.len; len > 0; len--)
        if (end[len - 1] < 0xff) {
            end[len - 1]++;
            return rt_bytes(end, len);
        }
    return RT_BYTES("\0");
}

/* Key and range_end from the words and --prefix / --from-key, as etcdctl. False: printed. */
static bool read_range(struct kvctl *k, bool prefix, bool from_key, struct rt_bytes *key,
                       struct rt_bytes *end)
{
    *key = kvctl_text(k->args[0]);
    *end = (struct rt_bytes){0};
    if (prefix && from_key) {
        return kvctl_over(k, KVCTL_BAD_ARGS,
                          "`--prefix` and `--from-key` cannot be set at the same time, choose one");
    }
    if (k->arg_count == 2) {
        if (prefix || from_key) {
            return kvctl_over(k, KVCTL_BAD_ARGS,
                              "too many arguments, only accept one argument when `--prefix` or "
                              "`--from-key` is set");
        }
        *end = kvctl_text(k->args[1]);
    }
    if (prefix || from_key) {
        *end = prefix && key->len ? prefix_end(k, *key) : RT_BYTES("\0");
        if (!key->len)
            *key = RT_BYTES("\0");
    }
    return true;
}

/* All of stdin, in memory of the arena. False: printed. */
static bool read_stdin(struct kvctl *k, struct rt_bytes *out)
{
    struct rt_string text = {0};
    char buf[2048];
    size_t got;
    while ((got = fread(buf, 1, sizeof buf, stdin)) > 0 && text.len <= STDIN_VALUE_BYTES)
        rt_string_append(&text, buf, got);
    bool ok = !ferror(stdin) && text.len <= STDIN_VALUE_BYTES;
    *out = rt_bytes(rt_arena_copy(&k->arena, text.data, text.len), text.len);
    rt_string_deinit(&text);
    if (!ok)
        k->exit =
            kvctl_fail(KVCTL_IO, "cannot read the value from stdin (it may have up to %d bytes)",
                       STDIN_VALUE_BYTES);
    return ok;
}

bool request_put(struct kvctl *k, struct rt_string *out)
{
    uint64_t lease = 0;
    bool prev_kv = false, ignore_value = false, ignore_lease = false;
    const struct option options[] = {
        {"lease", 0, OPTION_HEX, &lease, "lease id (hexadecimal) to attach to the key"},
        {"prev-kv", 0, OPTION_SWITCH, &prev_kv, "print what was there before"},
        {"ignore-value", 0, OPTION_SWITCH, &ignore_value, "keep the present value"},
        {"ignore-lease", 0, OPTION_SWITCH, &ignore_lease, "keep the present lease"},
    };
    if (!kvctl_options(k, options, 4, 1, 2,
                       "put [options] <key> [<value>]   (without a value: from stdin)"))
        return false;
    struct rt_bytes value = {0};
    if (k->arg_count == 2)
        value = kvctl_text(k->args[1]);
    else if (!ignore_value && !read_stdin(k, &value))
        return false;
    field_add_bytes(out, 1, kvctl_text(k->args[0]));
    field_add_bytes(out, 2, value);
    field_add_uint(out, 3, lease);
    field_add_uint(out, 4, prev_kv);
    field_add_uint(out, 5, ignore_value);
    field_add_uint(out, 6, ignore_lease);
    return true;
}

static bool choose(struct kvctl *k, const char *option, const char *text,
                   const char *const *choices, uint32_t count, uint64_t *out)
{
    for (uint32_t i = 0; i < count; i++)
        if (choices[i] && strcmp(choices[i], text) == 0) {
            *out = i;
            return true;
        }
    return kvctl_over(k, KVCTL_BAD_INPUT, "bad %s \"%s\"", option, text);
}

bool request_range(struct kvctl *k, struct rt_string *out, bool *keys_only, bool *values_only)
{
    static const char *const consistencies[] = {"l", "s"};
    static const char *const orders[] = {"", "ASCEND", "DESCEND"};
    static const char *const targets[] = {"KEY", "VERSION", "CREATE", "MODIFY", "VALUE"};
    const char *consistency = "l", *order = "", *sort_by = NULL;
    bool prefix = false, from_key = false, count_only = false;
    int64_t limit = 0, rev = 0, min_create = 0, max_create = 0, min_mod = 0, max_mod = 0;
    *keys_only = *values_only = false;
    const struct option options[] = {
        {"consistency", 0, OPTION_TEXT, &consistency,
         "l (linearizable, the default) or s (serializable)"},
        {"order", 0, OPTION_TEXT, &order, "ASCEND or DESCEND"},
        {"sort-by", 0, OPTION_TEXT, &sort_by, "CREATE, KEY, MODIFY, VALUE or VERSION"},
        {"limit", 0, OPTION_INT, &limit, "at most this many keys"},
        {"prefix", 0, OPTION_SWITCH, &prefix, "all keys that begin with the key"},
        {"from-key", 0, OPTION_SWITCH, &from_key, "all keys from the key on"},
        {"rev", 0, OPTION_INT, &rev, "at this revision of the store"},
        {"keys-only", 0, OPTION_SWITCH, keys_only, "no values"},
        {"count-only", 0, OPTION_SWITCH, &count_only, "only how many keys there are"},
        {"print-value-only", 0, OPTION_SWITCH, values_only, "print values without their keys"},
        {"min-create-rev", 0, OPTION_INT, &min_create, "created at this revision or later"},
        {"max-create-rev", 0, OPTION_INT, &max_create, "created at this revision or earlier"},
        {"min-mod-rev", 0, OPTION_INT, &min_mod, "changed at this revision or later"},
        {"max-mod-rev", 0, OPTION_INT, &max_mod, "changed at this revision or earlier"},
    };
    struct rt_bytes key, end;
    uint64_t serializable = 0, direction = 0, target = 0;
    if (!kvctl_options(k, options, 14, 1, 2, "get [options] <key> [range_end]"))
        return false;
    if (!read_range(k, prefix, from_key, &key, &end))
        return false;
    if (*keys_only && count_only)
        return kvctl_over(
            k, KVCTL_BAD_ARGS,
            "`--keys-only` and `--count-only` cannot be set at the same time, choose one");
    if (!choose(k, "consistency", consistency, consistencies, 2, &serializable) ||
        !choose(k, "order", order, orders, 3, &direction) ||
        (sort_by && !choose(k, "sort-by", sort_by, targets, 5, &target)))
        return false;
    field_add_bytes(out, 1, key);
    field_add_bytes(out, 2, end);
    field_add_int(out, 3, limit);
    field_add_int(out, 4, rev);
    field_add_uint(out, 5, direction);
    field_add_uint(out, 6, target);
    field_add_uint(out, 7, serializable);
    field_add_uint(out, 8, *keys_only);
    field_add_uint(out, 9, count_only);
    field_add_int(out, 10, min_mod);
    field_add_int(out, 11, max_mod);
    field_add_int(out, 12, min_create);
    field_add_int(out, 13, max_create);
    if (count_only && k->format == FORMAT_SIMPLE)
        return kvctl_over(k, KVCTL_BAD_ARGS, "`--count-only` needs -w fields or -w json");
    return true;
}

bool request_delete(struct kvctl *k, struct rt_string *out)
{
    bool prefix = false, from_key = false, prev_kv = false, range = false;
    const struct option options[] = {
        {"prefix", 0, OPTION_SWITCH, &prefix, "all keys that begin with the key"},
        {"from-key", 0, OPTION_SWITCH, &from_key, "all keys from the key on"},
        {"prev-kv", 0, OPTION_SWITCH, &prev_kv, "print what was deleted"},
        {"range", 0, OPTION_SWITCH, &range, "the second word is the end of a range (it always is)"},
    };
    struct rt_bytes key, end;
    if (!kvctl_options(k, options, 4, 1, 2, "del [options] <key> [range_end]"))
        return false;
    if (!read_range(k, prefix, from_key, &key, &end))
        return false;
    field_add_bytes(out, 1, key);
    field_add_bytes(out, 2, end);
    field_add_uint(out, 3, prev_kv);
    return true;
}

int command_put(struct kvctl *k)
{
    struct rt_string request = {0};
    Etcdserverpb__PutResponse *answer;
    if (kvctl_refuse_table(k) || !request_put(k, &request))
        return k->exit;
    int status = kvctl_call(k, "/etcdserverpb.KV/Put", &request,
                            &etcdserverpb__put_response__descriptor, &answer);
    rt_string_deinit(&request);
    if (status)
        return status;
    print_put(k, answer);
    return kvctl_flush(k);
}

int command_get(struct kvctl *k)
{
    struct rt_string request = {0};
    Etcdserverpb__RangeResponse *answer;
    bool keys_only, values_only;
    if (kvctl_refuse_table(k) || !request_range(k, &request, &keys_only, &values_only))
        return k->exit;
    int status = kvctl_call(k, "/etcdserverpb.KV/Range", &request,
                            &etcdserverpb__range_response__descriptor, &answer);
    rt_string_deinit(&request);
    if (status)
        return status;
    print_range(k, answer, keys_only, values_only);
    return kvctl_flush(k);
}

int command_del(struct kvctl *k)
{
    struct rt_string request = {0};
    Etcdserverpb__DeleteRangeResponse *answer;
    if (kvctl_refuse_table(k) || !request_delete(k, &request))
        return k->exit;
    int status = kvctl_call(k, "/etcdserverpb.KV/DeleteRange", &request,
                            &etcdserverpb__delete_range_response__descriptor, &answer);
    rt_string_deinit(&request);
    if (status)
        return status;
    print_delete(k, answer);
    return kvctl_flush(k);
}

int command_compaction(struct kvctl *k)
{
    bool physical = false;
    const struct option options[] = {
        {"physical", 0, OPTION_SWITCH, &physical, "wait until the space is free"}};
    int64_t rev;
    if (!kvctl_options(k, options, 1, 1, 1, "compaction [options] <revision>"))
        return k->exit;
    if (rt_parse_i64(k->args[0], &rev))
        return kvctl_fail(KVCTL_ERROR, "bad revision \"%s\"", k->args[0]);
    struct rt_string request = {0};
    Etcdserverpb__CompactionResponse *answer;
    field_add_int(&request, 1, rev);
    field_add_uint(&request, 2, physical);
    int status = kvctl_call(k, "/etcdserverpb.KV/Compact", &request,
                            &etcdserverpb__compaction_response__descriptor, &answer);
    rt_string_deinit(&request);
    if (status)
        return status;
    rt_string_printf(&k->out, "compacted revision %" PRId64 "\n", rev);
    return kvctl_flush(k);
}
