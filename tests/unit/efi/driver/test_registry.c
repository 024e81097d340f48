/* efi/driver/registry.c and publish.c against mocked boot services that call back into the driver.
 *
 * Whatever gives a TPL lock back may let an event in: a stick is pulled, a volume appears. So the
 * mocked firmware calls the driver at one call of a boot service, and each case is run again with
 * the next call until the operation makes no more of them. Under AddressSanitizer: nothing that
 * anybody still uses is freed.
 */
#include <stdlib.h>

#include "drivers/memory/source.h"
#include "efi/base/console.h"
#include "q2_fail.h"
#include "efi/base/firmware.h"
#include "efi/driver/registry.h"
#include "efi/handoff/handoff.h"
#include "efi/image/room.h"
#include "efi/place/place.h"
#include "tests/support/t.h"

#define DISK_SIZE (1u << 20)

/* --- the firmware --- */

static struct {
    EFI_TPL tpl;
    unsigned int nb_calls, at; /* the call that lets the driver be called; 0: none */
    bool inside;
    void (*nested)(void);
    unsigned int nb_nested, nb_allocated, nb_installed, nb_open;
    bool volume_is_open[2];
    unsigned int refuse_uninstall, refuse_disconnect, refuse_by_child;
    const char *no_handoff, *reason_against; /* what the hand-off says; NULL: nothing */
} fw;

/* The end of a call: what waits at TPL_CALLBACK comes now. */
static void let_in(void)
{
    fw.nb_calls++;
    if (fw.nb_calls != fw.at || fw.inside || !fw.nested || fw.tpl >= TPL_CALLBACK)
        return;
    fw.inside = true;
    fw.nb_nested++;
    fw.tpl = TPL_CALLBACK;
    fw.nested();
    fw.tpl = TPL_APPLICATION;
    fw.inside = false;
}

static EFI_TPL EFIAPI raise_tpl(EFI_TPL tpl)
{
    EFI_TPL old = fw.tpl;

    fw.tpl = tpl;
    return old;
}

static VOID EFIAPI restore_tpl(EFI_TPL tpl)
{
    fw.tpl = tpl;
    let_in();
}

