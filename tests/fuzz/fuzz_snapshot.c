/* Any bytes as a snapshot table, and from byte 512 on as a bitmap directory.
 *
 * The input is the number of entries (2 bytes), and the table; what is after it is the file's end,
 * or zeros if bit 15 of the number is set.
 */
#include "fuzz_disk.h"

#include "core/read/bitmap.h"
#include "core/read/image.h"
#include "core/read/snapshot.h"

static struct q2_slice_cache cache;
static struct q2_windows windows;
static struct q2_image image;
static struct q2_fault fault;

static void walk_snapshots(void)
{
    static struct q2_snapshot snapshot;
    struct q2_snapshot_walk walk = {0};
    enum q2_status status = Q2_OK;

    for (uint32_t i = 0; i < image.header.nb_snapshots && status == Q2_OK; i++) {
        uint64_t before = walk.offset;
        status = q2_snapshot_next(&cache, &image, &walk, &fault, &snapshot);
        if (status != Q2_OK)
            break;
        require(walk.offset >= before + 40 && walk.offset % 8 == 0);
        require(memchr(snapshot.id, 0, sizeof(snapshot.id)) != NULL);
        require(memchr(snapshot.name, 0, sizeof(snapshot.name)) != NULL);
        if (q2_image_use_snapshot(&(struct q2_image){.source = image.source,
                                                     .header = image.header,
                                                     .rules = image.rules},
                                  &snapshot, &fault) == Q2_OK)
            require(snapshot.l1_size <= Q2_MAX_L1_ENTRIES && snapshot.virtual_size < 1ull << 62);
    }
    if (status != Q2_OK)
        judge_fault(&fault, status);
}

static void find_snapshot(void)
{
    static struct q2_snapshot snapshot;
    enum q2_status status = q2_snapshot_find(&cache, &image, "1", &fault, &snapshot);

    if (status == Q2_OK)
        require(strcmp(snapshot.id, "1") == 0 || strcmp(snapshot.name, "1") == 0);
    else
        judge_fault(&fault, status);
}

static void walk_bitmaps(void)
{
    static struct q2_bitmap bitmap;
    struct q2_bitmap_walk walk = {0};
    enum q2_status status = q2_bitmap_directory_check(&image, &fault);

    for (uint32_t i = 0; i < image.nb_bitmaps && status == Q2_OK; i++) {
        status = q2_bitmap_next(&cache, &image, &walk, &fault, &bitmap);
        require(status != Q2_OK || walk.offset <= image.bitmaps_length);
        require(status != Q2_OK || memchr(bitmap.name, 0, sizeof(bitmap.name)) != NULL);
    }
    if (status != Q2_OK)
        judge_fault(&fault, status);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_file file;
    uint32_t nb;

    if (size < 2)
        return 0;
    nb = data[0] * 256u + data[1];
    fuzz_file_init(&file, "a", data + 2, size - 2, nb & 0x8000 ? 1u << 20 : 0, 1);
    memset(&image, 0, sizeof(image));
    image.source = &file.source;
    image.rules.cluster_bits = image.header.cluster_bits = 9;
    image.header.nb_snapshots = image.nb_bitmaps = nb & 0x3ff;
    image.header.size = 65536;
    image.bitmaps_offset = 512;
    image.bitmaps_length = size - 2 > 512 ? size - 2 - 512 : 0;
    q2_windows_clear(&windows);
    q2_slice_cache_init(&cache, &windows);
    walk_snapshots();
    find_snapshot();
    walk_bitmaps();
    return 0;
}
