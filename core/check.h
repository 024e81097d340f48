/* Memory of the consistency check.
 *
 * Seen by core/disk.h, which gives it room, and core/check.c.
 */
#ifndef Q2_CORE_CHECK_H
#define Q2_CORE_CHECK_H

#include <stdint.h>

/* Host clusters counted in one pass: 64 GiB of 64 KiB clusters. */
#define Q2_CHECK_WINDOW (1024u * 1024)

/* References to each host cluster of the window. A cluster cannot have more than 2^32 - 1: each
 * L1 table names at most 2^22 L2 tables, and counting saturates. */
struct q2_check_counts {
    uint32_t references[Q2_CHECK_WINDOW];
};

#endif
