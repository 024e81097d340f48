/* efi/driver/registry.c and publish.c against mocked boot services that call back into the driver
 * (mock.h).
 *
 * Each case is run again with the next call until the operation makes no more of them. Under
 * AddressSanitizer: nothing that anybody still uses is freed.
 */
#include "mock.h"

#include "efi/base/firmware.h"
#include "q2_fail.h"

static struct q2_fault fault;
static struct mc_disk *nested_disk;
static enum q2_status nested_status;
static EFI_STATUS nested_efi_status;

static void begin(void)
{
    mock_begin();
    nested_disk = NULL;
    nested_status = Q2_ERR_NOT_OPEN;
    nested_efi_status = EFI_NOT_READY;
}

static struct mc_disk *attach(size_t volume, const char *image, enum mc_mode mode)
{
    struct mc_disk_spec spec;
    struct mc_disk *disk = NULL;

    mc_spec_init(&spec);
    spec.image = image;
    spec.mode = mode;
    spec.format = Q2_FORMAT_RAW;
    return mc_disk_attach(&volumes[volume], &spec, NULL, &fault, &disk) == Q2_OK ? disk : NULL;
}

/* A raw image or a qcow2 image of the first volume. data_file: other than the image says, or NULL.
 */
static struct mc_disk *attach_with(const char *image, const char *data_file, enum mc_mode mode)
{
    struct mc_disk_spec spec;
    struct mc_disk *disk = NULL;

    mc_spec_init(&spec);
    spec.image = image;
    spec.data_file = data_file;
    spec.mode = mode;
    spec.format =
        strcmp(image, "/data") == 0 || strcmp(image, "/c") == 0 ? Q2_FORMAT_RAW : Q2_FORMAT_QCOW2;
    return mc_disk_attach(&volumes[0], &spec, NULL, &fault, &disk) == Q2_OK ? disk : NULL;
}

static struct mc_disk *attach_any(const char *image, enum mc_mode mode)
{
    return attach_with(image, NULL, mode);
}

/* The firmware lists a disk with all of its protocols. */
static void check_protocols(struct mc_published *published, bool is_writable)
{
    EFI_HANDLE handle = published->handle;

    T_CHECK(mock_interface(handle, &mc_device_path_guid) == published->device_path);
    T_CHECK(mock_interface(handle, &mc_block_io_guid) == &published->block_io.protocol);
    T_CHECK(mock_interface(handle, &mc_block_io2_guid) == &published->block_io2.protocol);
    T_CHECK(mock_interface(handle, &mc_erase_block_guid) ==
            (is_writable ? &published->erase_block.protocol : NULL));
}

/* What must hold between two operations, whatever came in between. */
static void check_registry(void)
{
    unsigned int nb = 0, nb_files = 0;

    for (struct mc_disk *a = mc_registry_first(); a; a = mc_registry_next(a), nb++) {
        T_CHECK(a->state == MC_DISK_PRESENT);
        T_CHECK(a->published.handle && a->published.device_path);
        check_protocols(&a->published, a->image->mode != MC_MODE_READ_ONLY);
        T_CHECK(mc_registry_find_handle(a->published.handle) == a);
        T_CHECK(mc_registry_find_number(a->number) == a);
        T_CHECK_U64(a->published.block_io.media.MediaId, a->number + 1);
        T_CHECK(mc_volume_is_held(a->published.volume));
    }
    T_CHECK_U64(fw.nb_installed, nb);
    T_CHECK_U64(fw.nb_open, nb);
    for (size_t i = 0; i < NB_VOLUMES; i++) {
        for (size_t j = 0; j < volumes[i].nb_files; j++)
            nb_files += volumes[i].files[j].nb_open;
    }
    T_CHECK_U64(nb_files, nb);
    T_CHECK_U64(fw.tpl, TPL_APPLICATION);
    T_CHECK(!mc_registry_find_handle(NULL));
}

/* Detach everything; nothing is left. */
static void end(void)
{
    fw.at = 0;
    while (mc_registry_first())
        T_CHECK_U64(mc_disk_detach(mc_registry_first()), EFI_SUCCESS);
    for (size_t i = 0; i < NB_VOLUMES; i++)
        T_CHECK_U64(mc_volume_release(&volumes[i]), EFI_SUCCESS);
    check_registry();
    mock_check_nothing_left();
}

