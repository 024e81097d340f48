/* Every status of the driver model's functions, for every combination of arguments: Component Name
 * 2 and Driver Diagnostics 2; and Stop() with children that are not the controller's.
 * (UEFI 2.10, 11.1, 11.4 and 11.5: "Status Codes Returned")
 *
 * Against mocked boot services (mock.h). The first rule that holds decides, and a call that is
 * refused writes nothing.
 */
#include "mock.h"

#include "efi/base/firmware.h"
#include "efi/driver/binding.h"
#include "efi/driver/component_name.h"
#include "efi/driver/control_server.h"
#include "efi/driver/unload.h"

#define STRANGER  ((EFI_HANDLE)0x77)
#define NB(array) (sizeof(array) / sizeof((array)[0]))

/* Both volumes are held and have one disk each. The first disk has a title, the other has none. */
static EFI_HANDLE disks[NB_VOLUMES];

static void begin(void)
{
    mock_begin();
    mock_add_entry(0, "one", "image /a\nformat raw\ntitle First\n");
    mock_add_entry(1, "two", "image /b\nformat raw\n");
    T_CHECK_U64(mc_binding_install(MOCK_IMAGE), EFI_SUCCESS);
    T_CHECK_U64(mc_control_install(MOCK_IMAGE), EFI_SUCCESS);
    for (size_t i = 0; i < NB_VOLUMES; i++) {
        T_CHECK_U64(fw.binding->Start(fw.binding, &volumes[i], NULL), EFI_SUCCESS);
        disks[i] = NULL;
    }
    for (struct mc_disk *disk = mc_registry_first(); disk; disk = mc_registry_next(disk))
        disks[disk->published.volume == (EFI_HANDLE)&volumes[1]] = disk->published.handle;
    T_CHECK(disks[0] && disks[1]);
}

static void end(void)
{
    T_CHECK_U64(mc_unload(MOCK_IMAGE), EFI_SUCCESS);
    mock_check_nothing_left();
}

static const struct {
    const char *text; /* NULL: no language */
    bool is_ours;
} languages[] = {
    {NULL, false}, {"", false},    {"e", false},  {"en", true},   {"en-US", true},
    {"en-", true}, {"eng", false}, {"fr", false}, {"-en", false}, {"e-n", false},
};

/* What a controller or a child is. */
enum which {
    NOTHING,
    FIRST_VOLUME,
    OTHER_VOLUME,
    FIRST_DISK,
    OTHER_DISK,
    SOMETHING_ELSE,
    NB_WHICH,
};

static EFI_HANDLE handle_of(enum which which)
{
    switch (which) {
    case FIRST_VOLUME:
        return &volumes[0];
    case OTHER_VOLUME:
        return &volumes[1];
    case FIRST_DISK:
        return disks[0];
    case OTHER_DISK:
        return disks[1];
    case SOMETHING_ELSE:
        return STRANGER;
    case NOTHING:
    case NB_WHICH:
    default:
        return NULL;
    }
}

static bool is_volume(enum which which)
{
    return which == FIRST_VOLUME || which == OTHER_VOLUME;
}

/* Without a child the volume itself is meant. */
static bool is_child_of(enum which child, enum which controller)
{
    return child == NOTHING || (child == FIRST_DISK && controller == FIRST_VOLUME) ||
           (child == OTHER_DISK && controller == OTHER_VOLUME);
}

static void test_every_status_of_the_driver_name(void)
{
    begin();
    for (size_t i = 0; i < NB(languages); i++) {
        for (int has_name = 0; has_name < 2; has_name++) {
            CHAR16 *name = NULL;
            EFI_STATUS want = !languages[i].text || !has_name ? EFI_INVALID_PARAMETER
                              : languages[i].is_ours          ? EFI_SUCCESS
                                                              : EFI_UNSUPPORTED;
            t_row(languages[i].text ? languages[i].text : "no language");
            T_CHECK_U64(mc_component_name2.GetDriverName(&mc_component_name2,
                                                         (CHAR8 *)(uintptr_t)languages[i].text,
                                                         has_name ? &name : NULL),
                        want);
            T_CHECK((name != NULL) == (want == EFI_SUCCESS));
        }
    }
    t_row("");
    end();
}

static EFI_STATUS name_status(enum which controller, enum which child, size_t language,
                              bool has_name)
{
    if (controller == NOTHING || !languages[language].text || !has_name)
        return EFI_INVALID_PARAMETER;
    if (!languages[language].is_ours || !is_volume(controller) || !is_child_of(child, controller))
        return EFI_UNSUPPORTED;
    return EFI_SUCCESS;
}

static void check_name(enum which controller, enum which child, size_t language, bool has_name)
{
    CHAR16 *name = NULL;
    EFI_STATUS want = name_status(controller, child, language, has_name);

    T_CHECK_U64(mc_component_name2.GetControllerName(
                    &mc_component_name2, handle_of(controller), handle_of(child),
                    (CHAR8 *)(uintptr_t)languages[language].text, has_name ? &name : NULL),
                want);
    T_CHECK((name != NULL) == (want == EFI_SUCCESS));
    if (name && child == FIRST_DISK)
        T_CHECK(name[0] == 'F' && name[5] == 0);
}

