/* cmd/kvctl/txn.c: a transaction from lines on stdin: compares, a blank line, what to do when all hold,
 * a blank line, what to do otherwise, a blank line.
 *
 *     value("k") = "v"          mod("k") > "10"          put key "a value"          get --prefix key */
#include "cmd/kvctl/kvctl.h"
#include "rt/parse.h"
#include <stdio.h>
#include <unistd.h>

enum { LINE_BYTES = 3 << 20 }; // a value may have 1.5 MiB, and quoting may double it

/* The next line without its end, in the arena; NULL at the end of input. */
static char *read_line(struct kvctl *k)
{
    struct rt_string line = {0};
    int c;
    while ((c = getc(stdin)) != EOF && c != '\n' && line.len < LINE_BYTES) {
        char byte = (char)c;
        rt_string_append(&line, &byte, 1);
    }
    char *text = NULL;
    if (c != EOF || line.len)
        text = rt_arena_copy(&k->arena, rt_string_cstr(&line), line.len + 1);
    rt_string_deinit(&line);
    return text;
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static char *skip_space(char *at)
{
    while (is_space(*at))
        at++;
    return at;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A word, in place: bare, or quoted as in Go ("a\tb", `raw`). Returns the byte after it, NULL when the
 * quote never ends. NUL cannot be in a word. */
static char *cut_word(char *at, char **word)
{
    char quote = *at == '"' || *at == '\'' || *at == '`' ? *at++ : 0;
    char *to = at;
    *word = at;
    while (*at && (quote ? *at != quote : !is_space(*at))) {
        static const char letters[] = "abfnrtv\\\"'", named[] = "\a\b\f\n\r\t\v\\\"'";
        const char *escape = quote == '"' && *at == '\\' && at[1] ? strchr(letters, at[1]) : NULL;
        if (escape) {
            *to++ = named[escape - letters];
            at += 2;
        } else if (quote == '"' && at[0] == '\\' && at[1] == 'x' && hex_digit(at[2]) >= 0 &&
                   hex_digit(at[3]) >= 0) {
            *to++ = (char)(hex_digit(at[2]) << 4 | hex_digit(at[3]));
            at += 4;
        } else {
            *to++ = *at++;
        }
    }
    if (quote && !*at)
        return NULL;
    char *after = *at ? at + 1 : at;
    *to = 0;
    return after;
}

static const char *const targets[] = {"version", "create", "mod", "value", "lease"};
static const char *const short_targets[] = {"ver", "c", "m", "val", "lease"};

bool txn_add_compare(struct kvctl *k, struct rt_string *out, char *line)
{
    char *open = strchr(line, '('), *key, *operand;
    if (!open)
        return kvctl_over(k, KVCTL_BAD_ARGS,
                          "malformed comparison: %s; an example: value(\"key\") = \"text\"", line);
    size_t len = (size_t)(open - line);
    unsigned target = 0;
    while (target < 5 &&
           (strlen(targets[target]) != len || strncmp(line, targets[target], len) != 0) &&
           (strlen(short_targets[target]) != len || strncmp(line, short_targets[target], len) != 0))
        target++;
    char *at = target < 5 ? skip_space(open + 1) : NULL;
    // A bare key ends at the bracket.
    if (at && *at != '"' && *at != '\'' && *at != '`') {
        char *close = strchr(at, ')');
        if (close)
            *close = 0;
        key = at;
        at = close ? close + 1 : NULL;
    } else if (at) {
        at = cut_word(at, &key);
        at = at ? strchr(at, ')') : NULL;
        at = at ? at + 1 : NULL;
    }
    if (!at)
        return kvctl_over(
            k, KVCTL_BAD_ARGS,
            "malformed comparison: %s; targets are version, create, mod, value, lease", line);
    at = skip_space(at);
    unsigned result = *at == '='                   ? 0
                      : *at == '>'                 ? 1
                      : *at == '<'                 ? 2
                      : *at == '!' && at[1] == '=' ? 3
                                                   : 4;
    if (result == 4 || !cut_word(skip_space(at + (result == 3 ? 2 : 1)), &operand))
        return kvctl_over(
            k, KVCTL_BAD_ARGS,
            "malformed comparison of %s: after the key comes =, !=, < or > and a quoted operand",
            key);
    int64_t number = 0;
    uint64_t lease = 0;
    if (target < 3 && rt_parse_i64(operand, &number))
        return kvctl_over(k, KVCTL_BAD_ARGS,
                          "%s(\"%s\") is compared with a number, not with \"%s\"", targets[target],
                          key, operand);
    if (target == 4 && rt_parse_hex(operand, &lease))
        return kvctl_over(k, KVCTL_BAD_ARGS,
                          "lease(\"%s\") is compared with a hexadecimal id, not with \"%s\"", key,
                          operand);
    size_t mark = field_begin(out, 1);
    field_add_uint(out, 1, result);
    field_add_uint(out, 2, target);
    field_add_text(out, 3, key);
    if (target == 3) {
        field_add_len(out, 7, strlen(operand));
        rt_string_append(out, operand, strlen(operand));
    } else {
        static const uint32_t members[] = {4, 5, 6, 7, 8};
        field_add_uint_always(out, members[target], target == 4 ? lease : (uint64_t)number);
    }
    field_end(out, mark);
    return true;
}

bool txn_add_operation(struct kvctl *k, struct rt_string *out, uint32_t number, char *line)
{
    char *words[64];
    int count = 0;
    for (char *at = skip_space(line); *at; at = skip_space(at)) {
        if (count == 64)
            return kvctl_over(k, KVCTL_BAD_ARGS, "a line of a transaction has too many words");
        at = cut_word(at, &words[count++]);
        if (!at)
            return kvctl_over(k, KVCTL_BAD_ARGS, "a quoted word never ends: \"%s",
                              words[count - 1]);
    }
    struct rt_string request = {0};
    bool ok, keys_only, values_only;
    uint32_t arm;
    k->unread = words + 1;
    k->unread_count = count - 1;
    if (strcmp(words[0], "put") == 0) {
        arm = 2;
        ok = request_put(k, &request);
    } else if (strcmp(words[0], "get") == 0) {
        arm = 1;
        ok = request_range(k, &request, &keys_only, &values_only);
    } else if (strcmp(words[0], "del") == 0) {
        arm = 3;
        ok = request_delete(k, &request);
    } else {
        return kvctl_over(k, KVCTL_BAD_ARGS,
                          "invalid transaction request: %s; known are get, put and del", words[0]);
    }
    if (ok) {
        size_t mark = field_begin(out, number);
        field_add_len(out, arm, request.len);
        rt_string_append(out, request.data, request.len);
        field_end(out, mark);
    }
    rt_string_deinit(&request);
    return ok;
}

/* Lines up to a blank one, into field `number` of the TxnRequest. */
static bool read_part(struct kvctl *k, struct rt_string *out, uint32_t number, const char *prompt,
                      bool interactive)
{
    if (interactive) {
        printf("%s\n", prompt);
        fflush(stdout);
    }
    for (;;) {
        char *line = read_line(k);
        if (!line || !*skip_space(line))
            return true;
        line = skip_space(line);
        if (!(number == 1 ? txn_add_compare(k, out, line)
                          : txn_add_operation(k, out, number, line)))
            return false;
    }
}

int command_txn(struct kvctl *k)
{
    bool interactive = false;
    const struct option options[] = {
        {"interactive", 'i', OPTION_SWITCH, &interactive, "prompt for each part"}};
    if (!kvctl_options(k, options, 1, 0, 0, "txn [options]   (its lines on stdin)"))
        return k->exit;
    if (kvctl_refuse_table(k))
        return k->exit;
    struct rt_string request = {0};
    Etcdserverpb__TxnResponse *answer;
    interactive |= isatty(0);
    bool ok = read_part(k, &request, 1, "compares:", interactive) &&
              read_part(k, &request, 2, "success requests (get, put, del):", interactive) &&
              read_part(k, &request, 3, "failure requests (get, put, del):", interactive);
    int status = k->exit;
    if (ok)
        status = kvctl_call(k, "/etcdserverpb.KV/Txn", &request,
                            &etcdserverpb__txn_response__descriptor, &answer);
    rt_string_deinit(&request);
    if (!ok || status)
        return status;
    print_txn(k, answer);
    return kvctl_flush(k);
}