static void detach_first(void)
{
    struct mc_disk *disk = mc_registry_first();

    nested_efi_status = disk ? mc_disk_detach(disk) : EFI_NOT_FOUND;
}

/* The firmware stops the child that it knows: the stick is pulled. */
static EFI_HANDLE child;
static void stop_child(void)
{
    struct mc_disk *disk = mc_registry_find_handle(child);

    nested_efi_status = disk ? mc_disk_detach(disk) : EFI_NOT_FOUND;
}

static void attach_other_volume(void)
{
    nested_disk = attach(1, "/b", MC_MODE_READ_WRITE);
}

static void attach_same_file(void)
{
    nested_disk = attach(0, "/a", MC_MODE_READ_WRITE);
}

static void start_volume(void)
{
    bool was_kept;

    nested_efi_status = mc_volume_keep(&volumes[0], &was_kept);
    if (!EFI_ERROR(nested_efi_status))
        mc_volume_started(&volumes[0]);
}

static void release_volume(void)
{
    nested_efi_status = mc_volume_release(&volumes[0]);
}

static void list(void)
{
    for (struct mc_disk *disk = mc_registry_first(); disk; disk = mc_registry_next(disk))
        T_CHECK(disk->published.handle && q2_disk_size(disk->image->disk) == DISK_SIZE);
}

static void lose_medium(struct mc_disk *disk)
{
    q2_block_io_lose_medium(&disk->published.block_io);
    (void)mc_firmware.BootServices->SignalEvent(disk->published.turned);
}

static void lose_first_medium(void)
{
    if (mc_registry_first())
        lose_medium(mc_registry_first());
}

static const struct {
    const char *name;
    void (*run)(void);
} nested[] = {
    {"detach", detach_first},
    {"stop child", stop_child},
    {"attach on another volume", attach_other_volume},
    {"attach the same file", attach_same_file},
    {"start", start_volume},
    {"release", release_volume},
    {"list", list},
    {"lose the medium", lose_first_medium},
};

/* Run an operation with each nested one at each call of a boot service. */
static void at_each_call(void (*prepare)(void), void (*operation)(void), void (*judge)(void))
{
    unsigned int nb_runs = 0;

    for (size_t i = 0; i < sizeof(nested) / sizeof(nested[0]); i++) {
        unsigned int at = 1;
        t_row(nested[i].name);
        for (bool again = true; again; at++) {
            begin();
            prepare();
            fw.nested = nested[i].run;
            fw.nb_calls = 0;
            fw.at = at;
            operation();
            again = fw.nb_calls >= at;
            fw.at = 0;
            check_registry();
            judge();
            nb_runs += fw.nb_nested;
            end();
        }
    }
    t_row("");
    printf("# %u points\n", nb_runs);
    T_CHECK(nb_runs > 50);
}

static void nothing(void)
{
}

static struct mc_disk *first;

static void attach_a(void)
{
    first = attach(0, "/a", MC_MODE_READ_WRITE);
    child = first ? first->published.handle : NULL;
}

/* Two disks never have the same number, and a file that is written has one disk. */
static void judge_attached(void)
{
    unsigned int nb_a = 0;

    for (struct mc_disk *a = mc_registry_first(); a; a = mc_registry_next(a)) {
        nb_a += strcmp(a->image->file->source->path, "/a") == 0;
        for (struct mc_disk *b = mc_registry_next(a); b; b = mc_registry_next(b))
            T_CHECK(a->number != b->number);
    }
    T_CHECK(nb_a <= 1);
}

static void test_attach_called_back_at_each_call_keeps_numbers_and_files_apart(void)
{
    at_each_call(nothing, attach_a, judge_attached);
}

static EFI_STATUS outer;
static void detach_a(void)
{
    outer = mc_disk_detach(first);
}

/* The outer detach is the one that wins: a second one from inside is refused. */
static void judge_detached(void)
{
    T_CHECK(outer == EFI_SUCCESS || nested_efi_status == EFI_SUCCESS);
}

static void test_detach_called_back_at_each_call_frees_once(void)
{
    at_each_call(attach_a, detach_a, judge_detached);
}

