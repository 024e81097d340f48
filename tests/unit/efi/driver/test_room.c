/* Room and upkeep of disks in mode rw against mocked boot services (mock.h): efi/image/room.c,
 * efi/driver/upkeep.c.
 */
#include "mock.h"

#include <stdlib.h>

#include "efi/base/firmware.h"
#include "efi/image/room.h"

#define MIB        (1u << 20)
#define LARGEST    (12u * MIB) /* of one write */
#define IMAGE_SIZE (12u * MIB)

static struct mock_file *file;
static struct mc_disk *disk;
static struct q2_fault fault;

static void begin(uint64_t free_space)
{
    mock_begin();
    file = mock_add_image(0, "/image", IMAGE_SIZE);
    volumes[0].free_space = free_space;
}

static enum q2_status attach(const char *image)
{
    struct mc_disk_spec spec;

    mc_spec_init(&spec);
    spec.image = image;
    spec.mode = MC_MODE_READ_WRITE;
    disk = NULL;
    return mc_disk_attach(&volumes[0], &spec, NULL, &fault, &disk);
}

static EFI_STATUS write_at(uint64_t offset, uint64_t length)
{
    static uint8_t buffer[LARGEST];
    EFI_BLOCK_IO_PROTOCOL *protocol = &disk->published.block_io.protocol;

    memset(buffer, (int)(offset >> 16) + 1, sizeof(buffer));
    return protocol->WriteBlocks(protocol, protocol->Media->MediaId, offset / 512, length, buffer);
}

static EFI_STATUS read_at(uint64_t offset, uint64_t length)
{
    static uint8_t buffer[LARGEST];
    EFI_BLOCK_IO_PROTOCOL *protocol = &disk->published.block_io.protocol;

    return protocol->ReadBlocks(protocol, protocol->Media->MediaId, offset / 512, length, buffer);
}

static void end(void)
{
    T_CHECK_U64(mc_disk_detach(disk), EFI_SUCCESS);
    mock_check_nothing_left();
}

static void test_step_table(void)
{
    static const struct {
        const char *name;
        enum mc_room_for purpose;
        uint64_t left, wanted, first, space, step; /* KiB */
    } rows[] = {
        {"first", MC_ROOM_FOR_FIRST, 0, 65536, 1024, 1u << 20, 1024},
        {"first, half is there", MC_ROOM_FOR_FIRST, 512, 65536, 1024, 1u << 20, 0},
        {"first, a little is there", MC_ROOM_FOR_FIRST, 500, 65536, 1024, 1u << 20, 524},
        {"first, 4 MiB free", MC_ROOM_FOR_FIRST, 0, 65536, 1024, 4096, 0},
        {"first, a little more free", MC_ROOM_FOR_FIRST, 0, 65536, 1024, 4196, 100},
        {"writes, large stick", MC_ROOM_FOR_WRITES, 1000, 65536, 1024, 1u << 20, 64536},
        {"writes, half is there", MC_ROOM_FOR_WRITES, 32768, 65536, 1024, 1u << 20, 0},
        {"writes, steps of a quarter", MC_ROOM_FOR_WRITES, 0, 65536, 1024, 65536, 16384},
        {"writes, rest is left", MC_ROOM_FOR_WRITES, 2048, 65536, 1024, 4096, 0},
        {"writes, rest is needed", MC_ROOM_FOR_WRITES, 0, 65536, 1024, 4096, 1024},
        {"writes, part of it is needed", MC_ROOM_FOR_WRITES, 1000, 65536, 1024, 4096, 24},
        {"writes, last cluster", MC_ROOM_FOR_WRITES, 0, 65536, 1024, 64, 64},
        {"writes, nothing", MC_ROOM_FOR_WRITES, 0, 65536, 1024, 0, 0},
        {"a 16th is left of much", MC_ROOM_FOR_HANDOFF, 0, 1u << 20, 1024, 1u << 20,
         (1u << 20) - (1u << 16)},
        {"system, all at once", MC_ROOM_FOR_HANDOFF, 1024, 65536, 1024, 1u << 20, 64512},
        {"system, rest is left", MC_ROOM_FOR_HANDOFF, 0, 65536, 1024, 8192, 4096},
        {"a write, much space", MC_ROOM_FOR_A_WRITE, 40000, 65536, 48000, 1u << 20, 25536},
        {"a write, a step of a quarter", MC_ROOM_FOR_A_WRITE, 0, 65536, 1024, 65536, 16384},
        {"a write, more than a quarter", MC_ROOM_FOR_A_WRITE, 0, 65536, 30000, 65536, 30000},
        {"a write, the rest", MC_ROOM_FOR_A_WRITE, 1024, 65536, 8192, 8192, 7168},
        {"a write, too little", MC_ROOM_FOR_A_WRITE, 0, 65536, 8192, 4096, 4096},
        {"a write, there is enough", MC_ROOM_FOR_A_WRITE, 8192, 65536, 8192, 1u << 20, 0},
        {"unknown space", MC_ROOM_FOR_WRITES, 0, 65536, 1024, UINT64_MAX >> 10, 65536},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].name);
        T_CHECK_U64(mc_room_step(rows[i].purpose, rows[i].left << 10, rows[i].wanted << 10,
                                 rows[i].first << 10, rows[i].space << 10),
                    rows[i].step << 10);
    }
    t_row("");
}