static EFI_STATUS EFIAPI allocate_pool(EFI_MEMORY_TYPE type, UINTN size, VOID **ret_memory)
{
    (void)type;
    *ret_memory = malloc(size);
    fw.nb_allocated++;
    let_in();
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI free_pool(VOID *memory)
{
    free(memory);
    fw.nb_allocated--;
    let_in();
    return EFI_SUCCESS;
}

static VOID EFIAPI set_mem(VOID *memory, UINTN size, UINT8 value)
{
    memset(memory, value, size);
}

/* Two volumes, each with a device path of one vendor node; handles are their addresses. */
static struct volume {
    VENDOR_DEVICE_PATH node;
    EFI_DEVICE_PATH end;
} volumes[2];

static bool is_volume(EFI_HANDLE handle, size_t *ret_index)
{
    *ret_index = (size_t)((struct volume *)handle - volumes);
    return (struct volume *)handle >= volumes && *ret_index < 2;
}

static EFI_STATUS EFIAPI open_protocol(EFI_HANDLE handle, EFI_GUID *guid, VOID **interface,
                                       EFI_HANDLE agent, EFI_HANDLE controller, UINT32 attributes)
{
    EFI_STATUS status = EFI_SUCCESS;
    size_t index;

    (void)agent;
    (void)controller;
    (void)guid;
    if (!is_volume(handle, &index))
        status = EFI_UNSUPPORTED;
    else if (attributes == EFI_OPEN_PROTOCOL_BY_DRIVER && fw.volume_is_open[index])
        status = EFI_ALREADY_STARTED;
    else if (attributes == EFI_OPEN_PROTOCOL_BY_CHILD_CONTROLLER && fw.refuse_by_child > 0)
        status = EFI_ACCESS_DENIED;
    else if (attributes == EFI_OPEN_PROTOCOL_BY_DRIVER)
        fw.volume_is_open[index] = true;
    else if (attributes == EFI_OPEN_PROTOCOL_BY_CHILD_CONTROLLER)
        fw.nb_open++;
    if (status == EFI_SUCCESS)
        *interface = handle;
    let_in();
    return status;
}

static EFI_STATUS EFIAPI close_protocol(EFI_HANDLE handle, EFI_GUID *guid, EFI_HANDLE agent,
                                        EFI_HANDLE controller)
{
    size_t index;

    (void)guid;
    (void)agent;
    if (is_volume(handle, &index) && controller == handle)
        fw.volume_is_open[index] = false;
    else
        fw.nb_open--;
    let_in();
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI install(EFI_HANDLE *handle, ...)
{
    static uintptr_t next = 0x1000;

    *handle = (EFI_HANDLE)(next += 16);
    fw.nb_installed++;
    let_in();
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI uninstall(EFI_HANDLE handle, ...)
{
    (void)handle;
    if (fw.refuse_uninstall > 0) {
        let_in();
        return EFI_ACCESS_DENIED;
    }
    fw.nb_installed--;
    let_in();
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI disconnect(EFI_HANDLE handle, EFI_HANDLE driver, EFI_HANDLE child)
{
    (void)handle;
    (void)driver;
    (void)child;
    let_in();
    return fw.refuse_disconnect > 0 ? EFI_DEVICE_ERROR : EFI_SUCCESS;
}

static EFI_STATUS EFIAPI connect_controller(EFI_HANDLE handle, EFI_HANDLE *drivers,
                                            EFI_DEVICE_PATH *path, BOOLEAN recursive)
{
    (void)handle;
    (void)drivers;
    (void)path;
    (void)recursive;
    let_in();
    return EFI_SUCCESS;
}

static EFI_BOOT_SERVICES services;
static EFI_SYSTEM_TABLE table = {.BootServices = &services};

/* --- what is below the registry: images in memory --- */

static struct q2_place place = {.name = "memory"};
static unsigned int nb_images;

struct test_image {
    struct mc_image image; /* first */
    struct q2_place_file file;
    struct q2_source_memory source;
    char path[32];
};

/* A raw image names no file. */
static struct q2_opener opener;

enum q2_status mc_image_open(EFI_HANDLE volume, const struct mc_disk_spec *spec, bool metadata_only,
                             struct q2_fault *fault, struct mc_image **ret_image)
{
    const struct q2_disk_options options = {.format = Q2_FORMAT_RAW,
                                            .writable = spec->mode == MC_MODE_READ_WRITE};
    struct test_image *test = calloc(1, sizeof(*test));
    void *bytes = calloc(1, DISK_SIZE);

    (void)metadata_only;
    snprintf(test->path, sizeof(test->path), "%s", spec->image);
    q2_source_memory_init(&test->source, bytes, DISK_SIZE, DISK_SIZE, options.writable, test->path);
    test->source.source.identity[0] = (uintptr_t)volume;
    test->source.source.identity[1] = (uint64_t)(unsigned char)spec->image[1];
    test->file = (struct q2_place_file){.place = &place, .source = &test->source.source};
    test->image.volume = volume;
    test->image.opener.place = &place;
    test->image.file = &test->file;
    test->image.mode = spec->mode;
    test->image.workspace = aligned_alloc(Q2_WORKSPACE_ALIGN, Q2_WORKSPACE_SIZE);
    T_CHECK_U64(q2_disk_open(test->image.workspace, test->file.source, &opener, &options, fault,
                             &test->image.disk),
                Q2_OK);
    if (!test->image.disk) {
        printf("not ok - the image does not open: status %d, %s\n", (int)fault->status,
               fault->what ? fault->what : "");
        exit(1);
    }
    nb_images++;
    let_in(); /* the prompt for a passphrase, or the file's first read */
    *ret_image = &test->image;
    return Q2_OK;
}

void mc_image_close(struct mc_image *image)
{
    struct test_image *test = (struct test_image *)image;

    q2_disk_close(image->disk);
    let_in();
    nb_images--;
    free(test->source.buffer);
    free(image->workspace);
    free(test);
}

uint32_t mc_image_sector_size(const struct mc_image *image)
{
    (void)image;
    return 512;
}

enum q2_status mc_image_check_files(struct mc_image *image, struct q2_fault *fault)
{
    (void)image;
    (void)fault;
    let_in();
    return Q2_OK;
}

enum q2_status mc_image_top_up(struct mc_image *image, struct q2_fault *fault)
{
    (void)image;
    (void)fault;
    let_in();
    return Q2_OK;
}

enum q2_status mc_upkeep_start(struct mc_upkeep *upkeep, struct mc_image *image,
                               struct q2_block_io *block_io, struct q2_fault *fault)
{
    (void)fault;
    *upkeep = (struct mc_upkeep){.image = image, .block_io = block_io};
    let_in();
    return Q2_OK;
}

void mc_upkeep_stop(struct mc_upkeep *upkeep)
{
    let_in();
    *upkeep = (struct mc_upkeep){.image = NULL};
}

enum q2_status mc_handoff_add(const struct mc_image *image, const struct mc_disk_spec *spec,
                              struct q2_fault *ret_fault, EFI_EVENT *ret_read,
                              struct mc_handoff **ret_handoff)
{
    (void)image;
    let_in();
    *ret_read = NULL;
    *ret_handoff = NULL;
    if (fw.no_handoff)
        return q2_fail(ret_fault, Q2_ERR_UNSUPPORTED, fw.no_handoff, spec->image);
    return Q2_OK;
}

const char *mc_handoff_reason_against(const struct mc_handoff *handoff)
{
    (void)handoff;
    return fw.reason_against;
}

void mc_handoff_remove(struct mc_handoff *handoff)
{
    (void)handoff;
    let_in();
}

void mc_say(const char *text)
{
    (void)text;
}

EFI_GUID *mc_place_held(EFI_HANDLE handle)
{
    size_t index;

    return is_volume(handle, &index) ? &mc_file_system_guid : NULL;
}

void mc_say_fault(const struct q2_fault *fault)
{
    (void)fault;
}

/* --- cases --- */

static struct q2_fault fault;
static struct mc_disk *nested_disk;
static enum q2_status nested_status;
static EFI_STATUS nested_efi_status;

static void begin(void)
{
    services = (EFI_BOOT_SERVICES){.RaiseTPL = raise_tpl,
                                   .RestoreTPL = restore_tpl,
                                   .AllocatePool = allocate_pool,
                                   .FreePool = free_pool,
                                   .SetMem = set_mem,
                                   .OpenProtocol = (EFI_OPEN_PROTOCOL)open_protocol,
                                   .CloseProtocol = close_protocol,
                                   .DisconnectController = disconnect,
                                   .ConnectController = connect_controller};
    services.InstallMultipleProtocolInterfaces = (void *)install;
    services.UninstallMultipleProtocolInterfaces = (void *)uninstall;
    memset(&fw, 0, sizeof(fw));
    fw.tpl = TPL_APPLICATION;
    for (size_t i = 0; i < 2; i++) {
        volumes[i].node = (VENDOR_DEVICE_PATH){
            .Header = {HARDWARE_DEVICE_PATH, HW_VENDOR_DP, {sizeof(VENDOR_DEVICE_PATH), 0}},
            .Guid = {.Data1 = (UINT32)i}};
        volumes[i].end = (EFI_DEVICE_PATH){
            END_DEVICE_PATH_TYPE, END_ENTIRE_DEVICE_PATH_SUBTYPE, {END_DEVICE_PATH_LENGTH, 0}};
    }
    mc_firmware_init((EFI_HANDLE)0x1, &table);
    mc_registry_init((EFI_HANDLE)0x1);
    nested_disk = NULL;
    nested_status = Q2_ERR_NOT_OPEN;
    nested_efi_status = EFI_NOT_READY;
}

static struct mc_disk *attach(size_t volume, const char *image, enum mc_mode mode)
{
    const struct mc_disk_spec spec = {.image = image, .mode = mode};
    struct mc_disk *disk = NULL;

    return mc_registry_attach(&volumes[volume], &spec, &fault, &disk) == Q2_OK ? disk : NULL;
}

/* What must hold between two operations, whatever came in between. */
static void check_registry(void)
{
    unsigned int nb = 0;

    for (struct mc_disk *a = mc_registry_first(); a; a = mc_registry_next(a), nb++) {
        T_CHECK(a->state == MC_DISK_PRESENT);
        T_CHECK(a->published.handle && a->published.device_path);
        T_CHECK(mc_registry_find_handle(a->published.handle) == a);
        T_CHECK(mc_registry_find_number(a->number) == a);
        T_CHECK_U64(a->published.block_io.media.MediaId, a->number + 1);
        T_CHECK(mc_registry_holds(a->published.volume));
    }
    T_CHECK_U64(fw.nb_installed, nb);
    T_CHECK_U64(fw.nb_open, nb);
    T_CHECK_U64(nb_images, nb);
    T_CHECK_U64(fw.tpl, TPL_APPLICATION);
    T_CHECK(!mc_registry_find_handle(NULL));
}

/* Detach everything; nothing is left. */
static void end(void)
{
    fw.at = 0;
    while (mc_registry_first())
        T_CHECK_U64(mc_registry_detach(mc_registry_first()), EFI_SUCCESS);
    for (size_t i = 0; i < 2; i++)
        T_CHECK_U64(mc_registry_release(&volumes[i]), EFI_SUCCESS);
    check_registry();
    T_CHECK_U64(fw.nb_allocated, 0);
    T_CHECK(!fw.volume_is_open[0] && !fw.volume_is_open[1]);
}

/* It is attached all the same; who starts it reads one sentence with the reason. */
static void test_registry_no_handoff_is_told(void)
{
    struct mc_disk *disk;

    begin();
    disk = attach(0, "/a", MC_MODE_READ_WRITE);
    T_CHECK_STR(disk->no_handoff, "");
    fw.no_handoff = "where its bytes are stored is not known";
    disk = attach(0, "/b", MC_MODE_READ_WRITE);
    T_CHECK_STR(disk->no_handoff, "a system that starts from this disk loses it, because it cannot "
                                  "be handed over: /b: where its bytes are stored is not known");
    fw.no_handoff = NULL;
    fw.reason_against = "Secure Boot is on";
    disk = attach(1, "/c", MC_MODE_READ_WRITE);
    T_CHECK_STR(disk->no_handoff, "a system that starts from this disk loses it, because it cannot "
                                  "be handed over: /c: Secure Boot is on");
    end();
}

static void detach_first(void)
{
    struct mc_disk *disk = mc_registry_first();

    nested_efi_status = disk ? mc_registry_detach(disk) : EFI_NOT_FOUND;
}

/* The firmware stops the child that it knows: the stick is pulled. */
static EFI_HANDLE child;
static void stop_child(void)
{
    struct mc_disk *disk = mc_registry_find_handle(child);

    nested_efi_status = disk ? mc_registry_detach(disk) : EFI_NOT_FOUND;
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
    nested_efi_status = mc_registry_keep(&volumes[0]);
    if (!EFI_ERROR(nested_efi_status))
        mc_registry_started(&volumes[0]);
}

static void release_volume(void)
{
    nested_efi_status = mc_registry_release(&volumes[0]);
}

static void list(void)
{
    for (struct mc_disk *disk = mc_registry_first(); disk; disk = mc_registry_next(disk))
        T_CHECK(disk->published.handle && q2_disk_size(disk->image->disk) == DISK_SIZE);
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
    outer = mc_registry_detach(first);
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
    outer = mc_registry_keep(&volumes[0]);
    mc_registry_started(&volumes[0]);
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

/* While Start() attaches entries, Stop() is refused. */
static void test_release_of_a_volume_that_is_starting_is_refused(void)
{
    begin();
    T_CHECK_U64(mc_registry_keep(&volumes[0]), EFI_SUCCESS);
    T_CHECK_U64(mc_registry_release(&volumes[0]), EFI_DEVICE_ERROR);
    mc_registry_started(&volumes[0]);
    T_CHECK_U64(mc_registry_release(&volumes[0]), EFI_SUCCESS);
    end();
}

static void test_detach_that_the_firmware_refuses_leaves_the_disk(void)
{
    static unsigned int *const refusals[] = {&fw.refuse_disconnect, &fw.refuse_uninstall};

    for (size_t i = 0; i < 2; i++) {
        begin();
        attach_a();
        *refusals[i] = 1;
        T_CHECK(EFI_ERROR(mc_registry_detach(first)));
        *refusals[i] = 0;
        check_registry();
        T_CHECK(first->published.block_io.media.MediaPresent);
        end();
    }
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
    T_CHECK_U64(nb_images, 1);
    T_CHECK_U64(mc_registry_release(&volumes[0]), EFI_DEVICE_ERROR);
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
    T_CHECK_U64(mc_registry_detach(stuck), EFI_DEVICE_ERROR);
}

int main(void)
{
    T_RUN(test_registry_no_handoff_is_told);
    T_RUN(test_attach_called_back_at_each_call_keeps_numbers_and_files_apart);
    T_RUN(test_detach_called_back_at_each_call_frees_once);
    T_RUN(test_detach_one_of_two_called_back_at_each_call);
    T_RUN(test_keep_called_back_at_each_call);
    T_RUN(test_release_of_a_volume_that_is_starting_is_refused);
    T_RUN(test_detach_that_the_firmware_refuses_leaves_the_disk);
    T_RUN(test_attach_that_gets_stuck_frees_nothing);
    return t_done();
}
