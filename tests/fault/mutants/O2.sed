# core/write/order.c test_crash 4k_allocate
# Refcounts are written after the flush that makes the data durable, together with the entries.
/^static enum q2_status commit_targets/,/^}/ {
    s|q2_commit_kind\(disk, Q2_DIRTY_REFCOUNT\); /\* O2 \*/|Q2_OK;|
    s|^    return status;|    return status == Q2_OK ? q2_commit_kind(disk, Q2_DIRTY_REFCOUNT) : status;|
}
