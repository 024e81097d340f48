# core/write/header_change.c test_header_cuts 64k 4k
# Several sectors that the header in force reads change at once.
s|nb_in_use <= 1|nb_in_use <= 100|
