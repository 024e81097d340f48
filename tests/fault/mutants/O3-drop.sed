# core/write/table.c test_amend_cuts 4k 512
# What an L2 table refers to is given back before its L1 entry is gone.
/^enum q2_status q2_table_drop/,/^}/ s|status = q2_commit_if_crowded\(disk\);|status = release_entries(disk, table, guest_offset);\n    status = status == Q2_OK ? q2_commit(disk) : status;\n    table = 0;|
