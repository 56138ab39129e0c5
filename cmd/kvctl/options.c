/* cmd/kvctl/options.c: options of a command, in any order between its other words. */
#include "cmd/kvctl/kvctl.h"
#include "rt/parse.h"
#include <stdarg.h>
#include <stdio.h>

static void print_error(const char *format, va_list args)
{
    fprintf(stderr, "Error: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
}

int kvctl_fail(int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_error(format, args);
    va_end(args);
    return status;
}

bool kvctl_over(struct kvctl *k, int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_error(format, args);
    va_end(args);
    k->exit = status;
    return false;
}

bool kvctl_refuse_table(struct kvctl *k)
{
    if (k->format != FORMAT_TABLE)
        return false;
    k->exit = kvctl_fail(KVCTL_BAD_ARGS,
                         "%s cannot be printed as a table; use simple, json or fields", k->command);
    return true;
}

static const struct option *find(const struct option *options, uint32_t count, const char *word,
                                 size_t len)
{
    for (uint32_t i = 0; i < count; i++)
        if (strlen(options[i].name) == len && memcmp(options[i].name, word, len) == 0)
            return &options[i];
    return NULL;
}

static const struct option *find_letter(const struct option *options, uint32_t count, char letter)
{
    for (uint32_t i = 0; i < count; i++)
        if (options[i].letter == letter)
            return &options[i];
    return NULL;
}

static bool assign(const struct option *o, const char *text)
{
    int err = 0;
    switch (o->kind) {
    case OPTION_TEXT:
        *(const char **)o->to = text;
        break;
    case OPTION_INT:
        err = rt_parse_i64(text, o->to);
        break;
    case OPTION_HEX:
        err = rt_parse_hex(text, o->to);
        break;
    case OPTION_DURATION:
        err = rt_parse_duration(text, o->to);
        break;
    case OPTION_SWITCH:
        *(bool *)o->to = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
        err = !*(bool *)o->to && strcmp(text, "false") != 0 && strcmp(text, "0") != 0;
        break;
    }
    static const char *const wanted[] = {[OPTION_INT] = "a whole number",
                                         [OPTION_HEX] = "a hexadecimal number",
                                         [OPTION_DURATION] = "a duration such as 5s or 300ms",
                                         [OPTION_SWITCH] = "true or false",
                                         [OPTION_TEXT] = "text"};
    if (err)
        kvctl_fail(KVCTL_BAD_ARGS, "invalid argument \"%s\" for \"--%s\": it takes %s", text,
                   o->name, wanted[o->kind]);
    return err == 0;
}

/* One word that begins with '-'. `*at` moves when the value is the next word. */
static bool take(struct kvctl *k, const struct option *options, uint32_t count, int *at,
                 const char *usage)
{
    const char *word = k->unread[*at];
    const struct option *o;
    const char *value = NULL;
    if (word[1] == '-') {
        size_t len = strcspn(word + 2, "=");
        o = find(options, count, word + 2, len);
        value = word[2 + len] ? word + 3 + len : NULL;
    } else {
        o = find_letter(options, count, word[1]);
        if (word[2])
            value = word + 2 + (word[2] == '=');
    }
    if (!o) {
        kvctl_fail(KVCTL_BAD_ARGS, "unknown option %s\nUsage: kvctl %s", word, usage);
        return false;
    }
    if (!value && o->kind == OPTION_SWITCH) {
        *(bool *)o->to = true;
        return true;
    }
    if (!value && *at + 1 == k->unread_count) {
        kvctl_fail(KVCTL_BAD_ARGS, "--%s needs a value", o->name);
        return false;
    }
    return assign(o, value ? value : k->unread[++*at]);
}

static void show_help(const struct option *options, uint32_t count, const char *usage)
{
    printf("Usage: kvctl %s\n", usage);
    if (count)
        printf("\nOptions:\n");
    for (uint32_t i = 0; i < count; i++) {
        char head[64];
        snprintf(head, sizeof head, "%s%c%s--%s", options[i].letter ? "-" : "",
                 options[i].letter ? options[i].letter : ' ', options[i].letter ? ", " : "   ",
                 options[i].name);
        printf("  %-28s %s\n", head, options[i].help);
    }
    printf("\nOptions of every command: kvctl --help\n");
}

bool kvctl_options(struct kvctl *k, const struct option *options, uint32_t count, int least,
                   int most, const char *usage)
{
    bool only_words = false;
    k->exit = KVCTL_BAD_ARGS;
    k->arg_count = 0;
    for (int i = 0; i < k->unread_count; i++) {
        const char *word = k->unread[i];
        if (!only_words && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
            show_help(options, count, usage);
            k->exit = KVCTL_OK;
            return false;
        }
        if (!only_words && strcmp(word, "--") == 0) {
            only_words = true;
        } else if (!only_words && word[0] == '-' && word[1]) {
            if (!take(k, options, count, &i, usage))
                return false;
        } else if (k->arg_count == KVCTL_ARGS_MAX) {
            kvctl_fail(KVCTL_BAD_ARGS, "too many words");
            return false;
        } else {
            k->args[k->arg_count++] = word;
        }
    }
    if (k->arg_count < least || k->arg_count > most) {
        kvctl_fail(KVCTL_BAD_ARGS, "%s takes %s%d word%s, not %d\nUsage: kvctl %s", k->command,
                   least == most          ? ""
                   : k->arg_count < least ? "at least "
                                          : "at most ",
                   k->arg_count < least ? least : most,
                   (k->arg_count < least ? least : most) == 1 ? "" : "s", k->arg_count, usage);
        return false;
    }
    return true;
}
