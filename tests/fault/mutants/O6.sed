# core/write/header_change.c test_crash 4k_snapshots 512_snapshots
# The header names a snapshot table and references that are written, but not durable.
/^enum q2_status q2_header_set/,/^}/ s|q2_commit\(disk\); /\* O2, O5, O6 \*/|q2_commit_kind(disk, Q2_DIRTY_REFCOUNT);|
