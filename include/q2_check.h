/* The consistency check: references counted against refcounts.  (qcow2: "Refcount management")
 *
 * Called by tools/ and efi/; implemented by core/check.c. Reads only. Works in the disk's own
 * workspace: an image with more host clusters than fit is gone over in several passes, so the
 * memory does not grow with the image.
 */
#ifndef Q2_CHECK_H
#define Q2_CHECK_H

#include "q2_disk.h"

enum q2_check_kind {
    Q2_CHECK_LEAK,       /* refcount higher than the references: space is lost, data is safe */
    Q2_CHECK_REFCOUNT,   /* refcount lower than the references: corruption */
    Q2_CHECK_COPIED,     /* COPIED flag does not say whether the refcount is 1: corruption */
    Q2_CHECK_ENTRY,      /* an entry breaks the specification or leaves the file: corruption */
    Q2_CHECK_UNREADABLE, /* something could not be checked: check error */
};

/* One finding, given to the reporter as it is found. Pointers live during the call only. */
struct q2_check_finding {
    enum q2_check_kind kind;
    const char *what;  /* static text: what is wrong, of what */
    uint64_t offset;   /* LEAK, REFCOUNT: of the cluster; else of the entry; bytes into the image */
    uint64_t refcount; /* LEAK, REFCOUNT, COPIED: as stored */
    uint64_t references; /* LEAK, REFCOUNT: as counted */
};

struct q2_check_reporter {
    /* Take one finding. The disk must not be used from here. */
    void (*report)(struct q2_check_reporter *reporter, const struct q2_check_finding *finding);
};

/* The counts that qemu-img check reports; allocation is that of the active state. */
struct q2_check_result {
    uint64_t corruptions;
    uint64_t leaks;
    uint64_t check_errors;
    uint64_t total_clusters;     /* of the virtual size */
    uint64_t allocated_clusters; /* entries with a host cluster or a compressed stream */
    uint64_t compressed_clusters;
    uint64_t fragmented_clusters; /* not right behind the one before in their L2 table */
    uint64_t image_end_offset;    /* bytes; end of the last host cluster in use */
    uint64_t copied_missing;      /* of the corruptions: COPIED flags that are clear although the
                                     refcount is 1. A power cut while a snapshot is made or deleted
                                     leaves them; they cost a copy and endanger nothing */
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

#endif
