/* cpu_info.c: /proc and /sys, read once per call; a missing file leaves a field 0 or empty. */
#define _GNU_SOURCE
#include "cpu_info.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { THREADS_MAX = 1024, CACHE_LEVELS_MAX = 8, SCRATCH_BYTES_MAX = 4 << 20 };

static bool read_line(const char *path, char *out, int bytes)
{
    FILE *file = fopen(path, "re");
    bool good = file && fgets(out, bytes, file) != NULL;
    if (file) {
        fclose(file);
    }
    if (good) {
        out[strcspn(out, "\r\n")] = '\0';
    }
    return good;
}

static uint32_t quota_threads(void)
{
    char line[80];
    double quota = 0, period = 0;
    if (!read_line("/sys/fs/cgroup/cpu.max", line, sizeof line) || sscanf(line, "%lf %lf", &quota, &period) != 2 ||
        quota <= 0 || period <= 0) {
        return THREADS_MAX;
    }
    double threads = quota / period;
    return threads < 1 ? 1 : threads > THREADS_MAX ? THREADS_MAX : (uint32_t)(threads + 0.5);
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

uint32_t mj_cpu_thread_count(void)
{
    cpu_set_t set;
    uint32_t count = 0;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        count = (uint32_t)CPU_COUNT(&set);
    } else {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        count = online > 0 ? (uint32_t)online : 1;
    }
    count = smaller(count, quota_threads());
    const char *wish = getenv("MOEJIT_CPU_THREADS");
    unsigned long wished = wish ? strtoul(wish, NULL, 10) : 0;
    if (wished > 0 && wished < count) {
        count = (uint32_t)wished;
    }
    return count ? smaller(count, THREADS_MAX) : 1;
}

void mj_cpu_memory(uint64_t *free_bytes, uint64_t *total_bytes)
{
    char line[128];
    FILE *file = fopen("/proc/meminfo", "re");
    *free_bytes = *total_bytes = 0;
    while (file && fgets(line, sizeof line, file)) {
        uint64_t kib = 0;
        if (sscanf(line, "MemTotal: %" SCNu64 " kB", &kib) == 1) {
            *total_bytes = kib * 1024;
        } else if (sscanf(line, "MemAvailable: %" SCNu64 " kB", &kib) == 1) {
            *free_bytes = kib * 1024;
        }
    }
    if (file) {
        fclose(file);
    }
}

/* The largest cache level that cpu 0 sees. */
static uint64_t last_cache_bytes(void)
{
    uint64_t largest = 0;
    for (int i = 0; i < CACHE_LEVELS_MAX; i++) {
        char path[96], line[40];
        uint64_t value = 0;
        char unit = 0;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
        if (!read_line(path, line, sizeof line) || sscanf(line, "%" SCNu64 "%c", &value, &unit) < 1) {
            continue;
        }
        uint64_t scale = unit == 'K' ? 1024 : unit == 'M' ? 1024 * 1024 : 1;
        largest = value * scale > largest ? value * scale : largest;
    }
    return largest;
}

/* "model name : AMD EPYC" and "cpu MHz : 2445.4"; other systems name a CPU differently or not at all. */
static void read_cpuinfo(mj_device_info *out)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file && fgets(line, sizeof line, file) && !(out->name[0] && out->clock_mhz)) {
        char *value = strchr(line, ':');
        if (!value) {
            continue;
        }
        value += 1 + strspn(value + 1, " \t");
        value[strcspn(value, "\r\n")] = '\0';
        if (strncmp(line, "model name", 10) == 0 && !out->name[0]) {
            snprintf(out->name, sizeof out->name, "%.*s", (int)sizeof out->name - 1, value);
        } else if (strncmp(line, "cpu MHz", 7) == 0 && !out->clock_mhz) {
            out->clock_mhz = (uint32_t)strtod(value, NULL);
        }
    }
    if (file) {
        fclose(file);
    }
}

void mj_cpu_describe(mj_device_info *out)
{
    struct utsname system = {0};
    memset(out, 0, sizeof *out);
    snprintf(out->id, sizeof out->id, "cpu");
    read_cpuinfo(out);
    if (uname(&system) == 0) {
        snprintf(out->driver, sizeof out->driver, "%.20s %.40s", system.sysname, system.release);
        if (!out->name[0]) {
            snprintf(out->name, sizeof out->name, "%.60s CPU", system.machine);
        }
    }
    out->sm_count = mj_cpu_thread_count();
    mj_cpu_memory(&out->memory_free_bytes, &out->memory_bytes);
    out->l2_bytes = last_cache_bytes();
    out->smem_block_bytes_max = SCRATCH_BYTES_MAX;
}
