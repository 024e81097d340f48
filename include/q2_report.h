/* What a person reads of a map or a check: the same lines from every program, in qemu-img's words.
 *
 * Implemented by core/check/report.c. Nothing here prints or allocates. The lines' file names come
 * out of images and are escaped.
 */
#ifndef Q2_REPORT_H
#define Q2_REPORT_H

#include "q2_check.h"
#include "q2_disk.h"

/* A run of guest bytes in one state, as `map` tells it. */
struct q2_map_entry {
    uint64_t start;   /* guest offset, bytes */
    uint64_t length;  /* bytes */
    uint64_t offset;  /* bytes into file, if has_offset */
    const char *file; /* path of a source of the disk; untrusted; NULL without has_offset */
    uint32_t depth;   /* layer that answered */
    bool present;     /* some layer has it */
    bool zero;        /* known to read as zeros */
    bool data;        /* stored, not only noted as zeros */
    bool has_offset;  /* it is at a place in a file as it is: not compressed, not encrypted */
};

/* Say what an extent of the disk (q2_disk_map()) is as an entry. */
void q2_map_entry_get(const struct q2_disk *disk, const struct q2_extent *extent,
                      struct q2_map_entry *ret_entry);

/* Lengthen run by next if that continues it in the same state and place.
 *
 * run       length 0: nothing yet, which nothing continues
 * returns   false: run is complete as it is
 */
bool q2_map_entry_join(struct q2_map_entry *run, const struct q2_map_entry *next);

/* The first line of a map. */
#define Q2_MAP_HEADING "Offset          Length          Mapped to       File"

/* What is said instead of a line when q2_map_entry_has_place() is false; the map ends there. */
#define Q2_MAP_REFUSAL "compressed or encrypted data has no place that a map could name"

/* False: it is stored, but at no place where it could be read as it is. */
bool q2_map_entry_has_place(const struct q2_map_entry *entry);

/* Write an entry's line; as q2_fault_format(). Without stored data: "" and 0. */
size_t q2_map_entry_format(const struct q2_map_entry *entry, char *buffer, size_t size);

/* Write a finding's line; as q2_fault_format(). */
size_t q2_check_finding_format(const struct q2_check_finding *finding, uint32_t cluster_bits,
                               char *buffer, size_t size);

/* Lines of a check's result need no more, the NUL included. */
#define Q2_CHECK_TEXT_SIZE 640u

/* Write a check's result: several lines, each with a line feed at its end; as q2_fault_format(). */
size_t q2_check_result_format(const struct q2_check_result *result, char *buffer, size_t size);

#endif