static void prepare_two(void)
{
    attach_a();
    T_CHECK(attach(0, "/c", MC_MODE_READ_ONLY) != NULL);
}

static void test_detach_one_of_two_called_back_at_each_call(void)
{
    at_each_call(prepare_two, detach_a, judge_detached);
}

static void keep(void)
{
    bool was_kept;

    outer = mc_volume_keep(&volumes[0], &was_kept);
    mc_volume_started(&volumes[0]);
}

static void test_keep_called_back_at_each_call(void)
{
    unsigned int at = 1;

    for (size_t i = 0; i < sizeof(nested) / sizeof(nested[0]); i++) {
        t_row(nested[i].name);
        for (at = 1; at < 12; at++) {
            begin();
            fw.nested = nested[i].run;
            fw.at = at;
            keep();
            fw.at = 0;
            check_registry();
            end();
        }
    }
    t_row("");
}

/* While Start() attaches entries, Stop() is refused, and so is another Start(). */
static void test_release_of_a_volume_that_is_starting_is_refused(void)
{
    bool was_kept = true;

    begin();
    T_CHECK_U64(mc_volume_keep(&volumes[0], &was_kept), EFI_SUCCESS);
    T_CHECK(!was_kept);
    T_CHECK_U64(mc_volume_keep(&volumes[0], &was_kept), EFI_ALREADY_STARTED);
    T_CHECK_U64(mc_volume_release(&volumes[0]), EFI_DEVICE_ERROR);
    mc_volume_started(&volumes[0]);
    T_CHECK_U64(mc_volume_release(&volumes[0]), EFI_SUCCESS);
    end();
}

static void test_detach_that_the_firmware_refuses_leaves_the_disk(void)
{
    static unsigned int *const refusals[] = {&fw.refuse_disconnect, &fw.refuse_uninstall};

    for (size_t i = 0; i < 2; i++) {
        begin();
        attach_a();
        *refusals[i] = 1;
        T_CHECK(EFI_ERROR(mc_disk_detach(first)));
        *refusals[i] = 0;
        check_registry();
        T_CHECK(first->published.block_io.media.MediaPresent);
        T_CHECK_U64(fw.nb_connected, 1); /* the drivers above are back */
        lose_medium(first);
        T_CHECK_U64(fw.nb_reinstalled, 2); /* and they are told of the medium, as before */
        end();
    }
}

/* While disks are away, because the driver is being unloaded, nothing is attached. When the unload
 * is given up they come back. */
static void test_suspended_disks_come_back_and_nothing_is_attached_meanwhile(void)
{
    bool was_kept;

    begin();
    attach_a();
    T_CHECK_U64(mc_disks_suspend(&fault), EFI_SUCCESS);
    T_CHECK(attach(0, "/c", MC_MODE_READ_ONLY) == NULL);
    T_CHECK_U64(fault.status, Q2_ERR_BUSY);
    T_CHECK_U64(mc_volume_keep(&volumes[1], &was_kept), EFI_ACCESS_DENIED);
    mc_disks_resume();
    T_CHECK(mc_registry_first() == first);
    check_registry();
    T_CHECK(attach(0, "/c", MC_MODE_READ_ONLY) != NULL);
    check_registry();
    end();
}

static EFI_DISCONNECT_CONTROLLER mock_disconnect;

/* While the drivers above are stopped, one of them begins a request that does not end. */
static EFI_STATUS EFIAPI disconnect_in_a_request(EFI_HANDLE handle, EFI_HANDLE driver,
                                                 EFI_HANDLE of_child)
{
    first->published.block_io.busy = true;
    first->published.block_io.gather.nb_held = 1;
    return mock_disconnect(handle, driver, of_child);
}

static void test_detach_with_a_read_that_does_not_end_leaves_the_disk(void)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;

    begin();
    attach_a();
    mock_disconnect = services->DisconnectController;
    services->DisconnectController = disconnect_in_a_request;
    T_CHECK_U64(mc_disk_detach(first), EFI_DEVICE_ERROR);
    services->DisconnectController = mock_disconnect;
    T_CHECK_U64(fw.nb_installed, 1);
    first->published.block_io.busy = false;
    first->published.block_io.gather.nb_held = 0;
    check_registry();
    end();
}

