# core/write/commit.c test_crash 4k-bitmap_overwrite 4k-bitmap_burst
# The autoclear bit is cleared, but not durably before the first other write.
s|status = q2_store_flush\(disk, top->source\); /\* O7 \*/|status = Q2_OK;|
