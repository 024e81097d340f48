# core/snapshot_write.c test_crash 4k_snapshots 512_snapshots
# The header names a snapshot table and references that are written, but not durable.
/^static enum q2_status switch_header/,/^}/ s|q2_commit\(disk\); /\* O2, O6 \*/|q2_commit_kind(disk, Q2_DIRTY_REFCOUNT);|
