/* The driver model against mocked boot services (mock.h): efi/driver/binding.c, unload.c,
 * diagnostics.c, control_server.c.
 */
#include "mock.h"

#include <stdlib.h>

#include "efi/base/device_path.h"
#include "efi/base/firmware.h"
#include "efi/driver/binding.h"
#include "efi/driver/control_server.h"
#include "efi/driver/unload.h"

#define VOLUME ((EFI_HANDLE)&volumes[0])

static EFI_DEVICE_PATH end_node = {
    END_DEVICE_PATH_TYPE, END_ENTIRE_DEVICE_PATH_SUBTYPE, {END_DEVICE_PATH_LENGTH, 0}};

/* Two raw disks, one of them by two entries, and one that fails. */
static void begin(void)
{
    mock_begin();
    mock_add_entry(0, "one", "image /a\nformat raw\nsort-key 1\n");
    mock_add_entry(0, "two", "image /a\nformat raw\nsort-key 2\ntitle Second\n");
    mock_add_entry(0, "three", "image /b\nformat raw\nsort-key 3\nmode rw\n");
    mock_add_entry(0, "broken", "image /nowhere\nsort-key 4\n");
    mock_add_entry(0, "left", "image /c\nformat raw\nattach no\n");
    T_CHECK_U64(mc_binding_install(MOCK_IMAGE), EFI_SUCCESS);
    T_CHECK_U64(mc_control_install(MOCK_IMAGE), EFI_SUCCESS);
}

static void end(void)
{
    fw.at = 0;
    T_CHECK_U64(mc_unload(MOCK_IMAGE), EFI_SUCCESS);
    mock_check_nothing_left();
}

static EFI_STATUS supported(EFI_DEVICE_PATH *remaining)
{
    return fw.binding->Supported(fw.binding, VOLUME, remaining);
}

static EFI_STATUS start(EFI_DEVICE_PATH *remaining)
{
    return fw.binding->Start(fw.binding, VOLUME, remaining);
}

static unsigned int nb_disks(void)
{
    unsigned int nb = 0;

    for (struct mc_disk *disk = mc_registry_first(); disk; disk = mc_registry_next(disk))
        nb++;
    return nb;
}

static struct mc_disk *find(const char *entry)
{
    struct mc_disk *disk = mc_registry_first();

    while (disk && !(disk->entry && strcmp(disk->entry, entry) == 0))
        disk = mc_registry_next(disk);
    return disk;
}

/* The part of a disk's path after its volume, as a boot option of it goes on. */
static EFI_DEVICE_PATH *remaining_of(const char *image, unsigned int instance)
{
    static EFI_DEVICE_PATH *path;
    const EFI_DEVICE_PATH *volume = (const EFI_DEVICE_PATH *)&volumes[0];

    mc_free(path);
    path = image ? mc_device_path_disk(volume, image, instance) : NULL;
    return path ? (EFI_DEVICE_PATH *)(void *)((char *)path + mc_device_path_size(volume) -
                                              END_DEVICE_PATH_LENGTH)
                : NULL;
}

static void free_remaining(void)
{
    (void)remaining_of(NULL, 0);
}

/* Child number `instance` of the disk's image? */
static bool has_path(const struct mc_disk *disk, const char *image, unsigned int instance)
{
    bool has = mc_device_path_is_child((EFI_DEVICE_PATH *)&volumes[0], disk->published.device_path,
                                       remaining_of(image, instance));

    free_remaining();
    return has;
}

