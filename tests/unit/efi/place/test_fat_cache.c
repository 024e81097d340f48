/* Emptying the cache of the firmware's FAT driver: efi/place/fat_cache.c. The file system here only
 * counts what is read, and fails from a read on. */
#include "efi/place/fat_place.h"
#include "tests/support/t.h"

#define PAGE_BITS 16u
#define PAGE      (1ull << PAGE_BITS)
#define NB_PAGES  200u

static struct {
    EFI_FILE_PROTOCOL File; /* first */
    uint64_t position;
    unsigned int nb_reads, fail_at; /* the read that fails, and all after it; 0: none */
    bool was_read[NB_PAGES];
} fs;

static EFI_STATUS EFIAPI set_position(EFI_FILE_PROTOCOL *File, UINT64 position)
{
    (void)File;
    fs.position = position;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI read_file(EFI_FILE_PROTOCOL *File, UINTN *size, VOID *buffer)
{
    (void)File;
    fs.nb_reads++;
    if (fs.fail_at != 0 && fs.nb_reads >= fs.fail_at)
        return EFI_DEVICE_ERROR;
    memset(buffer, 0, *size);
    fs.was_read[fs.position >> PAGE_BITS] = true;
    return EFI_SUCCESS;
}

static EFI_BLOCK_IO_MEDIA media;
static EFI_BLOCK_IO_PROTOCOL block_io = {.Media = &media};
static struct q2_file_extent extent;
static struct mc_fat_file file;
static struct mc_fat_place place;
static struct q2_fault fault;

/* One file that is written, of so many pages; it shares none with others. */
static void begin(unsigned int nb_pages)
{
    memset(&fs, 0, sizeof(fs));
    fs.File.SetPosition = set_position;
    fs.File.Read = read_file;
    media = (EFI_BLOCK_IO_MEDIA){.MediaId = 7, .MediaPresent = TRUE};
    extent = (struct q2_file_extent){.length = nb_pages * PAGE};
    file = (struct mc_fat_file){
        .path = (char *)"/image", .File = &fs.File, .map = &extent, .nb_extents = 1};
    file.as.extents.page_bits = PAGE_BITS;
    place = (struct mc_fat_place){.written = &file};
    place.device.BlockIo = &block_io;
    place.device.MediaId = media.MediaId;
}

static enum q2_status forget(bool all)
{
    return mc_fat_forget(&place.place, all, &fault);
}

static void test_forget_reads_what_empties_every_slot(void)
{
    begin(NB_PAGES);
    T_CHECK_U64(forget(false), Q2_OK);
    T_CHECK_U64(fs.nb_reads, 0);
    file.as.extents.stale = 1u << 5 | 1u << 9;
    T_CHECK_U64(forget(false), Q2_OK);
    T_CHECK_U64(fs.nb_reads, 2);
    T_CHECK(fs.was_read[5] && fs.was_read[9]);
    T_CHECK_U64(file.as.extents.stale, 0);
    T_CHECK_U64(forget(true), Q2_OK);
    for (unsigned int i = 0; i < 64; i++)
        T_CHECK(fs.was_read[i]);
}

/* A stick that was pulled takes seconds for each read that fails, so one is enough. */
static void test_forget_ends_with_the_first_read_that_fails(void)
{
    begin(NB_PAGES);
    file.as.extents.stale = 1u << 5 | 1u << 9;
    fs.fail_at = 2;
    T_CHECK_U64(forget(false), Q2_ERR_IO);
    T_CHECK_U64(fs.nb_reads, 2);
    T_CHECK_U64(file.as.extents.stale, 1u << 9);
    fs.nb_reads = 0;
    fs.fail_at = 1;
    T_CHECK_U64(forget(true), Q2_ERR_IO);
    T_CHECK_U64(fs.nb_reads, 1);
}

static void test_forget_reads_no_other_medium(void)
{
    begin(NB_PAGES);
    media.MediaId++;
    T_CHECK_U64(forget(true), Q2_ERR_MEDIA_CHANGED);
    begin(NB_PAGES);
    media.MediaPresent = FALSE;
    T_CHECK_U64(forget(true), Q2_ERR_NO_MEDIA);
    T_CHECK_U64(fs.nb_reads, 0);
}

/* Pages 0 to 2 alone: no two pages share a slot, and none of the file is a page of its own. */
static void test_forget_of_a_file_that_is_too_small_is_refused(void)
{
    begin(2);
    extent.volume_offset = PAGE / 2;
    file.as.extents.stale = 1;
    T_CHECK_U64(forget(false), Q2_ERR_UNSUPPORTED);
    T_CHECK_U64(file.as.extents.stale, 1);
}

/* A piece of 51 pages that ends inside of a page, and the next one after some other file: only a
 * long second piece has a page of its own for the slot of that page. */
static void test_forget_of_a_file_in_two_pieces_needs_a_long_one(void)
{
    static const struct {
        const char *name;
        uint64_t nb_pages; /* of the second piece */
        enum q2_status status;
    } rows[] = {{"6 MiB in all", 45, Q2_ERR_UNSUPPORTED}, {"6 MiB more", 96, Q2_OK}};
    struct q2_file_extent pieces[2];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].name);
        begin(0);
        pieces[0] = (struct q2_file_extent){.length = 51 * PAGE - PAGE / 2};
        pieces[1] = (struct q2_file_extent){.file_offset = pieces[0].length,
                                            .volume_offset = 51 * PAGE - PAGE / 4,
                                            .length = rows[i].nb_pages * PAGE};
        file.map = pieces;
        file.nb_extents = 2;
        T_CHECK_U64(forget(true), rows[i].status);
    }
}

int main(void)
{
    T_RUN(test_forget_reads_what_empties_every_slot);
    T_RUN(test_forget_ends_with_the_first_read_that_fails);
    T_RUN(test_forget_reads_no_other_medium);
    T_RUN(test_forget_of_a_file_that_is_too_small_is_refused);
    T_RUN(test_forget_of_a_file_in_two_pieces_needs_a_long_one);
    return t_done();
}
