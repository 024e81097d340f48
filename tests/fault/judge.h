/* Opening a subject's files and judging what is found in them.
 */
#ifndef METALCOW_TESTS_JUDGE_H
#define METALCOW_TESTS_JUDGE_H

#include "drivers/codec/zlib.h"
#include "script.h"

/* A disk over sources in memory: workspace, opener, codec. */
struct bench {
    const struct subject *subject;
    struct crash_log log;
    struct crash_source sources[CRASH_MAX_FILES];
    struct crash_log base_log;
    struct crash_source base;
    struct q2_opener opener;
    struct q2_codec_zlib zlib;
    void *workspace;
    struct q2_disk *disk; /* NULL while not open */
    struct q2_fault fault;
    uint8_t *buffer, *content; /* model_size bytes each */
    uint64_t leaks;            /* that the last check found */
    bool repair;               /* open for q2_disk_repair() */
    bool flags_may_lag;        /* COPIED flags may be clear although the refcount is 1 */
    char why[512];
};

void bench_start(struct bench *bench, const struct subject *subject);
void bench_free(struct bench *bench);

/* Put files in place and open the disk over them. */
enum q2_status bench_open(struct bench *bench, bool writable, const char *snapshot);
void bench_close(struct bench *bench);
/* The subject's own files again; the log and its script are emptied. */
void bench_reset(struct bench *bench);

/* From now on the disk's cache is as small as can be: after each write all slices that do not wait
 * to be written are gone, as if others had taken their place. Until bench_reset(). */
void bench_evict(struct bench *bench);

/* Judge the files that are in the bench's sources now, with no call failing: they open, the check
 * finds no corruption, and each sector is one of the model's versions from..to. The snapshot, if
 * there is one, is as it was. False: bench->why says what is wrong. */
bool bench_judge(struct bench *bench, const struct model *model, uint32_t from, uint32_t to);
/* The check alone, of the open disk with what waits in its memory. */
bool bench_check(struct bench *bench);
/* Go on writing in what was found, flush, and judge again. Changes the files. */
bool bench_go_on(struct bench *bench, uint64_t seed);
/* qemu-img check of the image alone: exit 0 or 3, leaks. */
bool bench_qemu_check(struct bench *bench);
/* qemu-img reads the zones exactly so. */
bool bench_qemu_compare(struct bench *bench, const uint8_t *content);

#endif