static void test_supported_judges_the_remaining_path(void)
{
    static struct {
        UINT8 type, subtype, length;
    } odd[] = {{MEDIA_DEVICE_PATH, MEDIA_FILEPATH_DP, 10},
               {MEDIA_DEVICE_PATH, MEDIA_FILEPATH_DP, 4},
               {MEDIA_DEVICE_PATH, MEDIA_HARDDRIVE_DP, 10},
               {HARDWARE_DEVICE_PATH, HW_VENDOR_DP, 20}};
    UINT8 bytes[64];

    begin();
    T_CHECK_U64(supported(NULL), EFI_SUCCESS);
    T_CHECK_U64(supported(&end_node), EFI_SUCCESS);
    T_CHECK_U64(supported(remaining_of("/a", 0)), EFI_SUCCESS);
    T_CHECK(!volumes[0].is_open);
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        /* A node of another kind, or a file that no disk of ours comes after. */
        memset(bytes, 0, sizeof(bytes));
        bytes[0] = odd[i].type;
        bytes[1] = odd[i].subtype;
        bytes[2] = odd[i].length;
        memcpy(bytes + odd[i].length, &end_node, sizeof(end_node));
        T_CHECK_U64(supported((EFI_DEVICE_PATH *)(void *)bytes), EFI_UNSUPPORTED);
        T_CHECK_U64(start((EFI_DEVICE_PATH *)(void *)bytes), EFI_UNSUPPORTED);
    }
    T_CHECK_U64(fw.binding->Supported(fw.binding, &volumes[1], NULL), EFI_UNSUPPORTED);
    T_CHECK_U64(fw.binding->Supported(fw.binding, (EFI_HANDLE)0x77, NULL), EFI_UNSUPPORTED);
    fw.tpl = TPL_NOTIFY; /* files may not be looked at */
    T_CHECK_U64(supported(NULL), EFI_UNSUPPORTED);
    fw.tpl = TPL_APPLICATION;
    T_CHECK_STR(fw.text, "");
    free_remaining();
    end();
}

static void test_start_of_all_entries_attaches_those_that_can_be(void)
{
    begin();
    T_CHECK_U64(start(NULL), EFI_SUCCESS);
    T_CHECK_U64(nb_disks(), 3);
    T_CHECK(find("one") && find("two") && find("three") && !find("left"));
    T_CHECK(has_path(find("one"), "/a", 0) && has_path(find("two"), "/a", 1));
    T_CHECK_STR(find("two")->title, "Second");
    T_CHECK(strstr(fw.text, "entry broken is not attached: ") != NULL);
    T_CHECK(strstr(fw.text, "/nowhere") != NULL);
    end();
}

/* Disks queue reads at a volume that can do that, as long as the firmware has events. */
static void test_start_on_a_volume_that_queues_gives_disks_a_queue(void)
{
    for (int queues = 0; queues < 2; queues++) {
        const struct mc_published *published;

        begin();
        fw.queues = queues != 0;
        T_CHECK_U64(start(NULL), EFI_SUCCESS);
        published = &find("one")->published;
        T_CHECK(published->block_io.queue == (queues != 0 ? &published->queue : NULL));
        T_CHECK_U64(published->queue.is_open, queues != 0);
        T_CHECK(published->block_io.gather.timer != NULL);
        end();
    }
}

static void test_start_with_end_node_attaches_none_and_later_start_all(void)
{
    begin();
    T_CHECK_U64(start(&end_node), EFI_SUCCESS);
    T_CHECK_U64(nb_disks(), 0);
    T_CHECK(volumes[0].is_open);
    T_CHECK_U64(supported(&end_node), EFI_ALREADY_STARTED);
    T_CHECK_U64(supported(NULL), EFI_SUCCESS);
    T_CHECK_U64(start(NULL), EFI_SUCCESS);
    T_CHECK_U64(nb_disks(), 3);
    end();
}