/* Before anything is written, hardly anything is taken, and it is given back. */
static void test_attach_takes_little_and_detach_gives_it_back(void)
{
    uint64_t size;

    begin(100u * MIB);
    size = file->size;
    T_CHECK_U64(attach("/image"), Q2_OK);
    T_CHECK(file->size - size <= MIB);
    mock_fire_timers();
    T_CHECK(file->size - size <= MIB);
    end();
    T_CHECK_U64(file->size, size);
    T_CHECK_U64(volumes[0].free_space, 100u * MIB);
}

/* A file that cannot be made shorter is told of, and the disk is detached all the same. */
static void test_detach_says_that_room_is_not_given_back(void)
{
    begin(100u * MIB);
    T_CHECK_U64(attach("/image"), Q2_OK);
    fw.refuse_cut = 1;
    end();
    T_CHECK(strstr(fw.text, "/image: the file stays as long as it is") != NULL);
}

static void test_attach_leaves_the_last_space_to_others(void)
{
    begin(3u * MIB);
    T_CHECK_U64(attach("/image"), Q2_OK);
    T_CHECK_U64(fw.nb_grown, 0);
    T_CHECK_U64(volumes[0].free_space, 3u * MIB);
    T_CHECK_STR(fw.text, "");
    end();
}

/* Steps follow the writes; at the end all of the disk was written. */
static void test_writes_take_room_in_steps(void)
{
    uint64_t step = 0, before;

    begin(20u * MIB);
    T_CHECK_U64(attach("/image"), Q2_OK);
    for (uint64_t at = 0; at < IMAGE_SIZE; at += 512 * 1024) {
        before = file->size;
        T_CHECK_U64(write_at(at, 512 * 1024), EFI_SUCCESS);
        step = file->size - before > step ? file->size - before : step;
        if (fw.nb_grown < 3)
            T_CHECK(volumes[0].free_space >= 4u * MIB);
    }
    T_CHECK(step <= 5u * MIB);
    T_CHECK_STR(fw.text, "");
    end();
    T_CHECK(file->size < IMAGE_SIZE + MIB);
}

/* A write that needs it takes the last space, and what is full is said once. */
static void test_writes_take_all_before_they_fail(void)
{
    uint64_t at = 0;
    const char *said;

    begin(6u * MIB);
    T_CHECK_U64(attach("/image"), Q2_OK);
    while (at < IMAGE_SIZE && write_at(at, 128 * 1024) == EFI_SUCCESS)
        at += 128 * 1024;
    T_CHECK(at >= 5u * MIB && at < 7u * MIB);
    T_CHECK_U64(volumes[0].free_space, 0);
    said = strstr(fw.text, "the volume has no space");
    T_CHECK(said != NULL && strstr(said + 1, "the volume has no space") == NULL);
    end();
}

/* A write that needs more than there is waits until the file is longer. */
static void test_one_write_larger_than_the_room_is_served(void)
{
    begin(50u * MIB);
    T_CHECK_U64(attach("/image"), Q2_OK);
    T_CHECK_U64(write_at(0, LARGEST), EFI_SUCCESS);
    T_CHECK_U64(fw.tpl, TPL_APPLICATION);
    T_CHECK_STR(fw.text, "");
    T_CHECK_U64(read_at(LARGEST - 512, 512), EFI_SUCCESS);
    end();
}

static EFI_STATUS detached;

static VOID EFIAPI on_pulled(EFI_EVENT event, VOID *context)
{
    (void)event;
    (void)context;
    detached = mc_disk_detach(disk);
}

/* The stick is pulled while a write waits for room: the notification comes as soon as the write has
 * let go of the disk, and the disk must still be there when the write goes on. */
static void test_disk_is_not_taken_away_while_a_write_waits_for_room(void)
{
    EFI_EVENT pulled;

    begin(50u * MIB);
    T_CHECK_U64(attach("/image"), Q2_OK);
    T_CHECK_U64(mc_firmware.BootServices->CreateEvent(EVT_NOTIFY_SIGNAL, TPL_CALLBACK, on_pulled,
                                                      NULL, &pulled),
                EFI_SUCCESS);
    detached = EFI_NOT_STARTED;
    fw.tpl = TPL_CALLBACK;
    (void)mc_firmware.BootServices->SignalEvent(pulled);
    fw.tpl = TPL_APPLICATION;
    T_CHECK_U64(write_at(0, LARGEST), EFI_SUCCESS);
    T_CHECK_U64(detached, EFI_DEVICE_ERROR);
    (void)mc_firmware.BootServices->CloseEvent(pulled);
    end();
}

