/* Starting entries over a driver that is made here: who has to give way to an entry that somebody
 * starts, and how long the firmware's watchdog waits meanwhile. */
#include "efi/app/start.h"

#include <stdlib.h>

#include "efi/app/boot.h"
#include "efi/app/last_entry.h"
#include "efi/app/menu_console.h"
#include "efi/app/menu_run.h"
#include "efi/app/ramdisk.h"
#include "efi/base/firmware.h"
#include "tests/support/t.h"

#define NEVER     UINT64_MAX /* a watchdog that nobody has set */
#define MAX_DISKS 8u

static int volume, other_volume, disk_handle;

static struct {
    struct mc_disk_record disks[MAX_DISKS];
    size_t nb_disks;
    uint32_t next_number;
    uint32_t contested[MAX_DISKS]; /* numbers of disks whose files the entry needs */
    size_t nb_contested;
    uint32_t kept;        /* a disk that cannot be detached; 0: none */
    unsigned nb_attached; /* disks that were attached for the entry */
    unsigned nb_started, nb_connected;
    bool may_replace;                                  /* a driver of another version */
    uint64_t watchdog, while_attaching, while_running; /* seconds */
    EFI_STATUS loader;                                 /* what it returns */
} fw;

/* --- the driver ------------------------------------------------------------------------------- */

static bool has_disk(uint32_t number)
{
    for (size_t i = 0; i < fw.nb_disks; i++) {
        if (fw.disks[i].number == number)
            return true;
    }
    return false;
}

static void add_disk(EFI_HANDLE of, enum mc_mode mode, bool by_itself)
{
    fw.disks[fw.nb_disks++] = (struct mc_disk_record){.number = fw.next_number++,
                                                      .handle = &disk_handle,
                                                      .volume = of,
                                                      .mode = mode,
                                                      .is_by_itself = by_itself};
}