/* A disk that went comes back; those that are there stay; nothing is said twice. */
static void test_start_again_adds_what_is_missing(void)
{
    struct mc_disk *kept;

    begin();
    T_CHECK_U64(start(NULL), EFI_SUCCESS);
    kept = find("three");
    fw.text[0] = '\0';
    T_CHECK_U64(start(NULL), EFI_SUCCESS);
    T_CHECK_U64(nb_disks(), 3);
    T_CHECK_STR(fw.text, "");
    T_CHECK_U64(mc_disk_detach(find("one")), EFI_SUCCESS);
    T_CHECK_U64(start(NULL), EFI_SUCCESS);
    T_CHECK_U64(nb_disks(), 3);
    T_CHECK(find("three") == kept);
    T_CHECK(has_path(find("one"), "/a", 0) && has_path(find("two"), "/a", 1));
    T_CHECK_STR(fw.text, "");
    /* Another failure is said. */
    mock_add_entry(0, "worse", "image /elsewhere\n");
    T_CHECK_U64(start(NULL), EFI_SUCCESS);
    T_CHECK(strstr(fw.text, "entry worse is not attached") != NULL);
    T_CHECK(strstr(fw.text, "entry broken") == NULL);
    end();
}

static void test_start_with_a_path_attaches_that_disk(void)
{
    begin();
    T_CHECK_U64(start(remaining_of("/a", 1)), EFI_SUCCESS);
    T_CHECK_U64(nb_disks(), 1);
    T_CHECK(find("two") != NULL && has_path(find("two"), "/a", 1));
    T_CHECK_U64(supported(remaining_of("/a", 1)), EFI_ALREADY_STARTED);
    T_CHECK_U64(supported(remaining_of("/a", 0)), EFI_SUCCESS);
    T_CHECK_U64(start(remaining_of("/a", 1)), EFI_SUCCESS);
    T_CHECK_U64(nb_disks(), 1);
    T_CHECK_U64(start(remaining_of("/b", 0)), EFI_SUCCESS);
    T_CHECK(find("three") != NULL);
    T_CHECK_U64(start(remaining_of("/c", 0)), EFI_NOT_FOUND);
    T_CHECK_U64(start(remaining_of("/a", 2)), EFI_NOT_FOUND);
    T_CHECK_U64(start(remaining_of("/nowhere", 0)), EFI_NOT_FOUND);
    T_CHECK_U64(nb_disks(), 2);
    T_CHECK(volumes[0].is_open);
    free_remaining();
    end();
}

/* A path that cannot be served leaves a volume as it was: not held. */
static void test_start_with_a_path_that_fails_holds_nothing(void)
{
    begin();
    T_CHECK_U64(start(remaining_of("/c", 0)), EFI_NOT_FOUND);
    T_CHECK(!volumes[0].is_open);
    T_CHECK_U64(start(remaining_of("/nowhere", 0)), EFI_NOT_FOUND);
    T_CHECK(!volumes[0].is_open);
    T_CHECK_U64(supported(NULL), EFI_SUCCESS);
    free_remaining();
    end();
}

static void test_stop_takes_children_then_the_volume(void)
{
    EFI_HANDLE children[3];
    UINTN nb = 0;

    begin();
    T_CHECK_U64(start(NULL), EFI_SUCCESS);
    for (struct mc_disk *disk = mc_registry_first(); disk; disk = mc_registry_next(disk))
        children[nb++] = disk->published.handle;
    T_CHECK_U64(fw.binding->Stop(fw.binding, VOLUME, 0, NULL), EFI_DEVICE_ERROR);
    T_CHECK_U64(fw.binding->Stop(fw.binding, VOLUME, nb, children), EFI_SUCCESS);
    T_CHECK_U64(nb_disks(), 0);
    T_CHECK(volumes[0].is_open);
    T_CHECK_U64(fw.binding->Stop(fw.binding, VOLUME, 0, NULL), EFI_SUCCESS);
    T_CHECK(!volumes[0].is_open);
    end();
}

/* A disk that somebody asked for does not keep Start() from attaching the entries. */
static void test_start_of_a_volume_with_a_disk_of_somebody(void)
{
    struct mc_disk_spec spec;
    CHAR8 message[MC_MESSAGE_SIZE];
    UINT32 number;

    begin();
    mc_spec_init(&spec);
    spec.image = "/c";
    spec.format = Q2_FORMAT_RAW;
    T_CHECK_U64(fw.control->Attach(fw.control, VOLUME, &spec, message, &number), EFI_SUCCESS);
    T_CHECK_U64(supported(NULL), EFI_SUCCESS);
    T_CHECK_U64(start(NULL), EFI_SUCCESS);
    T_CHECK_U64(nb_disks(), 4);
    T_CHECK_U64(fw.control->Detach(fw.control, number, message), EFI_SUCCESS);
    T_CHECK_U64(nb_disks(), 3);
    end();
}

