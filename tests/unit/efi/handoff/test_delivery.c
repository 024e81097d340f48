/* efi/handoff: the three ways of delivering the payload, over a small firmware of this test.
 *
 * Memory is what mmap() gives below 2 GiB, since boot parameters hold 32-bit addresses.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "efi/base/console.h"
#include "efi/base/firmware.h"
#include "efi/handoff/initrd_path.h"
#include "efi/handoff/own.h"
#include "efi/handoff/patch.h"
#include "efi/handoff/search.h"
#include "efi/handoff/wrap.h"
#include "tests/support/page_tables.h"
#include "tests/support/t.h"

#define PAGE      4096u
#define NB_RANGES 6u

static char said[256];

void mc_say(const char *text)
{
    (void)snprintf(said, sizeof(said), "%s", text);
}

/* The machine's memory. */
static EFI_MEMORY_DESCRIPTOR ranges[NB_RANGES];
static size_t nb_ranges;
static uint8_t *arena; /* 64 pages */

/* The handle that serves the initrd's path. */
static struct {
    struct mc_load_file2 *load_file2;
    EFI_EVENT_NOTIFY notify;
    bool read_only;
} firmware;
static EFI_HANDLE the_handle = (EFI_HANDLE)&firmware;

static EFI_STATUS EFIAPI get_memory_map(UINTN *size, EFI_MEMORY_DESCRIPTOR *map, UINTN *key,
                                        UINTN *step, UINT32 *version)
{
    UINTN needed = nb_ranges * 48; /* firmware has longer descriptors than the struct */

    *step = 48;
    *key = 1;
    *version = 1;
    if (*size < needed) {
        *size = needed;
        return EFI_BUFFER_TOO_SMALL;
    }
    for (size_t i = 0; i < nb_ranges; i++)
        memcpy((uint8_t *)map + i * 48, &ranges[i], sizeof(ranges[i]));
    *size = needed;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI allocate_pages(EFI_ALLOCATE_TYPE type, EFI_MEMORY_TYPE memory, UINTN nb,
                                        EFI_PHYSICAL_ADDRESS *address)
{
    (void)type;
    (void)memory;
    *address = (uintptr_t)aligned_alloc(PAGE, nb * PAGE);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI free_pages(EFI_PHYSICAL_ADDRESS address, UINTN nb)
{
    (void)nb;
    free((void *)(uintptr_t)address);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI locate_device_path(EFI_GUID *guid, EFI_DEVICE_PATH **path,
                                            EFI_HANDLE *handle)
{
    T_CHECK(memcmp(guid, &mc_load_file2_guid, sizeof(*guid)) == 0);
    T_CHECK_U64((*path)->Type, MEDIA_DEVICE_PATH);
    if (!firmware.load_file2)
        return EFI_NOT_FOUND;
    *handle = the_handle;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI open_protocol(EFI_HANDLE handle, EFI_GUID *guid, void **interface,
                                       EFI_HANDLE agent, EFI_HANDLE controller, UINT32 attributes)
{
    (void)guid;
    (void)agent;
    (void)controller;
    (void)attributes;
    T_CHECK(handle == the_handle);
    *interface = firmware.load_file2;
    return firmware.load_file2 ? EFI_SUCCESS : EFI_UNSUPPORTED;
}

static EFI_STATUS EFIAPI get_attributes(void *This, EFI_PHYSICAL_ADDRESS base, UINT64 length,
                                        UINT64 *attributes)
{
    (void)This;
    (void)base;
    (void)length;
    *attributes = firmware.read_only ? 0x20000 : 0;
    return EFI_SUCCESS;
}

static struct {
    EFI_STATUS(EFIAPI *get)(void *, EFI_PHYSICAL_ADDRESS, UINT64, UINT64 *);
} memory_attribute = {get_attributes};

static EFI_STATUS EFIAPI locate_protocol(EFI_GUID *guid, void *registration, void **interface)
{
    (void)guid;
    (void)registration;
    *interface = &memory_attribute;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI create_event(UINT32 type, EFI_TPL tpl, EFI_EVENT_NOTIFY notify,
                                      void *context, EFI_EVENT *event)
{
    (void)type;
    (void)context;
    T_CHECK_U64(tpl, TPL_CALLBACK);
    firmware.notify = notify;
    *event = (EFI_EVENT)&firmware.notify;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI close_event(EFI_EVENT event)
{
    (void)event;
    firmware.notify = NULL;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI register_notify(EFI_GUID *guid, EFI_EVENT event, void **registration)
{
    (void)event;
    T_CHECK(memcmp(guid, &mc_load_file2_guid, sizeof(*guid)) == 0);
    *registration = &firmware;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI install(EFI_HANDLE *handle, ...)
{
    __builtin_ms_va_list list;

    __builtin_ms_va_start(list, handle);
    (void)__builtin_va_arg(list, EFI_GUID *);
    (void)__builtin_va_arg(list, void *);
    (void)__builtin_va_arg(list, EFI_GUID *);
    firmware.load_file2 = __builtin_va_arg(list, struct mc_load_file2 *);
    __builtin_ms_va_end(list);
    *handle = the_handle;
    if (firmware.notify)
        firmware.notify(NULL, NULL);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI uninstall(EFI_HANDLE handle, ...)
{
    T_CHECK(handle == the_handle);
    firmware.load_file2 = NULL;
    return EFI_SUCCESS;
}

static EFI_BOOT_SERVICES services = {
    .GetMemoryMap = get_memory_map,
    .AllocatePages = allocate_pages,
    .FreePages = free_pages,
    .LocateDevicePath = locate_device_path,
    .OpenProtocol = open_protocol,
    .LocateProtocol = locate_protocol,
    .CreateEvent = create_event,
    .CloseEvent = close_event,
    .RegisterProtocolNotify = register_notify,
    .InstallMultipleProtocolInterfaces = install,
    .UninstallMultipleProtocolInterfaces = uninstall,
};

/* The payload. */
static uint8_t payload_bytes[64];
static struct {
    struct mc_payload payload;
    bool refuse;
    unsigned int nb_measured;
    enum mc_payload_for whose;
} owner;

static const uint8_t *get_payload(struct mc_payload *payload, enum mc_payload_for whose,
                                  size_t *ret_size)
{
    (void)payload;
    owner.whose = whose;
    *ret_size = sizeof(payload_bytes);
    return owner.refuse ? NULL : payload_bytes;
}

static void measure(struct mc_payload *payload)
{
    (void)payload;
    owner.nb_measured++;
}

static struct mc_memory_map map;

static void add_range(EFI_MEMORY_TYPE type, size_t page, size_t nb_pages)
{
    ranges[nb_ranges++] = (EFI_MEMORY_DESCRIPTOR){
        .Type = type, .PhysicalStart = (uintptr_t)arena + page * PAGE, .NumberOfPages = nb_pages};
}

/* Pages 0 to 7 are free, 8 to 15 a loader's data, 16 its code, 17 free, 18 to 23 its data. */
static void start(void)
{
    static EFI_SYSTEM_TABLE table = {.BootServices = &services};

    if (!arena)
        arena = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    T_CHECK(arena != MAP_FAILED);
    memset(arena, 0, 64 * PAGE);
    nb_ranges = 0;
    add_range(EfiLoaderData, 18, 6); /* maps are in no order */
    add_range(EfiConventionalMemory, 0, 8);
    add_range(EfiLoaderData, 8, 8);
    add_range(EfiLoaderCode, 16, 1);
    add_range(EfiConventionalMemory, 17, 1);
    mc_firmware_init(NULL, &table);
    memset(&firmware, 0, sizeof(firmware));
    memset(&owner, 0, sizeof(owner));
    owner.payload = (struct mc_payload){get_payload, measure};
    memset(payload_bytes, 0xa5, sizeof(payload_bytes));
    memcpy(payload_bytes, "070701", 6);
    said[0] = '\0';
    T_CHECK(mc_memory_map_reserve(&map));
}

static void end(void)
{
    mc_memory_map_free(&map);
}

static void put32(uint8_t *at, uint64_t value)
{
    for (size_t i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

/* Boot parameters in a page of the arena, with an initrd of some size at another. */
static uint8_t *make_kernel(size_t at, bool handover, size_t initrd, size_t initrd_size)
{
    uint8_t *page = arena + at * PAGE, *bytes = arena + initrd * PAGE;
    uint8_t *command_line = arena + 23 * PAGE;

    memset(page, 0, PAGE);
    put32(page + 0x202, 0x53726448);
    page[0x210] = handover ? 0x21 : 0x72;
    page[0x1ef] = handover;
    page[0x1fe] = handover ? 0x55 : 0;
    page[0x1ff] = handover ? 0xaa : 0;
    memcpy(command_line, "BOOT_IMAGE=/vmlinuz", 20);
    put32(page + 0x228, (uintptr_t)command_line);
    put32(page + 0x22c, 0x7fffffff);
    put32(page + 0x218, initrd_size > 0 ? (uintptr_t)bytes : 0);
    put32(page + 0x21c, initrd_size);
    for (size_t i = 0; i < initrd_size; i++)
        bytes[i] = (uint8_t)i;
    if (initrd_size > 0)
        memcpy(bytes, "\x1f\x8b", 2);
    return page;
}

static bool is_joined(const uint8_t *bytes, size_t size, size_t their_size)
{
    size_t padded = (their_size + 3) / 4 * 4;

    for (size_t i = 2; i < their_size; i++) {
        if (bytes[i] != (uint8_t)i)
            return false;
    }
    for (size_t i = their_size; i < padded; i++) {
        if (bytes[i] != 0)
            return false;
    }
    return size == padded + sizeof(payload_bytes) && memcmp(bytes, "\x1f\x8b", 2) == 0 &&
           memcmp(bytes + padded, payload_bytes, sizeof(payload_bytes)) == 0;
}

static void test_patch_appends_in_free_memory(void)
{
    struct mc_boot_params params;
    uint8_t *page;

    start();
    page = make_kernel(9, false, 18, 2 * PAGE + 5);
    T_CHECK_U64(mc_initrd_patch(&map, &owner.payload), 1);
    T_CHECK(mc_boot_params_read(page, &params));
    /* Three pages are free from page 5 on; page 17 is higher but too small. */
    T_CHECK_U64(params.initrd, (uintptr_t)arena + 5 * PAGE);
    T_CHECK(is_joined((const uint8_t *)(uintptr_t)params.initrd, params.initrd_size, 2 * PAGE + 5));
    T_CHECK_U64(owner.nb_measured, 1);
    T_CHECK_U64(owner.whose, MC_PAYLOAD_FOR_LOADER);
    end();
}

static void test_patch_twice_changes_nothing(void)
{
    uint8_t before[PAGE], *page;

    start();
    page = make_kernel(9, false, 18, 100);
    T_CHECK_U64(mc_initrd_patch(&map, &owner.payload), 1);
    memcpy(before, page, PAGE);
    /* What boot parameters name is in use from now on. */
    ranges[4].Type = EfiLoaderData;
    T_CHECK_U64(mc_initrd_patch(&map, &owner.payload), 0);
    T_CHECK(memcmp(before, page, PAGE) == 0);
    end();
}

static void test_patch_two_kernels_get_places_of_their_own(void)
{
    struct mc_boot_params a, b;
    uint8_t *first, *second;

    start();
    first = make_kernel(9, false, 18, 100);
    second = make_kernel(10, false, 19, 200);
    T_CHECK_U64(mc_initrd_patch(&map, &owner.payload), 2);
    T_CHECK(mc_boot_params_read(first, &a) && mc_boot_params_read(second, &b));
    T_CHECK(a.initrd != b.initrd);
    T_CHECK(is_joined((const uint8_t *)(uintptr_t)a.initrd, a.initrd_size, 100));
    T_CHECK(is_joined((const uint8_t *)(uintptr_t)b.initrd, b.initrd_size, 200));
    end();
}

static void test_patch_leaves_alone_what_it_cannot_trust(void)
{
    uint8_t before[PAGE], *page;

    for (int row = 0; row < 7; row++) {
        start();
        page = make_kernel(9, row == 0, 18, 100);
        switch (row) {
        case 1: /* no initrd yet */
            page = make_kernel(9, false, 18, 0);
            break;
        case 2: /* no archive there */
            arena[18 * PAGE] = 'x';
            break;
        case 3: /* not in memory */
            put32(page + 0x218, 0x1000);
            break;
        case 4: /* larger than memory */
            put32(page + 0x21c, 0x7fffffff);
            break;
        case 5: /* no free memory as low as the kernel wants it */
            put32(page + 0x22c, 0xfffff);
            break;
        case 6: /* the owner has nothing to add */
            owner.refuse = true;
            break;
        default: /* a kernel that enters by its stub */
            break;
        }
        t_row((const char *[]){"stub", "none", "magic", "hole", "large", "low", "refused"}[row]);
        memcpy(before, page, PAGE);
        T_CHECK_U64(mc_initrd_patch(&map, &owner.payload), 0);
        T_CHECK(memcmp(before, page, PAGE) == 0);
        T_CHECK_U64(owner.nb_measured, 0);
        end();
    }
    t_row("");
}

/* Firmware that checks programs puts pages between allocations that cannot be read. */
static void test_patch_passes_over_pages_that_guard_others(void)
{
    struct mc_boot_params params;
    uint8_t *page, *guard = arena + 9 * PAGE;

    start();
    page = make_kernel(10, false, 18, 100);
    T_CHECK_U64(mprotect(guard, PAGE, PROT_NONE), 0);
    t_page_tables_without(&mc_firmware.page_tables, (uintptr_t)guard, 4);
    T_CHECK_U64(mc_initrd_patch(&map, &owner.payload), 1);
    T_CHECK(mc_boot_params_read(page, &params));
    T_CHECK(is_joined((const uint8_t *)(uintptr_t)params.initrd, params.initrd_size, 100));
    mc_firmware.page_tables.nb_levels = 0;
    T_CHECK_U64(mprotect(guard, PAGE, PROT_READ | PROT_WRITE), 0);
    end();
}

static void test_own_appears_and_goes_with_the_kernel(void)
{
    uint8_t *page;

    start();
    mc_initrd_own_init(&map, &owner.payload);
    mc_initrd_own_look();
    T_CHECK(firmware.load_file2 == NULL);
    page = make_kernel(9, true, 18, 0);
    mc_initrd_own_look();
    T_CHECK(mc_initrd_own_is(firmware.load_file2));
    mc_initrd_own_look();
    T_CHECK(mc_initrd_own_is(firmware.load_file2));
    memset(page, 0, PAGE);
    mc_initrd_own_look();
    T_CHECK(firmware.load_file2 == NULL);
    end();
}

static EFI_STATUS ask(struct mc_load_file2 *load_file2, void *buffer, UINTN *size)
{
    return load_file2->LoadFile(load_file2, &mc_initrd_path.end, FALSE, size, buffer);
}

static void test_own_gives_both_archives(void)
{
    static uint8_t buffer[4096];
    UINTN size = 0;

    start();
    mc_initrd_own_init(&map, &owner.payload);
    (void)make_kernel(9, true, 18, 0);
    mc_initrd_own_look();
    T_CHECK(ask(firmware.load_file2, NULL, &size) == EFI_BUFFER_TOO_SMALL); /* it has no initrd */
    T_CHECK_U64(size, sizeof(payload_bytes));
    T_CHECK(ask(firmware.load_file2, buffer, &size) == EFI_SUCCESS);
    T_CHECK_U64(size, sizeof(payload_bytes));
    T_CHECK(memcmp(buffer, payload_bytes, sizeof(payload_bytes)) == 0);
    size = 0;
    (void)make_kernel(9, true, 18, 101);
    T_CHECK(ask(firmware.load_file2, NULL, &size) == EFI_BUFFER_TOO_SMALL);
    T_CHECK_U64(size, 104 + sizeof(payload_bytes));
    size--;
    T_CHECK(ask(firmware.load_file2, buffer, &size) == EFI_BUFFER_TOO_SMALL);
    T_CHECK(ask(firmware.load_file2, buffer, &size) == EFI_SUCCESS);
    T_CHECK(is_joined(buffer, size, 101));
    owner.refuse = true; /* then the loader's own: the kernel has no other way to it any more */
    memset(buffer, 0xee, sizeof(buffer));
    size = 0;
    T_CHECK(ask(firmware.load_file2, NULL, &size) == EFI_BUFFER_TOO_SMALL);
    T_CHECK_U64(size, 104);
    T_CHECK(ask(firmware.load_file2, buffer, &size) == EFI_SUCCESS);
    T_CHECK(buffer[100] != 0xee && buffer[103] == 0 && buffer[104] == 0xee);
    T_CHECK(firmware.load_file2->LoadFile(firmware.load_file2, &mc_initrd_path.end, TRUE, &size,
                                          buffer) == EFI_UNSUPPORTED);
    mc_initrd_own_stop();
    T_CHECK(firmware.load_file2 == NULL);
    end();
}

/* A loader's LoadFile2, with GRUB's manners: one call for data, the size is not updated. */
static unsigned int nb_data_calls;
static EFI_STATUS EFIAPI theirs(struct mc_load_file2 *This, EFI_DEVICE_PATH *FilePath,
                                BOOLEAN BootPolicy, UINTN *BufferSize, VOID *Buffer)
{
    T_CHECK(This == firmware.load_file2);
    T_CHECK_U64(FilePath->Type, END_DEVICE_PATH_TYPE);
    if (BootPolicy)
        return EFI_UNSUPPORTED;
    if (!Buffer || *BufferSize < 101) {
        *BufferSize = 101;
        return EFI_BUFFER_TOO_SMALL;
    }
    if (nb_data_calls++ > 0)
        return EFI_DEVICE_ERROR;
    for (size_t i = 0; i < 101; i++)
        ((uint8_t *)Buffer)[i] = (uint8_t)i;
    memcpy(Buffer, "\x1f\x8b", 2);
    return EFI_SUCCESS;
}

static void test_wrap_appends_to_a_loaders_initrd(void)
{
    static uint8_t buffer[4096];
    static struct mc_load_file2 loader;
    UINTN size = 0;

    start();
    loader.LoadFile = theirs;
    nb_data_calls = 0;
    T_CHECK(mc_initrd_wrap_start(&map, &owner.payload) == EFI_SUCCESS);
    firmware.load_file2 = &loader;
    firmware.notify(NULL, NULL);
    T_CHECK(loader.LoadFile != theirs);
    firmware.notify(NULL, NULL); /* a LoadFile2 somewhere else */
    T_CHECK(ask(&loader, NULL, &size) == EFI_BUFFER_TOO_SMALL);
    T_CHECK_U64(size, 104 + sizeof(payload_bytes));
    T_CHECK(ask(&loader, buffer, &size) == EFI_SUCCESS);
    T_CHECK(is_joined(buffer, size, 101));
    T_CHECK_U64(nb_data_calls, 1);
    mc_initrd_wrap_stop();
    T_CHECK(loader.LoadFile == theirs);
    end();
}

static void test_wrap_passes_through_when_nothing_is_added(void)
{
    static uint8_t buffer[4096];
    static struct mc_load_file2 loader;
    UINTN size = 0;

    start();
    loader.LoadFile = theirs;
    nb_data_calls = 0;
    owner.refuse = true;
    firmware.load_file2 = &loader; /* it is there before the driver */
    T_CHECK(mc_initrd_wrap_start(&map, &owner.payload) == EFI_SUCCESS);
    T_CHECK(ask(&loader, NULL, &size) == EFI_BUFFER_TOO_SMALL);
    T_CHECK_U64(size, 101);
    T_CHECK(ask(&loader, buffer, &size) == EFI_SUCCESS);
    T_CHECK(loader.LoadFile(&loader, &mc_initrd_path.end, TRUE, &size, buffer) == EFI_UNSUPPORTED);
    /* The loader has gone, and its memory holds something else: nothing is written there. */
    firmware.load_file2 = NULL;
    mc_initrd_wrap_stop();
    T_CHECK(loader.LoadFile != theirs);
    end();
}

static void test_wrap_leaves_write_protected_memory_alone(void)
{
    static struct mc_load_file2 loader;

    start();
    loader.LoadFile = theirs;
    firmware.read_only = true;
    firmware.load_file2 = &loader;
    T_CHECK(mc_initrd_wrap_start(&map, &owner.payload) == EFI_SUCCESS);
    T_CHECK(loader.LoadFile == theirs);
    T_CHECK(strstr(said, "the firmware protects their memory") != NULL);
    mc_initrd_wrap_stop();
    end();
}

/* Page 16 is the loader's code: a PE image whose LoadFile() answers that its initrd is empty. */
static void make_image(struct mc_load_file2 *loader, const char *section)
{
    static const uint8_t too_small[] = {0x48, 0xb8, 5, 0, 0, 0, 0, 0, 0, 0x80, 0xc3};
    uint8_t *image = arena + 16 * PAGE;

    memcpy(image, "MZ", 2);
    put32(image + 60, 128);
    memcpy(image + 128, "PE\0\0\x64\x86\x01", 7);
    image[128 + 20] = 240;
    put32(image + 128 + 24 + 56, PAGE);
    memset(image + 128 + 24 + 240, 0, 8);
    memcpy(image + 128 + 24 + 240, section, strlen(section));
    memcpy(image + 2048, too_small, sizeof(too_small));
    loader->LoadFile = (EFI_STATUS(EFIAPI *)(struct mc_load_file2 *, EFI_DEVICE_PATH *, BOOLEAN,
                                             UINTN *, VOID *))(uintptr_t)(image + 2048);
}

static void test_wrap_tells_a_unified_kernel_image_from_a_loader(void)
{
    static const struct {
        const char *section;
        enum mc_payload_for whose;
    } rows[] = {{".linux", MC_PAYLOAD_FOR_UKI}, {".text", MC_PAYLOAD_FOR_LOADER}};
    static struct mc_load_file2 loader;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        UINTN size = 0;
        t_row(rows[i].section);
        start();
        make_image(&loader, rows[i].section);
        firmware.load_file2 = &loader;
        T_CHECK(mc_initrd_wrap_start(&map, &owner.payload) == EFI_SUCCESS);
        T_CHECK(ask(&loader, NULL, &size) == EFI_BUFFER_TOO_SMALL);
        T_CHECK_U64(size, sizeof(payload_bytes));
        T_CHECK_U64(owner.whose, rows[i].whose);
        mc_initrd_wrap_stop();
        end();
    }
    t_row("");
}

int main(void)
{
    T_RUN(test_patch_appends_in_free_memory);
    T_RUN(test_patch_twice_changes_nothing);
    T_RUN(test_patch_two_kernels_get_places_of_their_own);
    T_RUN(test_patch_leaves_alone_what_it_cannot_trust);
    T_RUN(test_patch_passes_over_pages_that_guard_others);
    T_RUN(test_own_appears_and_goes_with_the_kernel);
    T_RUN(test_own_gives_both_archives);
    T_RUN(test_wrap_appends_to_a_loaders_initrd);
    T_RUN(test_wrap_passes_through_when_nothing_is_added);
    T_RUN(test_wrap_leaves_write_protected_memory_alone);
    T_RUN(test_wrap_tells_a_unified_kernel_image_from_a_loader);
    return t_done();
}
