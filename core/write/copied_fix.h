/* Changing COPIED flags: after refcounts have changed, or because they are wrong.
 * (qcow2: "L1 table entry", "Standard Cluster Descriptor")
 */
#ifndef Q2_CORE_COPIED_FIX_H
#define Q2_CORE_COPIED_FIX_H

#include "core/check/copied.h"

enum q2_copied_change {
    Q2_COPIED_CLEAR,       /* every flag that is set */
    Q2_COPIED_SET,         /* those that are clear although the refcount is 1 */
    Q2_COPIED_CLEAR_WRONG, /* those that are set although the refcount is not 1 */
    Q2_COPIED_CORRECT,     /* both of these */
};

/* Change flags. They wait as Q2_DIRTY_L1 and Q2_DIRTY_L2, and some are written on the way.
 *
 * references  its found() must note what cannot be read, because the walk goes on after it; its
 *             mended_flag(), if set, is told each change
 */
enum q2_status q2_copied_fix(struct q2_references *references, uint64_t l1_offset, uint32_t l1_size,
                             enum q2_copied_change change);

#endif