/* --- unloading --- */

struct picture {
    UINT32 number, media_id;
    EFI_DEVICE_PATH *path;
    struct mc_image *image;
};

static size_t take_picture(struct picture pictures[4])
{
    size_t nb = 0;

    for (struct mc_disk *disk = mc_registry_first(); disk; disk = mc_registry_next(disk))
        pictures[nb++] = (struct picture){disk->number, disk->published.block_io.media.MediaId,
                                          disk->published.device_path, disk->image};
    return nb;
}

static void check_refused_unload(void)
{
    struct picture before[4], after[4];
    size_t nb = take_picture(before);

    fw.text[0] = '\0';
    T_CHECK_U64(mc_unload(MOCK_IMAGE), EFI_ACCESS_DENIED);
    T_CHECK(strstr(fw.text, "not unloaded") != NULL);
    fw.refuse_disconnect = fw.refuse_uninstall = fw.refuse_driver_uninstall = 0;
    fw.refuse_handle = NULL;
    T_CHECK_U64(take_picture(after), nb);
    for (size_t i = 0; i < nb; i++) {
        T_CHECK_U64(after[i].number, before[i].number);
        T_CHECK_U64(after[i].media_id, before[i].media_id);
        T_CHECK(after[i].path == before[i].path && after[i].image == before[i].image);
    }
    T_CHECK_U64(fw.nb_installed, nb);
    T_CHECK_U64(fw.nb_open, nb);
    T_CHECK(volumes[0].is_open && fw.binding && fw.control);
}

static void test_unload_that_is_refused_leaves_everything(void)
{
    for (unsigned int disk = 0; disk < 3; disk++) {
        struct mc_disk *refused;
        begin();
        T_CHECK_U64(start(NULL), EFI_SUCCESS);
        refused = mc_registry_first();
        for (unsigned int i = 0; i < disk; i++)
            refused = mc_registry_next(refused);
        fw.refuse_disconnect = 1;
        fw.refuse_handle = refused->published.handle;
        check_refused_unload();
        end();
    }
    for (unsigned int protocol = 1; protocol <= 2; protocol++) {
        begin();
        T_CHECK_U64(start(NULL), EFI_SUCCESS);
        fw.refuse_driver_uninstall = protocol;
        check_refused_unload();
        end();
    }
    begin();
    T_CHECK_U64(start(NULL), EFI_SUCCESS);
    mc_registry_first()->published.block_io.busy = true;
    check_refused_unload();
    mc_registry_first()->published.block_io.busy = false;
    end();
}

/* --- what comes in between --- */

static EFI_STATUS nested_status;

/* The firmware calls no driver whose protocols are gone. */
static void nested_start(void)
{
    if (!fw.binding)
        return;
    nested_status = start(NULL);
}

static void nested_stop(void)
{
    EFI_HANDLE child = mc_registry_first() ? mc_registry_first()->published.handle : NULL;

    if (!fw.binding)
        return;
    if (child)
        nested_status = fw.binding->Stop(fw.binding, VOLUME, 1, &child);
    (void)fw.binding->Stop(fw.binding, VOLUME, 0, NULL);
}

static void nested_unload(void)
{
    nested_status = mc_unload(MOCK_IMAGE);
    if (nested_status == EFI_SUCCESS) { /* the test goes on with a driver that was loaded anew */
        (void)mc_binding_install(MOCK_IMAGE);
        (void)mc_control_install(MOCK_IMAGE);
    }
}

static void nested_attach(void)
{
    struct mc_disk_spec spec;
    CHAR8 message[MC_MESSAGE_SIZE];
    UINT32 number;

    if (!fw.control)
        return;
    mc_spec_init(&spec);
    spec.image = "/c";
    spec.format = Q2_FORMAT_RAW;
    nested_status = fw.control->Attach(fw.control, VOLUME, &spec, message, &number);
}

