# core/write/order.c test_crash 4k_discard
# Refcounts fall before the entries that named the clusters are gone.
/^enum q2_status q2_commit\(/,/^}/ {
    s|commit_frees\(disk\)|LATER|
    s|commit_entries\(disk\)|commit_frees(disk)|
    s|LATER|commit_entries(disk)|
    s| \&\& disk->writer.nb_frees > 0||
}
