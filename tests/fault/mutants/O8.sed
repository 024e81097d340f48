# core/write/order.c test_crash 4k_allocate
# Refcounts lag behind the entries although the dirty bit is not set.
/^static enum q2_status commit_targets/,/^}/ s|q2_commit_kind\(disk, Q2_DIRTY_REFCOUNT\); /\* O2 \*/|Q2_OK;|