static void test_every_status_of_controller_names(void)
{
    begin();
    for (int controller = 0; controller < NB_WHICH; controller++) {
        for (int child = 0; child < NB_WHICH; child++) {
            for (size_t language = 0; language < NB(languages); language++) {
                for (int has_name = 0; has_name < 2; has_name++)
                    check_name((enum which)controller, (enum which)child, language, has_name);
            }
        }
    }
    end();
}

/* Which of the three results has no place to go to. */
enum missing {
    NO_TYPE,
    NO_SIZE,
    NO_BUFFER,
    NONE,
    NB_MISSING,
};
static const EFI_TPL tpls[] = {TPL_APPLICATION, TPL_CALLBACK, TPL_NOTIFY};
static const MC_DIAGNOSTICS_TYPE types[] = {MC_DIAGNOSTICS_STANDARD, MC_DIAGNOSTICS_EXTENDED,
                                            MC_DIAGNOSTICS_MANUFACTURING, MC_DIAGNOSTICS_CANCEL,
                                            (MC_DIAGNOSTICS_TYPE)4};

struct request {
    enum which controller, child;
    size_t language, type, tpl;
    enum missing missing;
};

static EFI_STATUS diagnostics_status(const struct request *request)
{
    if (request->controller == NOTHING || !languages[request->language].text ||
        request->missing != NONE)
        return EFI_INVALID_PARAMETER;
    if (types[request->type] != MC_DIAGNOSTICS_STANDARD || !languages[request->language].is_ours ||
        !is_volume(request->controller) || !is_child_of(request->child, request->controller))
        return EFI_UNSUPPORTED;
    return tpls[request->tpl] > TPL_APPLICATION ? EFI_NOT_READY : EFI_SUCCESS;
}

static void check_diagnostics(const struct request *request)
{
    EFI_GUID *type = NULL;
    UINTN size = 0;
    CHAR16 *buffer = NULL;
    EFI_STATUS want = diagnostics_status(request), status;

    fw.tpl = tpls[request->tpl];
    status = fw.diagnostics->RunDiagnostics(
        fw.diagnostics, handle_of(request->controller), handle_of(request->child),
        types[request->type], (CHAR8 *)(uintptr_t)languages[request->language].text,
        request->missing == NO_TYPE ? NULL : &type, request->missing == NO_SIZE ? NULL : &size,
        request->missing == NO_BUFFER ? NULL : &buffer);
    T_CHECK_U64(fw.tpl, tpls[request->tpl]);
    fw.tpl = TPL_APPLICATION;
    T_CHECK_U64(status, want);
    T_CHECK((type && buffer && size > 0) == (want == EFI_SUCCESS));
    T_CHECK((type || buffer || size > 0) == (want == EFI_SUCCESS));
    mc_free(buffer);
}

/* All handles with all languages; then what else can be wrong, each with every other. */
static void test_every_status_of_diagnostics(void)
{
    struct request request;

    begin();
    for (size_t i = 0; i < (size_t)NB_WHICH * NB_WHICH * NB(languages) * NB_MISSING; i++) {
        request = (struct request){.controller = (enum which)(i % NB_WHICH),
                                   .child = (enum which)(i / NB_WHICH % NB_WHICH),
                                   .language = i / (NB_WHICH * NB_WHICH) % NB(languages)};
        request.missing = (enum missing)(i / (NB_WHICH * NB_WHICH * NB(languages)));
        for (size_t j = 0; j < NB(types) * NB(tpls); j++) {
            request.type = j % NB(types);
            request.tpl = j / NB(types);
            check_diagnostics(&request);
        }
    }
    end();
}

/* A child of another controller stays, and the call does not say that it was stopped. */
static void test_stop_leaves_the_children_of_others(void)
{
    begin();
    T_CHECK_U64(fw.binding->Stop(fw.binding, &volumes[0], 1, &disks[1]), EFI_DEVICE_ERROR);
    T_CHECK(mc_registry_find_handle(disks[0]) && mc_registry_find_handle(disks[1]));
    T_CHECK_U64(fw.binding->Stop(fw.binding, &volumes[0], 2, disks), EFI_DEVICE_ERROR);
    T_CHECK(!mc_registry_find_handle(disks[0]) && mc_registry_find_handle(disks[1]));
    T_CHECK_U64(fw.binding->Stop(fw.binding, &volumes[1], 1, &disks[1]), EFI_SUCCESS);
    end();
}

int main(void)
{
    T_RUN(test_every_status_of_the_driver_name);
    T_RUN(test_every_status_of_controller_names);
    T_RUN(test_every_status_of_diagnostics);
    T_RUN(test_stop_leaves_the_children_of_others);
    return t_done();
}
