/* efi/handoff/handoff.c: which archive is delivered when, and that keys end with boot services.
 *
 * What it calls is made here: a record of two bytes, the number of changes of the file and a key; a
 * disk that can stop; a way of delivery that keeps what it was given.
 */
#include "efi/handoff/handoff.h"

#include <stdlib.h>

#include "drivers/crypto/wipe.h"
#include "efi/base/console.h"
#include "efi/base/firmware.h"
#include "efi/handoff/measure.h"
#include "efi/handoff/own.h"
#include "efi/handoff/patch.h"
#include "efi/handoff/program.h"
#include "efi/handoff/record.h"
#include "efi/handoff/variable.h"
#include "efi/handoff/wrap.h"
#include "q2_fail.h"
#include "tests/support/t.h"

#define PAGE        4096u
#define SECRET      0xa7
#define RECORD_SIZE 64u
#define NB_PAGES    4u

static struct {
    uint8_t nb_changes;
    bool stopped; /* as a USB stick is when boot services end */
    bool encrypted;
} disk;

static struct {
    EFI_EVENT_NOTIFY before_exit, exit, read;
    void *read_context;
    uint8_t *pages[NB_PAGES];
    size_t sizes[NB_PAGES];
    unsigned int nb_pages;
} firmware;

static uint8_t delivered[65536];
static size_t delivered_size;
static uint8_t published[RECORD_SIZE];
static struct mc_payload *the_payload;
static char said[256];

/* ---- What handoff.c calls ---- */

const uint8_t mc_handoff_program[16] = "program";

size_t mc_handoff_program_size(void)
{
    return sizeof(mc_handoff_program);
}

void mc_say(const char *text)
{
    (void)snprintf(said, sizeof(said), "%s", text);
}

void mc_say_fault(const struct q2_fault *fault)
{
    (void)snprintf(said, sizeof(said), "fault %d", (int)fault->status);
}

bool mc_measure(const uint8_t *bytes, size_t size)
{
    (void)bytes;
    (void)size;
    return true;
}

bool mc_variable_publish(const uint8_t *record, size_t length)
{
    T_CHECK_U64(length, RECORD_SIZE);
    memcpy(published, record, length);
    return true;
}

void mc_variable_withdraw(void)
{
}

bool mc_memory_map_reserve(struct mc_memory_map *map)
{
    (void)map;
    return true;
}

void mc_memory_map_free(struct mc_memory_map *map)
{
    (void)map;
}

void mc_initrd_own_init(struct mc_memory_map *map, struct mc_payload *payload)
{
    (void)map;
    the_payload = payload;
}

void mc_initrd_own_look(void)
{
}

void mc_initrd_own_stop(void)
{
}

EFI_STATUS mc_initrd_wrap_start(struct mc_memory_map *map, struct mc_payload *payload)
{
    (void)map;
    (void)payload;
    return EFI_SUCCESS;
}

void mc_initrd_wrap_stop(void)
{
}

/* A way of delivery: keeps a copy of the archive. */
static void deliver(struct mc_payload *payload)
{
    const uint8_t *bytes = payload->get(payload, MC_PAYLOAD_FOR_LOADER, &delivered_size);

    if (!bytes)
        delivered_size = 0;
    else if (T_CHECK(delivered_size <= sizeof(delivered)))
        memcpy(delivered, bytes, delivered_size);
}

unsigned int mc_initrd_patch(struct mc_memory_map *map, struct mc_payload *payload)
{
    (void)map;
    deliver(payload);
    return delivered_size > 0;
}

enum q2_status mc_record_init(struct mc_record *record, struct mc_image *image,
                              const struct mc_disk_spec *spec, struct q2_fault *fault)
{
    (void)image;
    (void)spec;
    (void)fault;
    record->handoff.nb_keys = disk.encrypted ? 1 : 0;
    memset(record->keys[0].bytes, SECRET, sizeof(record->keys[0].bytes));
    return Q2_OK;
}

void mc_record_wipe(struct mc_record *record)
{
    q2_wipe(record->keys, sizeof(record->keys));
}

void mc_record_free(struct mc_record *record)
{
    mc_record_wipe(record);
}

