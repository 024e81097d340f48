/* Memory for counting references to host clusters.
 *
 * Only plain data: struct q2_disk embeds it, and core/check/references.h gives it its meaning.
 */
#ifndef Q2_CORE_REFERENCE_COUNTS_H
#define Q2_CORE_REFERENCE_COUNTS_H

#include <stdint.h>

/* Host clusters counted in one pass: 64 GiB of 64 KiB clusters. */
#define Q2_REFERENCES_WINDOW (1024u * 1024)

/* Host clusters in which L2 tables are found in one pass. */
#define Q2_TABLES_WINDOW (512u * 1024)

struct q2_reference_counts {
    /* To each host cluster of the window, with the marks below. Counting saturates. */
    uint32_t references[Q2_REFERENCES_WINDOW];
    /* How many L1 entries name the L2 table that begins with this cluster of the tables' window;
     * Q2_TABLE_ACTIVE: the active L1 table among them. */
    uint32_t tables[Q2_TABLES_WINDOW];
};

#define Q2_TABLE_ACTIVE 0x80000000u

/* Marks of a cluster: an L1 entry names it as an L2 table; something else refers to it; it is of a
 * structure that has its clusters for itself, whatever their refcounts say. */
#define Q2_REFERENCE_TABLE 0x80000000u
#define Q2_REFERENCE_OTHER 0x40000000u
#define Q2_REFERENCE_SOLE  0x20000000u
#define Q2_REFERENCE_MARKS (Q2_REFERENCE_TABLE | Q2_REFERENCE_OTHER | Q2_REFERENCE_SOLE)

#endif
