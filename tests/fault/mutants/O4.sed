# core/write/order.c test_crash 4k_allocate 512_allocate
# L1 entries are written before the new L2 tables that they name are durable.
/^static enum q2_status commit_targets/,/^}/ {
    s|^    if \(status == Q2_OK \&\& top->data != top->source\)|    if (status == Q2_OK)\n        status = q2_commit_kind(disk, Q2_DIRTY_L1);\n&|
}
