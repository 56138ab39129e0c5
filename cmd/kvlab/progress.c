/* cmd/kvlab/progress.c: how far we are, on stderr. */
#include "cmd/kvlab/lab.h"
#include <stdio.h>

enum { BAR = 24 };

void progress_plan(struct lab *lab, double seconds) { lab->progress.planned_s += seconds; }

void progress_clear(struct lab *lab)
{
    if (lab->progress.drawn)
        fprintf(stderr, "\r%78s\r", "");
    lab->progress.drawn = false;
}

void progress_step(struct lab *lab, double seconds, const char *format, ...)
{
    struct progress *p = &lab->progress;
    char text[160];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    double elapsed = (double)(rt_now_ns() - p->started_ns) / 1e9;
    double part = p->planned_s > 0 ? p->done_s / p->planned_s : 0;
    part = part > 1 ? 1 : part;
    // What is left at the pace so far; at the beginning, as planned.
    double left = p->done_s > 2 ? elapsed * (1 - part) / part : p->planned_s - p->done_s;
    int minutes = (int)(left / 60), seconds_left = (int)left % 60;
    if (p->is_terminal) {
        char bar[BAR + 1];
        for (int i = 0; i < BAR; i++)
            bar[i] = i < (int)(part * BAR) ? '#' : '.';
        bar[BAR] = 0;
        fprintf(stderr, "\r[%s] %3.0f %% %2d:%02d left  %-36.36s", bar, part * 100, minutes,
                seconds_left, text);
        p->drawn = true;
    } else {
        fprintf(stderr, "%3.0f %% (%d:%02d left) %s\n", part * 100, minutes, seconds_left, text);
    }
    p->done_s += seconds;
}
