/* tests/raft/text.h: a growing string, and the text files that say what a cluster does:
 *
 *     command arg key=value key=(v1,v2)
 *     input lines
 *     ----
 *     expected output, up to a blank line (or, after a second ----, up to two ---- in a row)
 */
#pragma once
#include <assert.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct str {
    char *s; // always ends in NUL once written to
    size_t len, cap;
};

static inline void str_bytes(struct str *t, const char *s, size_t n)
{
    if (t->len + n + 1 > t->cap) {
        t->cap = (t->len + n + 1) * 2;
        t->s = realloc(t->s, t->cap);
        assert(t->s);
    }
    memcpy(t->s + t->len, s, n);
    t->len += n;
    t->s[t->len] = 0;
}

static inline void str_put(struct str *t, const char *s) { str_bytes(t, s, strlen(s)); }

static inline void __attribute__((format(printf, 2, 3)))
str_printf(struct str *t, const char *format, ...)
{
    va_list args;
    char *s;
    va_start(args, format);
    int n = vasprintf(&s, format, args);
    va_end(args);
    assert(n >= 0);
    str_bytes(t, s, (size_t)n);
    free(s);
}

static inline void str_clear(struct str *t)
{
    t->len = 0;
    if (t->s)
        t->s[0] = 0;
}

static inline void str_deinit(struct str *t)
{
    free(t->s);
    *t = (struct str){0};
}

static inline const char *str_text(const struct str *t) { return t->s ? t->s : ""; }

/* Every line of from, with two spaces before it and a newline at its end. */
static inline void str_indented(struct str *to, const struct str *from)
{
    const char *s = str_text(from);
    while (*s) {
        size_t n = strcspn(s, "\n");
        str_put(to, "  ");
        str_bytes(to, s, n);
        str_put(to, "\n");
        s += n + (s[n] == '\n');
    }
}

enum { ARGS_MAX = 10, VALUES_MAX = 40, FILES_MAX = 64 };

struct arg {
    char *key;
    char *value[VALUES_MAX]; // of key=value, key=(v1,v2)
    size_t count;
};

struct directive {
    int line;
    char *command;
    struct arg arg[ARGS_MAX];
    size_t args;
    char *input;
    char *expected;
    char *text; // what command and args point into
};

struct script {
    char *text, *at;
    int line;
};

static inline char *read_whole(const char *path)
{
    FILE *f = fopen(path, "r");
    char *s = NULL;
    size_t n = 0;
    if (!f)
        return NULL;
    ssize_t got = getdelim(&s, &n, EOF, f);
    fclose(f);
    if (got < 0) {
        free(s);
        return strdup("");
    }
    return s;
}

/* The next line, without its newline; NULL at the end. Cuts the text up. */
static inline char *next_line(struct script *sc)
{
    char *line = sc->at;
    if (!*line)
        return NULL;
    size_t n = strcspn(line, "\n");
    sc->at = line + n + (line[n] == '\n');
    line[n] = 0;
    sc->line++;
    return line;
}

static inline char *trim(char *s)
{
    s += strspn(s, " \t\r\n");
    size_t n = strlen(s);
    while (n && strchr(" \t\r\n", s[n - 1]))
        s[--n] = 0;
    return s;
}

static inline void parse_values(struct arg *a, char *v)
{
    int depth = 0;
    if (*v != '(') {
        a->value[a->count++] = v;
        return;
    }
    char *from = ++v;
    for (;; v++) {
        assert(*v);
        if (*v == '(')
            depth++;
        if ((*v == ',' || *v == ')') && depth == 0) {
            bool last = *v == ')';
            *v = 0;
            assert(a->count < VALUES_MAX);
            if (!(last && a->count == 0 && *from == 0))
                a->value[a->count++] = from;
            if (last)
                return;
            from = v + 1 + strspn(v + 1, " ");
        } else if (*v == ')') {
            depth--;
        }
    }
}

static inline void parse_args(struct directive *d)
{
    char *s = d->text;
    d->command = s;
    s += strcspn(s, " ");
    while (*s) {
        *s++ = 0;
        s += strspn(s, " ");
        if (!*s)
            break;
        assert(d->args < ARGS_MAX);
        struct arg *a = &d->arg[d->args++];
        a->key = s;
        s += strcspn(s, " =");
        if (*s == '=') {
            *s++ = 0;
            char *v = s;
            if (*s == '(') {
                int depth = 0;
                do
                    depth += (*s == '(') - (*s == ')');
                while (*s++ && depth);
            } else {
                s += strcspn(s, " ");
            }
            char keep = *s;
            *s = 0;
            parse_values(a, v);
            *s = keep;
        }
    }
}

static inline void read_expected(struct script *sc, struct str *out)
{
    char *line = next_line(sc);
    if (!line || !*trim(line))
        return;
    if (strcmp(line, "----")) {
        for (; line && strspn(line, " \t") != strlen(line); line = next_line(sc))
            str_printf(out, "%s\n", line);
        return;
    }
    while ((line = next_line(sc))) {
        if (strcmp(line, "----") == 0) {
            char *second = next_line(sc);
            if (second && strcmp(second, "----") == 0)
                return;
            str_put(out, "----\n");
            line = second;
            if (!line)
                return;
        }
        str_printf(out, "%s\n", line);
    }
}

