# core/write/order.c test_crash 4k_zeroes 16k-extended_allocate 16k-extended_zeroes
# Entries are written before the data that they name is durable, where no refcount changes with them.
/^static enum q2_status commit_targets/,/^}/ {
    s|enum q2_status status = q2_commit_kind\(disk, Q2_DIRTY_REFCOUNT\); /\* O2 \*/|bool early = q2_slice_is_dirty(\&disk->slices, Q2_DIRTY_L2) \&\& !q2_slice_is_dirty(\&disk->slices, Q2_DIRTY_REFCOUNT);\n    &|
    s|status = q2_store_flush\(disk, top->source\); /\* O1, O2, O4 \*/|status = early ? Q2_OK : q2_store_flush(disk, top->source);|
}