static void test_one_write_larger_than_the_free_space_fails_once_and_keeps_the_disk(void)
{
    begin(9u * MIB);
    T_CHECK_U64(attach("/image"), Q2_OK);
    T_CHECK_U64(write_at(0, LARGEST), EFI_DEVICE_ERROR);
    T_CHECK(strstr(fw.text, "the volume has no space") != NULL);
    T_CHECK(!disk->published.block_io.media.ReadOnly);
    T_CHECK_U64(write_at(0, 2u * MIB), EFI_SUCCESS);
    end();
}

/* Under the lock of a file system the file cannot be made longer, so a write that exceeds the room
 * fails. The room comes with the lock's end, and the same write is served. */
static void test_one_write_larger_than_the_room_under_a_lock_fails_until_it_ends(void)
{
    begin(50u * MIB);
    T_CHECK_U64(attach("/image"), Q2_OK);
    fw.tpl = TPL_CALLBACK;
    T_CHECK_U64(write_at(0, LARGEST), EFI_DEVICE_ERROR);
    T_CHECK_U64(fw.nb_grown, 1); /* at attach */
    fw.tpl = TPL_APPLICATION;
    mock_let_in();
    fw.tpl = TPL_CALLBACK;
    T_CHECK_U64(write_at(0, LARGEST), EFI_SUCCESS);
    fw.tpl = TPL_APPLICATION;
    mock_let_in();
    end();
}

static void test_image_whose_clusters_are_all_there_takes_no_room(void)
{
    begin(50u * MIB);
    T_CHECK_U64(attach("/image"), Q2_OK);
    T_CHECK_U64(write_at(0, IMAGE_SIZE), EFI_SUCCESS);
    end();
    fw.nb_grown = 0;
    fw.handoff = true;
    T_CHECK_U64(attach("/image"), Q2_OK);
    T_CHECK_U64(write_at(4u * MIB, 2u * MIB), EFI_SUCCESS);
    for (uint64_t at = 0; at < 8u * MIB; at += MIB)
        T_CHECK_U64(read_at(at, MIB), EFI_SUCCESS);
    mock_fire_timers();
    T_CHECK_U64(fw.nb_grown, 0);
    end();
}

/* The power goes before anybody detaches the disk; the next detach finds what was left. */
static void test_room_that_a_power_cut_leaves_is_used_and_given_back(void)
{
    uint64_t size, left;
    uint8_t *bytes = malloc(MOCK_FILE_ROOM);

    begin(100u * MIB);
    T_CHECK_U64(attach("/image"), Q2_OK);
    T_CHECK_U64(write_at(0, 65536), EFI_SUCCESS);
    mock_fire_timers();
    left = file->size;
    memcpy(bytes, file->bytes, left);
    end();
    size = file->size;
    T_CHECK(size < left);
    memcpy(file->bytes, bytes, left);
    file->size = left;
    free(bytes);
    fw.nb_grown = 0;
    T_CHECK_U64(attach("/image"), Q2_OK);
    T_CHECK_U64(write_at(65536, 65536), EFI_SUCCESS);
    T_CHECK_U64(fw.nb_grown, 0);
    end();
    T_CHECK(file->size <= size + 65536);
    T_CHECK_U64(attach("/image"), Q2_OK);
    T_CHECK_U64(read_at(0, 131072), EFI_SUCCESS);
    end();
}

/* A loader reads a kernel. */
static void test_all_room_comes_for_a_system_after_4_mib(void)
{
    begin(100u * MIB);
    fw.handoff = true;
    T_CHECK_U64(attach("/image"), Q2_OK);
    T_CHECK_U64(read_at(0, 3u * MIB), EFI_SUCCESS);
    T_CHECK_U64(fw.nb_grown, 1);
    for (unsigned int i = 0; i < 3; i++)
        T_CHECK_U64(read_at(0, MIB), EFI_SUCCESS);
    T_CHECK_U64(fw.nb_grown, 2);
    T_CHECK_U64(fw.nb_records, 1);
    T_CHECK(mc_image_room(disk->image) >= IMAGE_SIZE);
    end();
}