static EFI_STATUS EFIAPI attach(struct mc_control *This, EFI_HANDLE Volume,
                                const struct mc_disk_spec *Spec, CHAR8 *Message, UINT32 *RetNumber)
{
    (void)This;
    fw.while_attaching = fw.watchdog;
    for (size_t i = 0; i < fw.nb_contested; i++) {
        if (!has_disk(fw.contested[i]))
            continue;
        (void)strcpy((char *)Message, "attached already");
        return EFI_ACCESS_DENIED;
    }
    Message[0] = '\0';
    *RetNumber = fw.next_number;
    add_disk(Volume, Spec->mode, false);
    fw.nb_attached++;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI detach(struct mc_control *This, UINT32 Number, CHAR8 *Message)
{
    size_t i = 0;

    (void)This;
    Message[0] = '\0';
    while (i < fw.nb_disks && fw.disks[i].number != Number)
        i++;
    if (i == fw.nb_disks || Number == fw.kept)
        return EFI_NOT_FOUND;
    fw.nb_disks--;
    for (; i < fw.nb_disks; i++)
        fw.disks[i] = fw.disks[i + 1];
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI get(struct mc_control *This, UINTN Index, struct mc_disk_record *RetRecord)
{
    (void)This;
    if (Index >= fw.nb_disks)
        return EFI_NOT_FOUND;
    *RetRecord = fw.disks[Index];
    return EFI_SUCCESS;
}

static struct mc_control control = {.Attach = attach, .Detach = detach, .Get = get};

enum q2_status mc_client_open(struct mc_client *client, bool load, struct q2_fault *fault)
{
    (void)load;
    (void)fault;
    *client = (struct mc_client){.control = &control};
    return Q2_OK;
}

enum q2_status mc_client_replace(struct mc_client *client, struct q2_fault *fault)
{
    fw.may_replace = true;
    return mc_client_open(client, true, fault);
}

void mc_client_unload(struct mc_client *client)
{
    (void)client;
}

bool mc_session_get(struct mc_session *session, UINTN index)
{
    return !EFI_ERROR(get(&control, index, &session->record));
}

bool mc_session_find(struct mc_session *session, uint32_t number)
{
    for (UINTN i = 0; mc_session_get(session, i); i++) {
        if (session->record.number == number)
            return true;
    }
    return false;
}

/* --- what a disk is started by ---------------------------------------------------------------- */

void mc_connect_disk(EFI_HANDLE disk)
{
    T_CHECK(disk == &disk_handle);
}

enum q2_status mc_find_on_disk(EFI_HANDLE disk, const char *path, struct q2_fault *fault,
                               EFI_HANDLE *ret_volume)
{
    (void)path;
    (void)fault;
    *ret_volume = disk;
    return Q2_OK;
}

enum q2_status mc_find_loaders(EFI_HANDLE disk, struct q2_fault *fault,
                               struct mc_loaders *ret_loaders)
{
    (void)fault;
    ret_loaders->nb = 1;
    ret_loaders->list[0].volume = disk;
    (void)strcpy(ret_loaders->list[0].path, "/loader.efi");
    return Q2_OK;
}

enum q2_status mc_boot(EFI_HANDLE from, const char *path, struct q2_fault *fault,
                       EFI_STATUS *ret_status)
{
    (void)from;
    (void)path;
    (void)fault;
    fw.nb_started++;
    fw.while_running = fw.watchdog;
    *ret_status = fw.loader;
    return Q2_OK;
}

void mc_last_entry_set(const char *id)
{
    (void)id;
}

/* --- RAM disks: none -------------------------------------------------------------------------- */

enum q2_status mc_ramdisk_check(const char *image, struct q2_fault *fault)
{
    (void)image;
    (void)fault;
    return Q2_OK;
}

enum q2_status mc_ramdisk_fill(struct mc_ramdisk *ramdisk, EFI_HANDLE disk, const char *image,
                               struct q2_fault *fault)
{
    (void)ramdisk;
    (void)disk;
    (void)image;
    (void)fault;
    fw.while_attaching = fw.watchdog;
    return Q2_OK;
}

enum q2_status mc_ramdisk_register(struct mc_ramdisk *ramdisk, const char *image,
                                   struct q2_fault *fault, EFI_HANDLE *ret_handle)
{
    (void)ramdisk;
    (void)image;
    (void)fault;
    *ret_handle = &disk_handle;
    return Q2_OK;
}

void mc_ramdisk_free(struct mc_ramdisk *ramdisk)
{
    (void)ramdisk;
}

/* --- the menu, in which somebody presses Esc -------------------------------------------------- */

static struct mc_menu_console menu_console;

enum q2_status mc_menu_console_open(struct q2_fault *fault, struct mc_menu_console **ret_console)
{
    (void)fault;
    *ret_console = &menu_console;
    return Q2_OK;
}

void mc_menu_console_show(struct mc_menu_console *console, const struct mc_menu *menu)
{
    (void)console;
    (void)menu;
    T_CHECK_U64(fw.watchdog, 0);
}

enum mc_menu_event mc_menu_console_wait(struct mc_menu_console *console, struct mc_key *ret_key)
{
    (void)console;
    *ret_key = (struct mc_key){.scan_code = MC_SCAN_ESCAPE};
    return MC_EVENT_KEY;
}

void mc_menu_console_close(struct mc_menu_console *console)
{
    (void)console;
}

enum q2_status mc_image_open(EFI_HANDLE from, const struct mc_disk_spec *spec, bool metadata_only,
                             struct q2_fault *fault, struct mc_image **ret_image)
{
    (void)from;
    (void)spec;
    (void)metadata_only;
    (void)fault;
    (void)ret_image;
    return Q2_ERR_NOT_FOUND;
}

void mc_image_close(struct mc_image *image)
{
    (void)image;
}

/* --- boot services ---------------------------------------------------------------------------- */

static EFI_STATUS EFIAPI set_watchdog(UINTN seconds, UINT64 code, UINTN size, CHAR16 *data)
{
    (void)code;
    (void)size;
    (void)data;
    fw.watchdog = seconds;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI connect_controller(EFI_HANDLE controller, EFI_HANDLE *driver,
                                            EFI_DEVICE_PATH *path, BOOLEAN recursive)
{
    (void)driver;
    (void)path;
    (void)recursive;
    T_CHECK(controller == &volume);
    fw.nb_connected++;
    return EFI_SUCCESS;
}

static struct mc_session session;
static struct mc_entry entry;

static void begin(bool from_shell)
{
    static EFI_BOOT_SERVICES services = {.SetWatchdogTimer = set_watchdog,
                                         .ConnectController = connect_controller};
    static EFI_SYSTEM_TABLE table = {.BootServices = &services};

    memset(&fw, 0, sizeof(fw));
    memset(&session, 0, sizeof(session));
    memset(&entry, 0, sizeof(entry));
    fw.next_number = 1;
    fw.watchdog = NEVER;
    session.from_shell = from_shell;
    mc_spec_init(&entry.spec);
    entry.spec.image = "/a.qcow2";
    entry.spec.mode = MC_MODE_READ_WRITE;
    mc_firmware_init(NULL, &table);
}

static EFI_STATUS start(void)
{
    return mc_start_entry(&session, &volume, &entry, &entry.spec, false);
}

/* --- cases ------------------------------------------------------------------------------------ */

/* The boot manager gives an option five minutes. Comparing sums, or filling a RAM disk, may need
 * more; the loader gets all of them. */
static void test_start_the_watchdog_waits_for_attaching_and_is_set_for_the_loader(void)
{
    begin(false);
    fw.watchdog = 300;
    T_CHECK_U64(start(), EFI_SUCCESS);
    T_CHECK_U64(fw.while_attaching, 0);
    T_CHECK_U64(fw.while_running, 300);
    T_CHECK_U64(fw.watchdog, 0);
    T_CHECK(fw.may_replace);

    begin(false);
    fw.watchdog = 300;
    entry.spec.mode = MC_MODE_READ_ONLY;
    entry.spec.handoff = MC_HANDOFF_RAMDISK;
    T_CHECK_U64(start(), EFI_SUCCESS);
    T_CHECK_U64(fw.while_attaching, 0);
    T_CHECK_U64(fw.while_running, 300);
}

/* The shell runs without a watchdog. One that is set would reset the machine under whoever works
 * there. */
static void test_start_from_the_shell_sets_no_watchdog(void)
{
    struct mc_entry *sorted[] = {&entry};
    static struct mc_entries entries;
    static struct mc_menu menu;
    bool by_hand;

    begin(true);
    T_CHECK_U64(start(), EFI_SUCCESS);
    T_CHECK_U64(fw.while_running, 0);
    T_CHECK_U64(fw.watchdog, 0);
    T_CHECK(!fw.may_replace);

    entries.nb = 1;
    entries.sorted[0] = sorted[0];
    mc_menu_init(&menu, &entries, &entry, 0);
    T_CHECK(mc_menu_run(&session, &menu, &volume, NULL, &by_hand) == MC_MENU_LEAVE);
    T_CHECK_U64(fw.watchdog, 0);
}

/* With an installed driver, and the application on the same stick, both want the same image. */
static void test_start_disks_that_the_driver_attached_by_itself_give_way(void)
{
    begin(false);
    add_disk(&volume, MC_MODE_READ_WRITE, true);
    add_disk(&volume, MC_MODE_OVERLAY, true); /* of the same image: rw contests it */
    fw.contested[0] = 1;
    fw.contested[1] = 2;
    fw.nb_contested = 2;
    T_CHECK_U64(start(), EFI_SUCCESS);
    T_CHECK_U64(fw.nb_started, 1);
    T_CHECK_U64(fw.nb_disks, 0);
    T_CHECK_U64(fw.nb_connected, 1); /* so the driver attaches them again */

    /* A disk that writes contests an entry that only reads, too. */
    begin(false);
    add_disk(&volume, MC_MODE_READ_ONLY, true);
    add_disk(&volume, MC_MODE_READ_WRITE, true);
    fw.contested[0] = 2;
    fw.nb_contested = 1;
    entry.spec.mode = MC_MODE_OVERLAY;
    T_CHECK_U64(start(), EFI_SUCCESS);
    T_CHECK_U64(fw.nb_started, 1);
    T_CHECK(has_disk(1) && !has_disk(2));
}

/* Two disks with the same partitions: a loader could find its files on the other one, and a system
 * would get that. */
static void test_start_no_other_disk_of_the_same_image_is_there(void)
{
    begin(false);
    entry.spec.mode = MC_MODE_OVERLAY;
    add_disk(&volume, MC_MODE_READ_ONLY, true);
    add_disk(&volume, MC_MODE_READ_ONLY, true);
    add_disk(&volume, MC_MODE_READ_ONLY, false);
    (void)strcpy((char *)fw.disks[1].image, "/a.qcow2");
    (void)strcpy((char *)fw.disks[2].image, "/a.qcow2");
    T_CHECK_U64(start(), EFI_SUCCESS);
    T_CHECK(has_disk(1) && !has_disk(2) && has_disk(3));
    T_CHECK_U64(fw.nb_connected, 1);

    /* One that the firmware keeps is no reason not to start. */
    begin(false);
    entry.spec.mode = MC_MODE_OVERLAY;
    add_disk(&volume, MC_MODE_READ_ONLY, true);
    (void)strcpy((char *)fw.disks[0].image, "/a.qcow2");
    fw.kept = 1;
    T_CHECK_U64(start(), EFI_SUCCESS);
    T_CHECK_U64(fw.nb_started, 1);
}

static void test_start_other_disks_stay_and_what_is_refused_is_said(void)
{
    static const struct {
        const char *name;
        EFI_HANDLE of;
        bool by_itself;
        uint32_t kept;
    } rows[] = {
        {"somebody attached it", &volume, false, 0},
        {"it is of another volume", &other_volume, true, 0},
        {"the firmware does not let go of it", &volume, true, 1},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].name);
        begin(false);
        add_disk(rows[i].of, MC_MODE_READ_WRITE, rows[i].by_itself);
        fw.contested[0] = 1;
        fw.nb_contested = 1;
        fw.kept = rows[i].kept;
        T_CHECK_U64(start(), EFI_ACCESS_DENIED);
        T_CHECK_STR(session.message, "attached already");
        T_CHECK_U64(fw.nb_started, 0);
        T_CHECK(has_disk(1));
    }
    t_row("nothing contests it");
    begin(false);
    add_disk(&volume, MC_MODE_READ_WRITE, true);
    T_CHECK_U64(start(), EFI_SUCCESS);
    T_CHECK(has_disk(1));
    T_CHECK_U64(fw.nb_connected, 0);
}

int main(void)
{
    T_RUN(test_start_the_watchdog_waits_for_attaching_and_is_set_for_the_loader);
    T_RUN(test_start_from_the_shell_sets_no_watchdog);
    T_RUN(test_start_disks_that_the_driver_attached_by_itself_give_way);
    T_RUN(test_start_no_other_disk_of_the_same_image_is_there);
    T_RUN(test_start_other_disks_stay_and_what_is_refused_is_said);
    return t_done();
}