/* A disk that the firmware does not take back is closed, and its volume is given back. */
static void test_suspended_disk_that_is_not_taken_back_is_detached(void)
{
    begin();
    attach_a();
    T_CHECK_U64(mc_disks_suspend(&fault), EFI_SUCCESS);
    fw.refuse_install = 1;
    mc_disks_resume();
    fw.refuse_install = 0;
    T_CHECK(strstr(fw.text, "the firmware does not take a disk back") != NULL);
    T_CHECK(mc_registry_first() == NULL);
    T_CHECK(!volumes[0].is_open);
    end();
}

static void test_detach_of_the_last_disk_gives_the_volume_back(void)
{
    begin();
    attach_a();
    T_CHECK(volumes[0].is_open);
    T_CHECK_U64(mc_disk_detach(first), EFI_SUCCESS);
    T_CHECK(!volumes[0].is_open);
    end();
}

static void test_attached_disk_reads_by_both_protocols(void)
{
    EFI_BLOCK_IO_PROTOCOL *protocol;
    EFI_BLOCK_IO2_PROTOCOL *protocol2;
    uint8_t block[512];

    begin();
    volumes[0].files[0].bytes[512] = 0x5a;
    attach_a();
    protocol = &first->published.block_io.protocol;
    protocol2 = &first->published.block_io2.protocol;
    T_CHECK_U64(protocol->ReadBlocks(protocol, protocol->Media->MediaId, 1, 512, block),
                EFI_SUCCESS);
    T_CHECK_U64(block[0], 0x5a);
    block[0] = 0;
    if (T_CHECK(protocol2->ReadBlocksEx != NULL))
        T_CHECK_U64(
            protocol2->ReadBlocksEx(protocol2, protocol2->Media->MediaId, 1, NULL, 512, block),
            EFI_SUCCESS);
    T_CHECK_U64(block[0], 0x5a);
    end();
}

/* Memory or an event that the firmware does not give: the disk is not attached and nothing is left,
 * or the disk does without it. */
static void test_attach_without_memory_leaves_nothing(void)
{
    static const enum mc_mode modes[] = {MC_MODE_READ_ONLY, MC_MODE_READ_WRITE, MC_MODE_OVERLAY};
    unsigned int nb_refused = 0;

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        for (unsigned int n = 1;; n++) {
            struct mc_disk *disk;
            char row[32];
            bool is_over;

            (void)snprintf(row, sizeof(row), "mode %d, call %u", (int)modes[i], n);
            t_row(row);
            begin();
            fw.nb_gotten = 0;
            fw.fail_to_get = n;
            disk = attach(0, "/a", modes[i]);
            if (!disk) {
                T_CHECK_U64(fault.status, Q2_ERR_LIMIT);
                nb_refused++;
            } else if (modes[i] == MC_MODE_READ_WRITE) {
                T_CHECK(disk->upkeep.written && disk->upkeep.timer); /* its writes are flushed */
            }
            is_over = fw.nb_gotten < n;
            fw.fail_to_get = 0;
            check_registry();
            T_CHECK(mc_registry_first() || !volumes[0].is_open);
            end();
            if (is_over)
                break;
        }
    }
    t_row("");
    printf("# %u refusals\n", nb_refused);
    T_CHECK(nb_refused > 10);
}

/* A volume that cannot be held is told of, and nothing is kept of it. */
static void test_keep_of_a_volume_that_cannot_be_held_is_refused(void)
{
    bool was_kept;

    begin();
    T_CHECK_U64(mc_volume_keep((EFI_HANDLE)0x77, &was_kept), EFI_UNSUPPORTED);
    volumes[0].is_open = true; /* by another driver */
    T_CHECK_U64(mc_volume_keep(&volumes[0], &was_kept), EFI_ALREADY_STARTED);
    T_CHECK(!attach(0, "/a", MC_MODE_READ_ONLY));
    T_CHECK_U64(fault.status, Q2_ERR_BUSY);
    volumes[0].is_open = false;
    fw.fail_to_get = fw.nb_gotten + 1;
    T_CHECK_U64(mc_volume_keep(&volumes[0], &was_kept), EFI_OUT_OF_RESOURCES);
    T_CHECK(!mc_volume_is_held(&volumes[0]) && !mc_volumes_are_changing());
    end();
}

