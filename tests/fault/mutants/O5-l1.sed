# core/write/header_change.c test_amend_cuts 4k 512
# The header names an L1 table, or a size, before what it speaks of is durable.
/^enum q2_status q2_header_set/,/^}/ s|q2_commit\(disk\); /\* O2, O5, O6 \*/|Q2_OK;|
