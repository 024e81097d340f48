# core/write/alloc.c test_crash 512-refcount-table_allocate
# The header names a refcount table that is not durable.
/^static enum q2_status switch_table/,/^}/ s|q2_store_flush\(disk, top->source\); /\* O5 \*/|Q2_OK;|