/* The next directive; false at the end of the file. Free with directive_deinit. */
static inline bool next_directive(struct script *sc, struct directive *d)
{
    struct str text = {0}, input = {0}, expected = {0};
    char *line;
    memset(d, 0, sizeof(*d));
    while ((line = next_line(sc))) {
        line = trim(line);
        if (*line && *line != '#')
            break;
    }
    if (!line)
        return false;
    d->line = sc->line;
    for (;;) {
        size_t n = strlen(line);
        bool more = n && line[n - 1] == '\\';
        if (more)
            line[n - 1] = 0;
        str_printf(&text, "%s%s", text.len ? " " : "", trim(line));
        if (!more || !(line = next_line(sc)))
            break;
        line = trim(line);
    }
    while ((line = next_line(sc)) && strcmp(line, "----"))
        str_printf(&input, "%s\n", line);
    read_expected(sc, &expected);
    d->text = text.s;
    str_put(&input, "");
    d->input = strdup(trim(input.s));
    str_put(&expected, "");
    d->expected = expected.s;
    str_deinit(&input);
    parse_args(d);
    return true;
}

static inline void directive_deinit(struct directive *d)
{
    free(d->text);
    free(d->input);
    free(d->expected);
}

static inline const struct arg *find_arg(const struct directive *d, const char *key)
{
    for (size_t i = 0; i < d->args; i++)
        if (d->arg[i].count && strcmp(d->arg[i].key, key) == 0)
            return &d->arg[i];
    return NULL;
}

static inline bool arg_is(const struct directive *d, const char *key, const char *value)
{
    const struct arg *a = find_arg(d, key);
    return a && strcmp(a->value[0], value) == 0;
}

/* The first line that differs, with the one before it. */
static inline void show_difference(const char *path, const struct directive *d, const char *got)
{
    const char *want = d->expected, *before = want;
    int line = 1;
    for (;; line++) {
        size_t a = strcspn(want, "\n"), b = strcspn(got, "\n");
        if (a != b || memcmp(want, got, a) || !want[a] || !got[b])
            break;
        before = want;
        want += a + 1;
        got += b + 1;
    }
    printf("# %s:%d: %s: line %d of the answer differs, after\n#   %.*s\n# wanted\n#   %.*s\n# "
           "got\n#   %.*s\n",
           path, d->line, d->command, line, (int)strcspn(before, "\n"), before,
           (int)strcspn(want, "\n"), want, (int)strcspn(got, "\n"), got);
}

/* Run one file: answer(ctx, d, out) writes what the command says. False, with both texts printed, at the
 * first difference. */
static __attribute__((noinline)) bool
run_script(const char *path, void (*answer)(void *, const struct directive *, struct str *),
           void *ctx)
{
    struct script sc = {.text = read_whole(path)};
    struct directive *d = malloc(sizeof(*d));
    bool same = true;
    int asked = 0;
    assert(sc.text);
    assert(d);
    sc.at = sc.text;
    while (same && next_directive(&sc, d)) {
        struct str out = {0};
        answer(ctx, d, &out);
        asked++;
        if (out.len && out.s[out.len - 1] != '\n')
            str_put(&out, "\n");
        same = strcmp(str_text(&out), d->expected) == 0;
        if (!same)
            show_difference(path, d, str_text(&out));
        str_deinit(&out);
        directive_deinit(d);
    }
    free(d);
    free(sc.text);
    return same && asked > 0;
}

static inline int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Every .txt file of a folder of the conversations, one TAP line each. */
static __attribute__((noinline)) int run_folder(const char *folder, bool (*run)(const char *path))
{
    const char *root = getenv("KVD_RAFT_TESTDATA");
    char path[1024], *name[FILES_MAX];
    size_t count = 0;
    int failed = 0;
    snprintf(path, sizeof(path), "%s/%s", root ? root : "../shared/raft-testdata", folder);
    DIR *dir = opendir(path);
    if (!dir) {
        printf("1..1\nok 1 - the conversations in %s # SKIP not there; set KVD_RAFT_TESTDATA\n",
               folder);
        return 0;
    }
    for (struct dirent *e; (e = readdir(dir));)
        if (strlen(e->d_name) > 4 && strcmp(e->d_name + strlen(e->d_name) - 4, ".txt") == 0 &&
            count < FILES_MAX)
            name[count++] = strdup(e->d_name);
    closedir(dir);
    qsort(name, count, sizeof(name[0]), by_name);
    printf("1..%zu\n", count);
    for (size_t i = 0; i < count; i++) {
        char file[1400];
        snprintf(file, sizeof(file), "%s/%s", path, name[i]);
        bool ok = run(file);
        failed += !ok;
        printf("%sok %zu - %s/%s is answered byte for byte\n", ok ? "" : "not ", i + 1, folder,
               name[i]);
        free(name[i]);
    }
    return failed || count == 0;
}
