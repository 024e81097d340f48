# core/amend.c test_amend_cuts 4k 512
# The header names an L1 table, or a size, before what it speaks of is durable.
/^static enum q2_status write_fields/,/^}/ s|q2_commit\(disk\); /\* O5 \*/|Q2_OK;|
