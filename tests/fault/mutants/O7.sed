# core/write/bitmap_write.c test_crash 4k-bitmap_overwrite 4k-bitmap_burst
# The bitmap is marked as in use, but not durably before the first other write.
s|status = q2_store_flush\(disk, top->source\); /\* O7 \*/|status = Q2_OK;|
