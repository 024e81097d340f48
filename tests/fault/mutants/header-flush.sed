# core/write/header_change.c test_header_cuts 64k 4k
# The first sector switches to what is not durable yet.
s|return written \? q2_store_flush\(c->disk, source\) : Q2_OK;|return written \&\& in_use ? q2_store_flush(c->disk, source) : Q2_OK;|