static void nested_list(void)
{
    static struct mc_disk_record record;

    for (UINTN i = 0; fw.control && fw.control->Get(fw.control, i, &record) == EFI_SUCCESS; i++)
        T_CHECK(record.size == DISK_SIZE && record.handle);
}

static void (*const nested[])(void) = {nested_start, nested_stop, nested_unload, nested_attach,
                                       nested_list};
static const char *const nested_names[] = {"start", "stop", "unload", "attach", "list"};

static void check_disks(void)
{
    unsigned int nb = nb_disks();

    T_CHECK_U64(fw.nb_installed, nb);
    T_CHECK_U64(fw.nb_open, nb);
    T_CHECK_U64(fw.tpl, TPL_APPLICATION);
    for (struct mc_disk *a = mc_registry_first(); a; a = mc_registry_next(a)) {
        for (struct mc_disk *b = mc_registry_next(a); b; b = mc_registry_next(b)) {
            T_CHECK(a->number != b->number);
            T_CHECK(!(a->entry && b->entry && strcmp(a->entry, b->entry) == 0));
        }
    }
}

/* Run an operation with each nested one at each call, in steps: each attach costs a workspace. */
static void at_each_call(void (*prepare)(void), void (*operation)(void), unsigned int step)
{
    unsigned int nb_points = 0;

    for (size_t i = 0; i < sizeof(nested) / sizeof(nested[0]); i++) {
        t_row(nested_names[i]);
        for (unsigned int at = 1;; at += step) {
            bool more;
            begin();
            if (prepare)
                prepare();
            fw.nested = nested[i];
            fw.nb_calls = 0;
            fw.at = at;
            operation();
            more = fw.nb_calls >= at;
            fw.at = 0;
            check_disks();
            nb_points += fw.nb_nested;
            if (!fw.binding)
                nested_unload();
            end();
            if (!more)
                break;
        }
    }
    t_row("");
    printf("# %u points\n", nb_points);
    T_CHECK(nb_points > 20);
}

static void start_all(void)
{
    (void)start(NULL);
}

static void run_unload(void)
{
    nested_unload();
}

static void stop_all(void)
{
    nested_stop();
}

static void test_start_called_back_at_each_call(void)
{
    at_each_call(NULL, start_all, 5);
}

static void test_stop_called_back_at_each_call(void)
{
    at_each_call(start_all, stop_all, 3);
}

static void test_unload_called_back_at_each_call(void)
{
    at_each_call(start_all, run_unload, 5);
}

/* --- a medium that turns --- */

static unsigned int nb_refused;

/* The firmware stops what is above: it must not take the disk away under us. */
static void above_is_stopped(void)
{
    EFI_HANDLE child = mc_registry_first()->published.handle;

    T_CHECK_U64(fw.tpl, TPL_CALLBACK);
    T_CHECK(!q2_block_io_is_busy(&mc_registry_first()->published.block_io));
    nb_refused += fw.binding->Stop(fw.binding, VOLUME, 1, &child) == EFI_DEVICE_ERROR;
    nb_refused += mc_unload(MOCK_IMAGE) == EFI_ACCESS_DENIED;
}

