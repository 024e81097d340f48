/* Images that were not closed cleanly, attached in mode rw against mocked boot services (mock.h):
 * they are repaired on the way, and a refused attach changes nothing.
 */
#include "mock.h"

#include "efi/driver/control_server.h"

#define IMAGE_SIZE (12u << 20)

static struct mock_file *file;
static struct mc_disk *disk;
static struct q2_fault fault;

/* An empty image with the dirty bit: incompatible feature 0. */
static void begin(void)
{
    mock_begin();
    file = mock_add_image(0, "/image", IMAGE_SIZE);
    volumes[0].free_space = 8u << 20;
    file->bytes[79] |= 1;
}

/* The refcount of the file's last cluster, which is used, becomes 0: as lazy refcounts after a
 * crash. The image has clusters of 64 KiB, 16-bit refcounts, and its first block is the second
 * cluster after the table. */
static uint8_t *last_refcount(void)
{
    uint64_t table = 0, block = 0;

    for (unsigned int i = 0; i < 8; i++)
        table = table << 8 | file->bytes[48 + i];
    for (unsigned int i = 0; i < 8; i++)
        block = block << 8 | file->bytes[table + i];
    return file->bytes + block + 2 * ((file->size - 1) >> 16);
}

static enum q2_status attach(enum mc_mode mode, struct mc_disk **ret_disk)
{
    struct mc_disk_spec spec;

    mc_spec_init(&spec);
    spec.image = "/image";
    spec.mode = mode;
    return mc_disk_attach(&volumes[0], &spec, NULL, &fault, ret_disk);
}

static EFI_STATUS write_first(void)
{
    static uint8_t buffer[4096];
    EFI_BLOCK_IO_PROTOCOL *protocol = &disk->published.block_io.protocol;

    return protocol->WriteBlocks(protocol, protocol->Media->MediaId, 0, sizeof(buffer), buffer);
}

/* With a passphrase that is typed at the prompt. */
static bool attach_typing(const char *typed)
{
    struct mc_disk_spec spec;

    fw.typed = typed;
    mc_spec_init(&spec);
    spec.image = "/image";
    spec.mode = MC_MODE_READ_WRITE;
    spec.may_ask = true;
    disk = NULL;
    T_CHECK_U64(mc_disk_attach(&volumes[0], &spec, NULL, &fault, &disk), Q2_OK);
    return disk != NULL;
}

static void end(void)
{
    T_CHECK_U64(mc_disk_detach(disk), EFI_SUCCESS);
    mock_check_nothing_left();
}

static bool is_said_once(const char *text)
{
    const char *said = strstr(fw.text, text);

    return said && !strstr(said + 1, text);
}

static void test_attach_repairs_a_dirty_image_and_says_so(void)
{
    uint8_t *refcount;

    begin();
    refcount = last_refcount();
    T_CHECK_U64(refcount[1], 1);
    refcount[1] = 0;
    T_CHECK_U64(attach(MC_MODE_READ_WRITE, &disk), Q2_OK);
    T_CHECK(is_said_once("/image: the image was not closed cleanly; its record of which clusters "
                         "are in use has been repaired"));
    T_CHECK_U64(file->bytes[79] & 1, 0);
    T_CHECK_U64(refcount[1], 1);
    T_CHECK_U64(write_first(), EFI_SUCCESS);
    end();
}

static void test_attach_for_reading_repairs_nothing(void)
{
    static const enum mc_mode modes[] = {MC_MODE_READ_ONLY, MC_MODE_OVERLAY};

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        begin();
        T_CHECK_U64(attach(modes[i], &disk), Q2_OK);
        T_CHECK_U64(file->bytes[79] & 1, 1);
        T_CHECK_STR(fw.text, "");
        end();
    }
}

/* Refused because another disk reads the file: not repaired, no longer, nothing said. */
static void test_refused_attach_leaves_the_file_as_it_was(void)
{
    static uint8_t before[4u << 20];
    struct mc_disk *refused;
    uint64_t size;

    for (unsigned int dirty = 0; dirty < 2; dirty++) {
        begin();
        file->bytes[79] = (uint8_t)dirty;
        T_CHECK_U64(attach(MC_MODE_READ_ONLY, &disk), Q2_OK);
        size = file->size;
        memcpy(before, file->bytes, size);
        T_CHECK_U64(attach(MC_MODE_READ_WRITE, &refused), Q2_ERR_BUSY);
        T_CHECK_U64(file->size, size);
        T_CHECK(memcmp(before, file->bytes, size) == 0);
        T_CHECK_STR(fw.text, "");
        end();
    }
}

