# core/write/order.c test_crash 4k_compress 4k-compressed_compress 512_compress 4k_random
# Streams are packed on behind others in a cluster that was freed with them.
s|disk->writer.packed_end = 0;|(void)0;|
