/* inspect/why.c: making the one line that tells a person what went wrong. */
#include "rt/why.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

void why_set(struct why *why, const char *format, ...)
{
    if (!why)
        return;
    // The old text may be among the arguments: print beside it, then copy.
    char line[WHY_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    memcpy(why->text, line, sizeof(line));
}

void why_prefix(struct why *why, const char *format, ...)
{
    if (!why)
        return;
    char line[WHY_BYTES];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    assert(len >= 0);
    size_t used = (size_t)len < sizeof(line) - 1 ? (size_t)len : sizeof(line) - 1;
    for (const char *at = ": "; *at && used < sizeof(line) - 1; at++)
        line[used++] = *at;
    for (const char *at = why->text; *at && used < sizeof(line) - 1; at++)
        line[used++] = *at;
    line[used] = 0;
    memcpy(why->text, line, used + 1);
}

const char *why_errno(int err, char *buf, size_t cap)
{
    if (cap == 0)
        return "";
    unsigned number = err < 0 ? 0u - (unsigned)err : (unsigned)err;
    const char *words = number < 4096 ? strerrordesc_np((int)number) : NULL;
    if (!words) {
        snprintf(buf, cap, "error %u", number);
        return buf;
    }
    snprintf(buf, cap, "%s", words);
    // "Address already in use" goes into the middle of our sentences; "I/O error" stays.
    int starts_a_word = buf[0] >= 'A' && buf[0] <= 'Z' && cap > 1 && buf[1] >= 'a' && buf[1] <= 'z';
    if (starts_a_word)
        buf[0] = (char)(buf[0] - 'A' + 'a');
    return buf;
}
