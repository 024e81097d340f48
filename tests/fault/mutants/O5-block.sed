# core/write/alloc.c test_crash 512-refcount-block_allocate 4k-refcount-64_allocate
# A refcount block is named before it is durable.
/^static enum q2_status link_block/,/^}/ s|q2_store_flush\(disk, top->source\); /\* O5 \*/|Q2_OK;|