static void test_medium_that_goes_reinstalls_outside_of_the_request(void)
{
    struct q2_block_io *block_io;
    uint8_t block[512];

    begin();
    T_CHECK_U64(start(NULL), EFI_SUCCESS);
    block_io = &mc_registry_first()->published.block_io;
    nb_refused = 0;
    fw.on_reinstall = above_is_stopped;
    /* A request finds it at TPL_CALLBACK, as under the lock of a file system. */
    fw.tpl = TPL_CALLBACK;
    {
        EFI_TPL tpl;
        T_CHECK(q2_block_io_acquire(block_io, &tpl));
        q2_block_io_lose_medium(block_io);
        q2_block_io_release(block_io, tpl);
    }
    T_CHECK_U64(fw.nb_reinstalled, 0);
    fw.tpl = TPL_APPLICATION;
    mock_let_in();
    T_CHECK_U64(fw.nb_reinstalled, 2); /* Block I/O and Block I/O 2 */
    T_CHECK(fw.reinstalled == &block_io->protocol);
    T_CHECK_U64(nb_refused, 4);
    T_CHECK_U64(
        block_io->protocol.ReadBlocks(&block_io->protocol, block_io->media.MediaId, 0, 512, block),
        EFI_NO_MEDIA);
    mock_let_in();
    T_CHECK_U64(fw.nb_reinstalled, 2); /* once */
    fw.on_reinstall = NULL;
    end();
}

static void test_medium_that_turns_read_only_reinstalls(void)
{
    struct mc_disk *disk;
    EFI_TPL tpl;

    begin();
    T_CHECK_U64(start(NULL), EFI_SUCCESS);
    disk = find("three");
    T_CHECK(!disk->published.block_io.media.ReadOnly);
    T_CHECK(q2_block_io_acquire(&disk->published.block_io, &tpl));
    disk->published.block_io.media.ReadOnly = TRUE;
    q2_block_io_release(&disk->published.block_io, tpl);
    T_CHECK_U64(fw.nb_reinstalled, 2);
    T_CHECK(fw.reinstalled == &disk->published.block_io.protocol);
    end();
}

/* --- diagnostics --- */

static EFI_STATUS diagnose(EFI_HANDLE child, const char *want)
{
    EFI_GUID *type = NULL;
    UINTN size = 0;
    CHAR16 *buffer = NULL;
    char text[2048];
    size_t i;
    EFI_STATUS status =
        fw.diagnostics->RunDiagnostics(fw.diagnostics, VOLUME, child, MC_DIAGNOSTICS_STANDARD,
                                       (CHAR8 *)"en", &type, &size, &buffer);

    if (!T_CHECK(type && buffer))
        return status;
    for (i = 0; buffer[i] != 0 && i + 1 < sizeof(text); i++)
        text[i] = (char)buffer[i];
    text[i] = '\0';
    T_CHECK_U64(size, (i + 1) * sizeof(CHAR16));
    if (!T_CHECK(strstr(text, want) != NULL))
        printf("# got: %s\n", text);
    mc_free(buffer);
    return status;
}

static void test_diagnostics_checks_images(void)
{
    struct mock_file *file;

    mock_begin();
    file = mock_add_image(0, "/image", 4u << 20);
    mock_add_entry(0, "image", "image /image\nmode rw\n");
    T_CHECK_U64(mc_binding_install(MOCK_IMAGE), EFI_SUCCESS);
    T_CHECK_U64(mc_control_install(MOCK_IMAGE), EFI_SUCCESS);
    T_CHECK_U64(start(&end_node), EFI_SUCCESS);
    T_CHECK_U64(diagnose(NULL, "no disk is attached"), EFI_SUCCESS);
    T_CHECK_U64(start(NULL), EFI_SUCCESS);
    T_CHECK_U64(nb_disks(), 1);
    T_CHECK_U64(diagnose(NULL, "/image:\nNo errors were found"), EFI_SUCCESS);
    T_CHECK_U64(diagnose(mc_registry_first()->published.handle, "No errors"), EFI_SUCCESS);
    file->bytes[3 * 65536 + 7] ^= 1; /* an L1 entry that leads nowhere */
    T_CHECK_U64(diagnose(mc_registry_first()->published.handle, "1 errors"), EFI_DEVICE_ERROR);
    end();
}