/* The event comes while a request is inside the disk. */
static void test_all_room_for_a_system_waits_for_a_request_to_end(void)
{
    begin(100u * MIB);
    fw.handoff = true;
    T_CHECK_U64(attach("/image"), Q2_OK);
    for (unsigned int i = 0; i < 3; i++)
        T_CHECK_U64(read_at(0, MIB), EFI_SUCCESS);
    disk->published.block_io.watch.nb_bytes += MIB; /* of the request that is inside */
    disk->published.block_io.busy = true;
    (void)mc_firmware.BootServices->SignalEvent(disk->upkeep.read);
    disk->published.block_io.busy = false;
    T_CHECK_U64(fw.nb_records, 0);
    T_CHECK_U64(read_at(0, MIB), EFI_SUCCESS);
    T_CHECK_U64(fw.nb_records, 1);
    T_CHECK(mc_image_room(disk->image) >= IMAGE_SIZE);
    end();
}

static void test_no_room_for_a_system_that_gets_nothing(void)
{
    begin(100u * MIB);
    fw.handoff = true;
    fw.reason_against = "Secure Boot is on";
    T_CHECK_U64(attach("/image"), Q2_OK);
    for (unsigned int i = 0; i < 6; i++)
        T_CHECK_U64(read_at(0, MIB), EFI_SUCCESS);
    T_CHECK_U64(fw.nb_grown, 1);
    end();
}

/* As under the lock of a file system: no room can be made until it lets go. */
static void test_first_writes_under_a_lock_find_room(void)
{
    begin(50u * MIB);
    T_CHECK_U64(attach("/image"), Q2_OK);
    fw.tpl = TPL_CALLBACK;
    for (uint64_t at = 0; at < 8 * 65536; at += 65536)
        T_CHECK_U64(write_at(at, 512), EFI_SUCCESS);
    fw.tpl = TPL_APPLICATION;
    mock_let_in();
    T_CHECK(file->size > 8u * MIB);
    end();
}

/* Nothing grows, nothing is allocated, no file is asked for from inside of ExitBootServices(),
 * whenever it comes; the metadata is flushed. */
static void test_nothing_grows_while_boot_services_end(void)
{
    for (unsigned int nb_writes = 0; nb_writes < 24; nb_writes++) {
        begin(50u * MIB);
        T_CHECK_U64(attach("/image"), Q2_OK);
        for (unsigned int i = 0; i < nb_writes; i++)
            (void)write_at(i * 65536ull, 512);
        mock_exit_boot_services();
        T_CHECK_STR(fw.wrong_in_exit ? fw.wrong_in_exit : "", "");
        T_CHECK(!q2_disk_is_dirty(disk->image->disk));
        if (nb_writes > 0)
            T_CHECK_U64(write_at(20 * 65536, 512), EFI_SUCCESS);
        /* Boot services did not end after all. */
        mock_fire_timers();
        mock_fire_timers();
        T_CHECK(file->size > 8u * MIB || nb_writes == 0);
        end();
    }
}

/* Whatever pieces a file has: a new one of 4 MiB and some pages empties the firmware's cache. */
static void test_attach_grows_a_file_whose_pieces_do_not_empty_the_cache(void)
{
    static const uint64_t sizes[] = {1, 3, 5, 7}; /* MiB */

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        begin(64u * MIB);
        file->size = sizes[i] * MIB;
        fw.forgets_from = 5u * MIB;
        if (T_CHECK_U64(attach("/image"), Q2_OK))
            end();
    }
    begin(64u * MIB);
    fw.forgets_from = 64u * MIB; /* by no growth */
    T_CHECK_U64(attach("/image"), Q2_ERR_UNSUPPORTED);
    mock_check_nothing_left();
}

int main(void)
{
    T_RUN(test_step_table);
    T_RUN(test_attach_takes_little_and_detach_gives_it_back);
    T_RUN(test_detach_says_that_room_is_not_given_back);
    T_RUN(test_attach_leaves_the_last_space_to_others);
    T_RUN(test_writes_take_room_in_steps);
    T_RUN(test_writes_take_all_before_they_fail);
    T_RUN(test_first_writes_under_a_lock_find_room);
    T_RUN(test_one_write_larger_than_the_room_is_served);
    T_RUN(test_disk_is_not_taken_away_while_a_write_waits_for_room);
    T_RUN(test_one_write_larger_than_the_free_space_fails_once_and_keeps_the_disk);
    T_RUN(test_one_write_larger_than_the_room_under_a_lock_fails_until_it_ends);
    T_RUN(test_image_whose_clusters_are_all_there_takes_no_room);
    T_RUN(test_room_that_a_power_cut_leaves_is_used_and_given_back);
    T_RUN(test_all_room_comes_for_a_system_after_4_mib);
    T_RUN(test_all_room_for_a_system_waits_for_a_request_to_end);
    T_RUN(test_no_room_for_a_system_that_gets_nothing);
    T_RUN(test_nothing_grows_while_boot_services_end);
    T_RUN(test_attach_grows_a_file_whose_pieces_do_not_empty_the_cache);
    return t_done();
}