enum q2_status mc_record_look(struct mc_record *record, const struct mc_image *image,
                              struct q2_fault *fault, size_t *ret_size)
{
    (void)image;
    if (disk.stopped)
        return q2_fail(fault, Q2_ERR_IO, NULL, "stopped");
    record->max_files = disk.nb_changes;
    *ret_size = RECORD_SIZE;
    return Q2_OK;
}

enum q2_status mc_record_encode(struct mc_record *record, bool with_keys, void *bytes, size_t size,
                                struct q2_fault *fault, size_t *ret_length)
{
    uint8_t *to = bytes;

    (void)fault;
    T_CHECK(size >= RECORD_SIZE);
    memset(to, (int)record->max_files, RECORD_SIZE);
    if (with_keys && record->handoff.nb_keys > 0)
        memset(to + 32, record->keys[0].bytes[0], 32);
    *ret_length = RECORD_SIZE;
    return Q2_OK;
}

/* ---- The firmware ---- */

static EFI_STATUS EFIAPI allocate_pages(EFI_ALLOCATE_TYPE type, EFI_MEMORY_TYPE memory, UINTN nb,
                                        EFI_PHYSICAL_ADDRESS *address)
{
    unsigned int at = firmware.nb_pages++ % NB_PAGES;

    (void)type;
    (void)memory;
    firmware.sizes[at] = nb * PAGE;
    firmware.pages[at] = aligned_alloc(PAGE, nb * PAGE);
    *address = (uintptr_t)firmware.pages[at];
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI free_pages(EFI_PHYSICAL_ADDRESS address, UINTN nb)
{
    uint8_t *bytes = (uint8_t *)(uintptr_t)address;

    T_CHECK(memchr(bytes, SECRET, nb * PAGE) == NULL);
    for (unsigned int i = 0; i < NB_PAGES; i++)
        firmware.pages[i] = firmware.pages[i] == bytes ? NULL : firmware.pages[i];
    free(bytes);
    return EFI_SUCCESS;
}

static void EFIAPI set_memory(void *memory, UINTN size, UINT8 value)
{
    memset(memory, value, size);
}

static EFI_STATUS EFIAPI allocate_pool(EFI_MEMORY_TYPE type, UINTN size, void **memory)
{
    (void)type;
    *memory = malloc(size);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI free_pool(void *memory)
{
    free(memory);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI create_event(UINT32 type, EFI_TPL tpl, EFI_EVENT_NOTIFY notify,
                                      void *context, EFI_EVENT *event)
{
    T_CHECK_U64(tpl, TPL_CALLBACK);
    if (type == EVT_SIGNAL_EXIT_BOOT_SERVICES) {
        firmware.exit = notify;
    } else {
        firmware.read = notify;
        firmware.read_context = context;
    }
    *event = (EFI_EVENT)&firmware;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI create_event_ex(UINT32 type, EFI_TPL tpl, EFI_EVENT_NOTIFY notify,
                                         const void *context, const EFI_GUID *group,
                                         EFI_EVENT *event)
{
    (void)type;
    (void)context;
    T_CHECK_U64(tpl, TPL_CALLBACK);
    T_CHECK(memcmp(group, &mc_before_exit_guid, sizeof(*group)) == 0);
    firmware.before_exit = notify;
    *event = (EFI_EVENT)&firmware;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI close_event(EFI_EVENT event)
{
    (void)event;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI get_variable(CHAR16 *name, EFI_GUID *guid, UINT32 *attributes, UINTN *size,
                                      void *value)
{
    (void)name;
    (void)guid;
    (void)attributes;
    (void)size;
    (void)value;
    return EFI_NOT_FOUND;
}

static EFI_BOOT_SERVICES services = {
    .AllocatePages = allocate_pages,
    .FreePages = free_pages,
    .SetMem = set_memory,
    .AllocatePool = allocate_pool,
    .FreePool = free_pool,
    .CreateEvent = create_event,
    .CreateEventEx = (EFI_CREATE_EVENT_EX)create_event_ex,
    .CloseEvent = close_event,
};
static EFI_RUNTIME_SERVICES runtime = {.GetVariable = get_variable};
static EFI_SYSTEM_TABLE table = {.BootServices = &services, .RuntimeServices = &runtime};

/* ---- The tests ---- */

static bool is_in_pages(uint8_t byte)
{
    bool found = false;

    for (unsigned int i = 0; i < NB_PAGES; i++)
        found |= firmware.pages[i] && memchr(firmware.pages[i], byte, firmware.sizes[i]) != NULL;
    return found;
}

/* A disk that was attached, and read by a loader. */
static struct mc_handoff *set_up(bool encrypted)
{
    static const struct mc_disk_spec spec = {.image = "a.qcow2", .handoff = MC_HANDOFF_AUTO};
    static struct mc_image image;
    struct mc_handoff *handoff;
    struct q2_fault fault;
    EFI_EVENT read;

    memset(&firmware, 0, sizeof(firmware));
    disk.nb_changes = 0x11;
    disk.stopped = false;
    disk.encrypted = encrypted;
    delivered_size = 0;
    said[0] = '\0';
    mc_firmware.SystemTable = &table;
    mc_firmware.BootServices = &services;
    mc_handoff_start();
    T_CHECK_U64(mc_handoff_add(&image, &spec, &fault, &read, &handoff), Q2_OK);
    if (firmware.read)
        firmware.read(NULL, firmware.read_context);
    return handoff;
}

static void tear_down(struct mc_handoff *handoff)
{
    mc_handoff_remove(handoff);
    mc_handoff_stop();
}

static bool has(uint8_t byte)
{
    return memchr(delivered, byte, delivered_size) != NULL;
}

static void test_handoff_a_disk_that_stops_at_exit_is_looked_at_before(void)
{
    struct mc_handoff *handoff = set_up(false);

    disk.nb_changes = 0x12; /* a file became longer after the disk was attached */
    if (T_CHECK(firmware.before_exit != NULL))
        firmware.before_exit(NULL, NULL);
    disk.stopped = true;
    firmware.exit(NULL, NULL);
    T_CHECK(delivered_size > 0);
    T_CHECK(has(0x12));
    T_CHECK(!has(0x11));
    tear_down(handoff);
}

/* Older firmware does not tell before; the running system judges what it gets. */
static void test_handoff_of_old_firmware_the_last_archive_is_given(void)
{
    struct mc_handoff *handoff = set_up(false);

    disk.stopped = true;
    firmware.exit(NULL, NULL);
    T_CHECK(has(0x11));
    tear_down(handoff);
}

static void test_handoff_a_disk_that_works_is_looked_at_when_it_is_delivered(void)
{
    struct mc_handoff *handoff = set_up(false);

    disk.nb_changes = 0x13;
    deliver(the_payload);
    T_CHECK(has(0x13));
    T_CHECK_U64(published[0], 0x13);
    tear_down(handoff);
}

static void test_handoff_keys_are_delivered_and_not_published(void)
{
    struct mc_handoff *handoff = set_up(true);

    deliver(the_payload);
    T_CHECK(has(SECRET));
    T_CHECK(memchr(published, SECRET, sizeof(published)) == NULL);
    tear_down(handoff); /* free_pages() looks for the key */
}

static void test_handoff_keys_end_with_boot_services(void)
{
    struct mc_handoff *handoff = set_up(true);

    T_CHECK(is_in_pages(SECRET));
    firmware.before_exit(NULL, NULL);
    disk.stopped = true;
    firmware.exit(NULL, NULL);
    T_CHECK(has(SECRET));
    T_CHECK(!is_in_pages(SECRET));
    /* Boot services go on, and another loader comes. */
    disk.stopped = false;
    firmware.before_exit(NULL, NULL);
    deliver(the_payload);
    T_CHECK_U64(delivered_size, 0);
    T_CHECK(strstr(said, "attach it again") != NULL);
    tear_down(handoff);
}

int main(void)
{
    T_RUN(test_handoff_a_disk_that_stops_at_exit_is_looked_at_before);
    T_RUN(test_handoff_of_old_firmware_the_last_archive_is_given);
    T_RUN(test_handoff_a_disk_that_works_is_looked_at_when_it_is_delivered);
    T_RUN(test_handoff_keys_are_delivered_and_not_published);
    T_RUN(test_handoff_keys_end_with_boot_services);
    return t_done();
}