/* The firmware does not take the disk: room that was made before is given back. */
static void test_attach_that_the_firmware_refuses_gives_room_back(void)
{
    uint64_t size;

    begin();
    file->bytes[79] = 0;
    size = file->size;
    fw.refuse_by_child = 1;
    T_CHECK_U64(attach(MC_MODE_READ_WRITE, &disk), Q2_ERR_BUSY);
    T_CHECK_U64(file->size, size);
    T_CHECK_U64(volumes[0].free_space, 8u << 20);
    mock_check_nothing_left();
}

/* The refcount table points nowhere, so a new one is built at the end of the file, which has no
 * room there before. */
static void test_repair_that_needs_room_gets_it(void)
{
    unsigned int i;
    uint64_t table = 0;

    begin();
    for (i = 0; i < 8; i++)
        table = table << 8 | file->bytes[48 + i];
    memset(file->bytes + table, 0, 8);
    T_CHECK_U64(attach(MC_MODE_READ_WRITE, &disk), Q2_OK);
    T_CHECK_U64(file->bytes[79] & 1, 0);
    T_CHECK_U64(write_first(), EFI_SUCCESS);
    end();
}

/* There is no room for what the repair must write: the disk is not attached, and nothing says that
 * the image was repaired. */
static void test_repair_that_fails_refuses_the_attach(void)
{
    uint64_t table = 0;

    begin();
    for (unsigned int i = 0; i < 8; i++)
        table = table << 8 | file->bytes[48 + i];
    memset(file->bytes + table, 0, 8);
    volumes[0].free_space = 0;
    T_CHECK_U64(attach(MC_MODE_READ_WRITE, &disk), Q2_ERR_NO_SPACE);
    T_CHECK(strstr(fw.text, "has been repaired") == NULL);
    T_CHECK_U64(file->bytes[79] & 1, 1);
    mock_check_nothing_left();
}

/* A person types the passphrase once, although a repair opens the image a second time. */
static void test_dirty_encrypted_image_asks_once(void)
{
    begin();
    file->bytes[35] = 1; /* crypt_method: the legacy one, where every passphrase fits */
    if (!attach_typing("secret\r"))
        return;
    T_CHECK(is_said_once("Passphrase of /image"));
    T_CHECK(is_said_once("its record of which clusters are in use has been repaired"));
    T_CHECK_U64(file->bytes[79] & 1, 0);
    T_CHECK_U64(write_first(), EFI_SUCCESS);
    mock_exit_boot_services();
    end();
}

/* So does an image that a repair opens a third time, because it needs room first. */
static void test_dirty_encrypted_image_that_needs_room_asks_once(void)
{
    uint64_t table = 0;

    begin();
    file->bytes[35] = 1;
    for (unsigned int i = 0; i < 8; i++)
        table = table << 8 | file->bytes[48 + i];
    memset(file->bytes + table, 0, 8);
    if (!attach_typing("secret\r"))
        return;
    T_CHECK(is_said_once("Passphrase of /image"));
    end();
}

static void test_may_change_tells_files_that_disks_use(void)
{
    static const UINT64 other[2] = {1, 2};
    struct mc_control *control;

    begin();
    T_CHECK_U64(mc_control_install(MOCK_IMAGE), EFI_SUCCESS);
    control = fw.control;
    T_CHECK_U64(attach(MC_MODE_READ_ONLY, &disk), Q2_OK);
    T_CHECK_U64(control->MayChange(control, disk->image->file->source->identity),
                EFI_ACCESS_DENIED);
    T_CHECK_U64(control->MayChange(control, other), EFI_SUCCESS);
    T_CHECK_U64(mc_control_uninstall(MOCK_IMAGE), EFI_SUCCESS);
    end();
}

int main(void)
{
    T_RUN(test_attach_repairs_a_dirty_image_and_says_so);
    T_RUN(test_attach_for_reading_repairs_nothing);
    T_RUN(test_refused_attach_leaves_the_file_as_it_was);
    T_RUN(test_attach_that_the_firmware_refuses_gives_room_back);
    T_RUN(test_repair_that_needs_room_gets_it);
    T_RUN(test_repair_that_fails_refuses_the_attach);
    T_RUN(test_dirty_encrypted_image_asks_once);
    T_RUN(test_dirty_encrypted_image_that_needs_room_asks_once);
    T_RUN(test_may_change_tells_files_that_disks_use);
    return t_done();
}