/* The last cluster that the image names is gone from its file. */
static void test_attach_of_an_image_that_was_cut_is_refused(void)
{
    static uint8_t block[65536];
    EFI_BLOCK_IO_PROTOCOL *protocol;
    struct mock_file *file;

    begin();
    file = mock_add_image(0, "/image", DISK_SIZE);
    if (!T_CHECK((first = attach_any("/image", MC_MODE_READ_WRITE)) != NULL))
        return;
    protocol = &first->published.block_io.protocol;
    T_CHECK_U64(protocol->WriteBlocks(protocol, protocol->Media->MediaId, 0, sizeof(block), block),
                EFI_SUCCESS);
    T_CHECK_U64(mc_disk_detach(first), EFI_SUCCESS);
    file->size -= sizeof(block);
    T_CHECK(!attach_any("/image", MC_MODE_READ_ONLY));
    T_CHECK_U64(fault.status, Q2_ERR_TRUNCATED);
    end();
}

/* The number of a disk that could not be attached is the next one's. */
static void test_number_of_a_failed_attach_is_free_again(void)
{
    uint32_t number;

    begin();
    attach_a();
    number = first->number;
    T_CHECK(!attach(0, "/nowhere", MC_MODE_READ_ONLY));
    first = attach(0, "/c", MC_MODE_READ_ONLY);
    T_CHECK(first && first->number == number + 1);
    end();
}

/* Why a system loses the disk is kept in words, cut to its room. */
static void test_reason_against_a_handoff_is_kept(void)
{
    static const char because[] = "a system that starts from this disk loses it, because it cannot "
                                  "be handed over: ";
    static char long_reason[2 * MC_MESSAGE_SIZE];
    static const char *const reasons[] = {NULL, "the reason", long_reason};

    memset(long_reason, 'x', sizeof(long_reason) - 1);
    for (size_t i = 0; i < 6; i++) {
        const char *reason = reasons[i / 2], *kept;
        begin();
        fw.no_handoff = i % 2 == 0 ? reason : NULL;
        fw.reason_against = i % 2 != 0 ? reason : NULL;
        attach_a();
        kept = first->no_handoff;
        T_CHECK((kept[0] != '\0') == (reason != NULL));
        if (reason)
            T_CHECK(strncmp(kept, because, sizeof(because) - 1) == 0 &&
                    strstr(kept, reason == long_reason ? "xxxx" : reason) != NULL);
        if (reason == long_reason)
            T_CHECK_U64(strlen(kept), MC_MESSAGE_SIZE - 1);
        end();
    }
}

static void test_attach_of_less_than_a_sector_is_refused(void)
{
    begin();
    volumes[0].files[0].size = 511;
    T_CHECK(attach(0, "/a", MC_MODE_READ_ONLY) == NULL);
    T_CHECK_U64(fault.status, Q2_ERR_LIMIT);
    T_CHECK_STR(fault.what, "the disk is smaller than one sector");
    T_CHECK_U64(fw.nb_installed, 0);
    end();
}

static void test_attach_on_a_volume_without_an_address_is_refused(void)
{
    begin();
    fw.no_device_path = true;
    T_CHECK(attach(0, "/a", MC_MODE_READ_ONLY) == NULL);
    T_CHECK_U64(fault.status, Q2_ERR_UNSUPPORTED);
    T_CHECK_STR(fault.what,
                "the firmware has no address for the image's volume; use another volume");
    T_CHECK_U64(fw.nb_installed, 0);
    fw.no_device_path = false;
    end();
}

