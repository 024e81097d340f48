# core/write/store.c test_fail_nth 4k_allocate 4k_burst
# A failed metadata write or flush does not make the disk read-only.
s|disk->writer.latched = true;||
