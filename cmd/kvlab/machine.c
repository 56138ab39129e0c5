/* cmd/kvlab/machine.c: kernel, CPU, disk, versions, date. */
#include "cmd/kvlab/machine.h"
#include "cmd/kvlab/plot.h"
#include "cmd/kvlab/run_tool.h"
#include <rt/file.h>
#include <rt/go.h>
#include <stdio.h>

/* Civil date from days since 1970. Source: Hinnant, "chrono-Compatible Low-Level Date Algorithms". */
static void civil(int64_t days, int *year, int *month, int *day)
{
    int64_t z = days + 719468, era = z / 146097, of_era = z - era * 146097;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * y + y / 4 - y / 100), mp = (5 * of_year + 2) / 153;
    *day = (int)(of_year - (153 * mp + 2) / 5 + 1);
    *month = (int)(mp < 10 ? mp + 3 : mp - 9);
    *year = (int)(y + era * 400 + (*month <= 2));
}

void machine_date(int64_t wall_ns, char *text, size_t text_cap, char *compact, size_t compact_cap)
{
    int64_t s = wall_ns / RT_SECOND;
    int year, month, day, of_day = (int)(s % 86400);
    civil(s / 86400, &year, &month, &day);
    int h = of_day / 3600, m = of_day / 60 % 60, sec = of_day % 60;
    snprintf(text, text_cap, "%04d-%02d-%02d %02d:%02d:%02d", year, month, day, h, m, sec);
    snprintf(compact, compact_cap, "%04d%02d%02d-%02d%02d%02d", year, month, day, h, m, sec);
}

static void first_line(char *text) { text[strcspn(text, "\n")] = 0; }

/* The value of the first "model name : ..." line. */
static void find_cpu(struct lab *lab)
{
    char text[2048];
    const char *at =
        file_text("/proc/cpuinfo", text, sizeof text) > 0 ? strstr(text, "model name") : NULL;
    at = at ? strchr(at, ':') : NULL;
    snprintf(lab->cpu_text, sizeof lab->cpu_text, "%u x %.*s", rt_procs(),
             at ? (int)strcspn(at + 2, "\n") : 7, at ? at + 2 : "unknown");
    lab->cpu = lab->cpu_text;
}

static void find_disk(struct lab *lab)
{
    char log[480], said[256];
    struct why why;
    snprintf(log, sizeof log, "%s/disk.txt", lab->folder);
    const char *const argv[] = {"df", "--output=source,fstype,target", lab->folder, NULL};
    lab->disk = "unknown";
    if (run_tool(&lab->leftovers, argv, log, said, sizeof said, &why) == 0 && strchr(said, '\n')) {
        const char *line = strchr(said, '\n') + 1;
        size_t n = 0;
        if (*line == '-') // a root that was changed to knows no device
            line = "unknown";
        for (; *line && n + 1 < sizeof lab->disk_text; line++) // runs of spaces become one
            if (*line != ' ' || (n && lab->disk_text[n - 1] != ' '))
                lab->disk_text[n++] = *line;
        lab->disk_text[n] = 0;
        lab->disk = lab->disk_text;
    }
    rt_unlink(log);
}

static bool find_programs(struct lab *lab, struct why *why)
{
    char log[480];
    snprintf(log, sizeof log, "%s/version.txt", lab->folder);
    bool ok = plot_find_gnuplot(&lab->leftovers, lab->gnuplot, sizeof lab->gnuplot, log, why);
    if (ok && lab->options->endpoint_count == 0) {
        const char *const kvd[] = {lab->kvd, "--version", NULL};
        int status =
            run_tool(&lab->leftovers, kvd, log, lab->kvd_version, sizeof lab->kvd_version, why);
        ok = status == 0;
        if (status > 0)
            why_set(why, "%s --version ends with status %d; is it kvd? (set --kvd)", lab->kvd,
                    status);
        if (status < 0)
            why_prefix(why, "kvlab needs kvd beside itself (or --kvd PATH)");
        first_line(lab->kvd_version);
    }
    const char *const etcd[] = {lab->options->etcd ? lab->options->etcd : "etcd", "--version",
                                NULL};
    struct why absent; // then there is no version
    if (ok &&
        run_tool(&lab->leftovers, etcd, log, lab->etcd_version, sizeof lab->etcd_version, &absent))
        lab->etcd_version[0] = 0;
    first_line(lab->etcd_version);
    rt_unlink(log);
    return ok;
}

bool machine_describe(struct lab *lab, struct why *why)
{
    char compact[32], date[32];
    machine_date(rt_wall_ns(), date, sizeof date, compact, sizeof compact);
    lab->date = rt_arena_printf(&lab->arena, "%s", date);
    lab->kernel = "unknown";
    if (file_text("/proc/sys/kernel/osrelease", lab->kernel_text, sizeof lab->kernel_text) > 0)
        lab->kernel = lab->kernel_text;
    first_line(lab->kernel_text);
    find_cpu(lab);
    find_disk(lab);
    if (!find_programs(lab, why))
        return false;
    const char *whose = lab->options->endpoint_count
                            ? "kvlab\u2019s own machine (not the cluster\u2019s)"
                            : "kvlab and members on one machine";
    lab->report.machine =
        rt_arena_printf(&lab->arena, "%s: %s; Linux %s; disk of the results: %s; %s", whose,
                        lab->cpu, lab->kernel, lab->disk, lab->kvd_version);
    lab->report.taken = rt_arena_printf(&lab->arena, "%s UTC: %s", lab->date, lab->command);
    return true;
}

void machine_note_server(struct lab *lab, const char *endpoint, const char *version)
{
    size_t used = strlen(lab->kvd_version);
    rt_string_printf(&lab->servers, "%s\n    {\"endpoint\": ", lab->servers.len ? "," : "");
    text_to_json(&lab->servers, endpoint);
    rt_string_printf(&lab->servers, ", \"version\": ");
    text_to_json(&lab->servers, version);
    rt_string_printf(&lab->servers, "}");
    snprintf(lab->kvd_version + used, sizeof lab->kvd_version - used, "%s%s is version %s",
             used ? ", " : "", endpoint, version);
}