/* One disk writes; whatever the other shares with it, it is refused. */
static void test_file_that_a_disk_writes_is_not_attached_again(void)
{
    static const struct q2_create_options options = {
        .virtual_size = DISK_SIZE, .external_data = true, .data_file = "data"};
    static const struct {
        const char *name, *first, *second;
        const char *data_file; /* of the second; NULL: what the image says */
        bool is_refused;
    } rows[] = {
        {"the image itself", "/one", "/one", NULL, true},
        {"the image, with another data file", "/one", "/one", "/c", true},
        {"the data file of both", "/one", "/two", NULL, true},
        {"the data file as a raw image", "/one", "/data", NULL, true},
        {"the raw image as a data file", "/data", "/one", NULL, true},
        {"nothing", "/one", "/c", NULL, false},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].name);
        begin();
        (void)mock_add_file(0, "/data", NULL, DISK_SIZE);
        (void)mock_create_image(0, "/one", &options);
        (void)mock_create_image(0, "/two", &options);
        T_CHECK(attach_any(rows[i].first, MC_MODE_READ_WRITE) != NULL);
        T_CHECK((attach_with(rows[i].second, rows[i].data_file, MC_MODE_READ_ONLY) == NULL) ==
                rows[i].is_refused);
        if (rows[i].is_refused)
            T_CHECK_U64(fault.status, Q2_ERR_BUSY);
        end();
    }
    t_row("");
}

/* A disk that was installed, could not be opened by its volume and does not go away again: it
 * answers EFI_NO_MEDIA, and nothing of it is freed. This case comes last, because it stays. */
static void test_attach_that_gets_stuck_frees_nothing(void)
{
    EFI_BLOCK_IO_PROTOCOL *protocol;
    struct mc_disk *stuck;
    uint8_t block[512];

    begin();
    fw.refuse_by_child = fw.refuse_uninstall = 1;
    T_CHECK(attach(0, "/a", MC_MODE_READ_WRITE) == NULL);
    T_CHECK_U64(fault.status, Q2_ERR_BUSY);
    fw.refuse_by_child = fw.refuse_uninstall = 0;
    T_CHECK(mc_registry_first() == NULL);
    T_CHECK_U64(volumes[0].files[0].nb_open, 1);
    T_CHECK_U64(mc_volume_release(&volumes[0]), EFI_DEVICE_ERROR);
    stuck = mc_registry_find_handle((EFI_HANDLE)0);
    T_CHECK(stuck == NULL);
    for (uintptr_t handle = 0x1000; handle < 0x1000000 && !stuck; handle += 16)
        stuck = mc_registry_find_handle((EFI_HANDLE)handle);
    if (!T_CHECK(stuck != NULL))
        return;
    protocol = &stuck->published.block_io.protocol;
    T_CHECK_U64(protocol->ReadBlocks(protocol, protocol->Media->MediaId, 0, 512, block),
                EFI_NO_MEDIA);
    T_CHECK_U64(protocol->FlushBlocks(protocol), EFI_NO_MEDIA);
    T_CHECK_U64(mc_disk_detach(stuck), EFI_DEVICE_ERROR);
}

int main(void)
{
    T_RUN(test_attach_called_back_at_each_call_keeps_numbers_and_files_apart);
    T_RUN(test_detach_called_back_at_each_call_frees_once);
    T_RUN(test_detach_one_of_two_called_back_at_each_call);
    T_RUN(test_keep_called_back_at_each_call);
    T_RUN(test_release_of_a_volume_that_is_starting_is_refused);
    T_RUN(test_detach_that_the_firmware_refuses_leaves_the_disk);
    T_RUN(test_suspended_disks_come_back_and_nothing_is_attached_meanwhile);
    T_RUN(test_detach_with_a_read_that_does_not_end_leaves_the_disk);
    T_RUN(test_suspended_disk_that_is_not_taken_back_is_detached);
    T_RUN(test_detach_of_the_last_disk_gives_the_volume_back);
    T_RUN(test_attached_disk_reads_by_both_protocols);
    T_RUN(test_attach_without_memory_leaves_nothing);
    T_RUN(test_keep_of_a_volume_that_cannot_be_held_is_refused);
    T_RUN(test_attach_of_an_image_that_was_cut_is_refused);
    T_RUN(test_number_of_a_failed_attach_is_free_again);
    T_RUN(test_reason_against_a_handoff_is_kept);
    T_RUN(test_attach_of_less_than_a_sector_is_refused);
    T_RUN(test_attach_on_a_volume_without_an_address_is_refused);
    T_RUN(test_file_that_a_disk_writes_is_not_attached_again);
    T_RUN(test_attach_that_gets_stuck_frees_nothing);
    return t_done();
}