static void test_diagnostics_refuses_what_it_does_not_do(void)
{
    static char english[] = "en", french[] = "fr";
    static const struct {
        const char *name;
        EFI_HANDLE volume, child;
        MC_DIAGNOSTICS_TYPE type;
        char *language;
        bool has_buffer;
        EFI_STATUS status;
    } rows[] = {
        {"no volume", NULL, NULL, 0, english, true, EFI_INVALID_PARAMETER},
        {"no language", VOLUME, NULL, 0, NULL, true, EFI_INVALID_PARAMETER},
        {"no buffer", VOLUME, NULL, 0, english, false, EFI_INVALID_PARAMETER},
        {"another language", VOLUME, NULL, 0, french, true, EFI_UNSUPPORTED},
        {"extended", VOLUME, NULL, 1, english, true, EFI_UNSUPPORTED},
        {"another volume", &volumes[1], NULL, 0, english, true, EFI_UNSUPPORTED},
        {"no child of ours", VOLUME, (EFI_HANDLE)0x77, 0, english, true, EFI_UNSUPPORTED},
    };
    EFI_GUID *type;
    UINTN size;
    CHAR16 *buffer;

    begin();
    T_CHECK_U64(start(NULL), EFI_SUCCESS);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].name);
        T_CHECK_U64(fw.diagnostics->RunDiagnostics(fw.diagnostics, rows[i].volume, rows[i].child,
                                                   rows[i].type, (CHAR8 *)rows[i].language, &type,
                                                   &size, rows[i].has_buffer ? &buffer : NULL),
                    rows[i].status);
    }
    t_row("");
    end();
}

/* While images are looked at, no disk of the volume comes or goes. */
static void nested_in_diagnostics(void)
{
    struct mc_disk *disk = mc_registry_first();

    T_CHECK(disk != NULL);
    nested_status = mc_volume_hold_still(VOLUME) ? EFI_SUCCESS : mc_disk_detach(disk);
    if (nested_status == EFI_SUCCESS && mc_registry_first() == disk)
        mc_volume_let_go(VOLUME);
}

static void test_diagnostics_called_back_at_each_call(void)
{
    unsigned int nb_refusals = 0;

    for (unsigned int at = 1;; at++) {
        bool more;
        mock_begin();
        (void)mock_add_image(0, "/image", 4u << 20);
        mock_add_entry(0, "image", "image /image\nmode rw\n");
        T_CHECK_U64(mc_binding_install(MOCK_IMAGE), EFI_SUCCESS);
        T_CHECK_U64(mc_control_install(MOCK_IMAGE), EFI_SUCCESS);
        T_CHECK_U64(start(NULL), EFI_SUCCESS);
        fw.nested = nested_in_diagnostics;
        fw.nb_calls = 0;
        fw.at = at;
        (void)diagnose(NULL, "No errors");
        more = fw.nb_calls >= at;
        nb_refusals += nested_status == EFI_DEVICE_ERROR;
        end();
        if (!more)
            break;
    }
    T_CHECK(nb_refusals > 5);
}

int main(void)
{
    T_RUN(test_supported_judges_the_remaining_path);
    T_RUN(test_start_of_all_entries_attaches_those_that_can_be);
    T_RUN(test_start_on_a_volume_that_queues_gives_disks_a_queue);
    T_RUN(test_start_with_end_node_attaches_none_and_later_start_all);
    T_RUN(test_start_again_adds_what_is_missing);
    T_RUN(test_start_with_a_path_attaches_that_disk);
    T_RUN(test_start_with_a_path_that_fails_holds_nothing);
    T_RUN(test_stop_takes_children_then_the_volume);
    T_RUN(test_start_of_a_volume_with_a_disk_of_somebody);
    T_RUN(test_unload_that_is_refused_leaves_everything);
    T_RUN(test_start_called_back_at_each_call);
    T_RUN(test_stop_called_back_at_each_call);
    T_RUN(test_unload_called_back_at_each_call);
    T_RUN(test_medium_that_goes_reinstalls_outside_of_the_request);
    T_RUN(test_medium_that_turns_read_only_reinstalls);
    T_RUN(test_diagnostics_checks_images);
    T_RUN(test_diagnostics_refuses_what_it_does_not_do);
    T_RUN(test_diagnostics_called_back_at_each_call);
    return t_done();
}
