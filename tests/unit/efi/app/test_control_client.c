/* Finding or starting the driver (efi/app/control_client.c), over a firmware that is made here: it
 * has no driver, one of our version, or an older one, which may refuse to be unloaded. */
#include "efi/app/control_client.h"

#include "efi/app/embedded_driver.h"
#include "efi/base/firmware.h"
#include "tests/support/t.h"

const uint8_t mc_embedded_driver[1] = {'M'};

size_t mc_embedded_driver_size(void)
{
    return sizeof(mc_embedded_driver);
}

EFI_GUID mc_control_guid, mc_loaded_image_path_guid;
struct mc_firmware mc_firmware;

static struct mc_control old = {.Version = MC_CONTROL_VERSION - 1};
static struct mc_control own = {.Version = MC_CONTROL_VERSION};
static int old_image, own_image;

static struct {
    struct mc_control *control; /* the driver that is there; NULL: none */
    bool refuses_unload;
    unsigned nb_loaded, nb_unloaded;
} fw;

void *mc_protocol_anywhere(EFI_GUID *guid)
{
    T_CHECK(guid == &mc_control_guid);
    return fw.control;
}

void *mc_protocol(EFI_HANDLE handle, EFI_GUID *guid)
{
    (void)guid;
    return handle;
}

EFI_HANDLE *mc_handles(EFI_GUID *guid, UINTN *ret_nb)
{
    static EFI_HANDLE handles[] = {&old_image};

    T_CHECK(guid == &mc_control_guid);
    *ret_nb = fw.control ? 1 : 0;
    return fw.control ? handles : NULL;
}

void mc_free(void *memory)
{
    (void)memory;
}

static EFI_STATUS EFIAPI load_image(BOOLEAN BootPolicy, EFI_HANDLE Parent, EFI_DEVICE_PATH *Path,
                                    VOID *Source, UINTN Size, EFI_HANDLE *Image)
{
    (void)BootPolicy;
    (void)Parent;
    (void)Path;
    T_CHECK(Source == (VOID *)(uintptr_t)mc_embedded_driver && Size == 1);
    fw.nb_loaded++;
    *Image = &own_image;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI start_image(EFI_HANDLE Image, UINTN *Size, CHAR16 **Data)
{
    (void)Size;
    (void)Data;
    T_CHECK(Image == &own_image && !fw.control);
    fw.control = &own;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI unload_image(EFI_HANDLE Image)
{
    T_CHECK(Image == &old_image || Image == &own_image);
    if (fw.refuses_unload)
        return EFI_ACCESS_DENIED;
    fw.nb_unloaded++;
    fw.control = NULL;
    return EFI_SUCCESS;
}

static EFI_BOOT_SERVICES services = {
    .LoadImage = load_image, .StartImage = start_image, .UnloadImage = unload_image};

static void begin(struct mc_control *control)
{
    memset(&fw, 0, sizeof(fw));
    fw.control = control;
    mc_firmware.BootServices = &services;
}

static void test_client_finds_or_starts_the_driver(void)
{
    struct mc_client client;
    struct q2_fault fault;

    begin(NULL);
    T_CHECK_U64(mc_client_open(&client, false, &fault), Q2_ERR_NOT_FOUND);
    T_CHECK_U64(mc_client_open(&client, true, &fault), Q2_OK);
    T_CHECK(client.control == &own && client.driver == &own_image);
    mc_client_unload(&client);
    T_CHECK_U64(fw.nb_unloaded, 1);

    begin(&own);
    T_CHECK_U64(mc_client_open(&client, true, &fault), Q2_OK);
    T_CHECK_U64(mc_client_replace(&client, &fault), Q2_OK);
    T_CHECK(client.control == &own && !client.driver);
    T_CHECK_U64(fw.nb_loaded + fw.nb_unloaded, 0);
}

/* What was installed stays on its stick when the application is replaced by a newer one. */
static void test_client_replaces_a_driver_of_another_version_only_if_asked(void)
{
    struct mc_client client;
    struct q2_fault fault;

    begin(&old);
    T_CHECK_U64(mc_client_open(&client, true, &fault), Q2_ERR_VERSION);
    T_CHECK_U64(fw.nb_loaded + fw.nb_unloaded, 0);
    T_CHECK_U64(mc_client_replace(&client, &fault), Q2_OK);
    T_CHECK(client.control == &own && client.driver == &own_image);

    begin(&old);
    fw.refuses_unload = true;
    T_CHECK_U64(mc_client_replace(&client, &fault), Q2_ERR_VERSION);
    T_CHECK_U64(fw.nb_loaded, 0);
}

int main(void)
{
    T_RUN(test_client_finds_or_starts_the_driver);
    T_RUN(test_client_replaces_a_driver_of_another_version_only_if_asked);
    return t_done();
}
