# core/write/order.c test_crash 4k-data-file_discard 4k-data-file-backing_allocate
# The data file is flushed after the entries that name its clusters.
s|status = q2_store_flush\(disk, top->data\); /\* O9 \*/|status = Q2_OK;|
/^enum q2_status q2_commit\(/,/^}/ s|status = commit_entries\(disk\);|{\n        status = commit_entries(disk);\n        if (status == Q2_OK)\n            status = q2_store_flush(disk, disk->layers[0].data);\n    }|
