/* The consistency check: references counted against refcounts.  (qcow2: "Refcount management")
 *
 * Implemented by core/check/check.c, which reads only, and core/repair/repair.c, which mends what
 * the check finds. Both work in the disk's own workspace: an image with more host clusters than fit
 * is gone over in several passes, so the memory does not grow with the image.
 */
#ifndef Q2_CHECK_H
#define Q2_CHECK_H

#include "q2_disk.h"

enum q2_check_kind {
    Q2_CHECK_LEAK,       /* refcount higher than the references: space is lost, data is safe */
    Q2_CHECK_REFCOUNT,   /* refcount lower than the references: corruption */
    Q2_CHECK_COPIED,     /* COPIED flag does not say whether the refcount is 1: corruption */
    Q2_CHECK_ENTRY,      /* an entry breaks the specification or leaves the file: corruption */
    Q2_CHECK_STRUCTURE,  /* refcount table or a block is unusable or overlaps something else:
                            corruption */
    Q2_CHECK_SNAPSHOT,   /* the snapshot table breaks the specification or is past a limit:
                            corruption */
    Q2_CHECK_UNREADABLE, /* something could not be checked: check error */
};

/* One finding, given to the reporter as it is found. Pointers live during the call only. */
struct q2_check_finding {
    enum q2_check_kind kind;
    const char *what;    /* static text: what is wrong, of what */
    uint64_t offset;     /* LEAK, REFCOUNT: of the cluster; else of the entry; bytes into the image.
                          Of snapshots past a limit: of the first one's entry */
    uint64_t refcount;   /* LEAK, REFCOUNT, COPIED: as stored */
    uint64_t references; /* LEAK, REFCOUNT: as counted */
    bool fixed;          /* q2_disk_repair() has mended it */
};

struct q2_check_reporter {
    /* Take one finding. The disk must not be used from here. */
    void (*report)(struct q2_check_reporter *reporter, const struct q2_check_finding *finding);

    /* How far q2_disk_check() is; NULL: nobody wants to know. Called some hundred times at most,
     * done grows, and a check that ends with Q2_OK tells done == total last. What happens between
     * two calls takes about equally long. The disk must not be used from here. */
    void (*progress)(struct q2_check_reporter *reporter, uint64_t done, uint64_t total);
};

/* The counts that qemu-img check reports; allocation is that of the active state. */
struct q2_check_result {
    uint64_t corruptions;
    uint64_t leaks;
    uint64_t check_errors;
    uint64_t total_clusters;     /* of the virtual size */
    uint64_t allocated_clusters; /* entries with a host cluster or a compressed stream */
    uint64_t compressed_clusters;
    uint64_t fragmented_clusters;  /* not right after the one before in their L2 table */
    uint64_t image_end_offset;     /* bytes; end of the last host cluster in use */
    uint64_t copied_missing;       /* of the corruptions: COPIED flags that are clear although the
                                     refcount is 1. A power cut while a snapshot is made or deleted
                                     leaves them; they cost a copy and endanger nothing */
    uint64_t snapshots_incomplete; /* of the corruptions: snapshots of version 3 with less than 16
                                      bytes of extra data. They have the disk's size then, and can
                                      be read and written */
};

/* Check the top image of a disk: header, L1, L2, refcounts, snapshots, bitmaps.
 *
 * disk       opened on its active state, with or without metadata_only
 * reporter   gets every finding; NULL: counts only
 *
 * Q2_OK               the check ran to its end; ret_result says what it found
 * Q2_ERR_UNSUPPORTED  the top image is raw, or was opened on a snapshot
 * Q2_ERR_TRUNCATED    refcount table, snapshot table or bitmap directory leaves the file
 * Q2_ERR_BAD_SNAPSHOT, Q2_ERR_BAD_BITMAP, Q2_ERR_LIMIT   the tables cannot be walked
 */
enum q2_status q2_disk_check(struct q2_disk *disk, struct q2_check_reporter *reporter,
                             struct q2_check_result *ret_result);

/* What to mend. */
enum q2_repair {
    Q2_REPAIR_LEAKS, /* refcounts that are too high, and COPIED flags that could be set */
    Q2_REPAIR_ALL,   /* refcounts that are too low, wrong COPIED flags, a broken refcount structure,
                        entries that have a safe right form, the snapshot table */
    Q2_REPAIR_FOR_WRITING, /* as ALL, but the snapshot table stays as it is: nobody has asked for
                              snapshots to be removed */
};

struct q2_repair_result {
    uint64_t leaks_fixed;
    uint64_t corruptions_fixed;
    struct q2_check_result left; /* of a check after the repair */
};

/* Mend what the check finds.
 *
 * disk       opened with options.repair, or writable; nothing that was written waits
 * reporter   gets each finding that is mended (fixed is set), then those that are left; may be NULL
 *
 * Refcounts that are too low rise first, durably; then those that are too high fall, then COPIED
 * flags are corrected. A refcount structure that is unusable is built anew after the end of the
 * file, and named by the header when it is complete. So a power cut on the way leaves an image
 * whose content is the same and that another repair mends. Memory does not grow with the image.
 *
 * A snapshot table that breaks the specification is written anew, and named by the header when it
 * is complete: entries get the extra data that version 3 demands, extra data past
 * Q2_MAX_SNAPSHOT_EXTRA_SIZE is cut off, and snapshots past Q2_MAX_SNAPSHOTS or
 * Q2_MAX_SNAPSHOT_TABLE_SIZE are removed.
 *
 * Left alone is what cannot be mended safely: entries that break the specification (but an
 * allocated zero cluster without a right place becomes a plain one, and a COPIED flag on a
 * compressed cluster goes), references that a refcount is too narrow for. While entries are left
 * that may refer to any cluster, or that cannot be read, no refcount falls: it might be theirs.
 *
 * When no corruption is left, the dirty bit and the corrupt bit are cleared.
 *
 * Q2_OK               the repair ran to its end; ret_result says what is left
 * Q2_ERR_READ_ONLY    opened for neither, or latched after a failed write
 * Q2_ERR_NO_SPACE     no room for a new refcount structure or snapshot table
 * Q2_ERR_LIMIT        the file is too large for one
 * Q2_ERR_IO ...       a source failed; after a failed write the disk is read-only
 * or an error of q2_disk_check()
 */
enum q2_status q2_disk_repair(struct q2_disk *disk, enum q2_repair what,
                              struct q2_check_reporter *reporter,
                              struct q2_repair_result *ret_result);

#endif
