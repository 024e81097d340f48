# core/write/write_compressed.c test_crash 4k_compress
# A stream that shares its host cluster does not count.
/^static enum q2_status share/,/^}/ s|refcount \+ 1|refcount|
