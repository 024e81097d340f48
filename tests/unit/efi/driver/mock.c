/* The mocked firmware: mock.h. */
#include "mock.h"

#include <stdlib.h>

#include "drivers/memory/source.h"
#include "efi/base/firmware.h"
#include "efi/handoff/handoff.h"
#include "efi/place/place.h"
#include "q2_fail.h"

struct mock_firmware fw;
struct mock_volume volumes[NB_VOLUMES];

static void dispatch(void);

void mock_let_in(void)
{
    dispatch();
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

static void wrong_in_exit(const char *what)
{
    if (fw.exiting && !fw.wrong_in_exit)
        fw.wrong_in_exit = what;
}

/* --- TPL and memory --- */

static EFI_TPL EFIAPI raise_tpl(EFI_TPL tpl)
{
    EFI_TPL old = fw.tpl;

    T_CHECK(tpl >= old);
    fw.tpl = tpl;
    return old;
}

static VOID EFIAPI restore_tpl(EFI_TPL tpl)
{
    T_CHECK(tpl <= fw.tpl);
    fw.tpl = tpl;
    mock_let_in();
}

/* Is this the call for memory or an event that fails? */
static bool is_refused(void)
{
    return ++fw.nb_gotten == fw.fail_to_get;
}

static EFI_STATUS EFIAPI allocate_pool(EFI_MEMORY_TYPE type, UINTN size, VOID **ret_memory)
{
    (void)type;
    wrong_in_exit("AllocatePool");
    if (is_refused())
        return EFI_OUT_OF_RESOURCES;
    *ret_memory = malloc(size);
    fw.nb_allocated++;
    mock_let_in();
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI free_pool(VOID *memory)
{
    wrong_in_exit("FreePool");
    free(memory);
    fw.nb_allocated--;
    mock_let_in();
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI allocate_pages(EFI_ALLOCATE_TYPE type, EFI_MEMORY_TYPE memory_type,
                                        UINTN nb_pages, EFI_PHYSICAL_ADDRESS *ret_address)
{
    (void)type;
    (void)memory_type;
    wrong_in_exit("AllocatePages");
    if (is_refused())
        return EFI_OUT_OF_RESOURCES;
    *ret_address = (uintptr_t)aligned_alloc(4096, nb_pages * 4096);
    fw.nb_allocated++;
    mock_let_in();
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI free_pages(EFI_PHYSICAL_ADDRESS address, UINTN nb_pages)
{
    (void)nb_pages;
    wrong_in_exit("FreePages");
    free((void *)(uintptr_t)address);
    fw.nb_allocated--;
    mock_let_in();
    return EFI_SUCCESS;
}

static VOID EFIAPI set_mem(VOID *memory, UINTN size, UINT8 value)
{
    memset(memory, value, size);
}

/* --- events --- */

#define MAX_EVENTS 256u

static struct event {
    bool exists, is_signalled, is_set;
    UINT32 type;
    EFI_TPL tpl;
    EFI_EVENT_NOTIFY notify;
    VOID *context;
} events[MAX_EVENTS];

static EFI_STATUS create(UINT32 type, EFI_TPL tpl, EFI_EVENT_NOTIFY notify, VOID *context,
                         EFI_EVENT *ret_event)
{
    if (is_refused())
        return EFI_OUT_OF_RESOURCES;
    for (size_t i = 0; i < MAX_EVENTS; i++) {
        if (events[i].exists)
            continue;
        events[i] = (struct event){
            .exists = true, .type = type, .tpl = tpl, .notify = notify, .context = context};
        *ret_event = &events[i];
        mock_let_in();
        return EFI_SUCCESS;
    }
    return EFI_OUT_OF_RESOURCES;
}

static EFI_STATUS EFIAPI create_event(UINT32 type, EFI_TPL tpl, EFI_EVENT_NOTIFY notify,
                                      VOID *context, EFI_EVENT *ret_event)
{
    return create(type, tpl, notify, context, ret_event);
}

/* Types of UEFI that have a bit of their own, and the group of before the end of boot services. */
#define TYPE_BEFORE_EXIT 0x10000u

static EFI_STATUS EFIAPI create_event_ex(UINT32 type, EFI_TPL tpl, EFI_EVENT_NOTIFY notify,
                                         const VOID *context, const EFI_GUID *group,
                                         EFI_EVENT *ret_event)
{
    (void)group;
    return create(type | TYPE_BEFORE_EXIT, tpl, notify, (VOID *)(uintptr_t)context, ret_event);
}

static EFI_STATUS EFIAPI signal_event(EFI_EVENT event)
{
    ((struct event *)event)->is_signalled = true;
    dispatch();
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI set_timer(EFI_EVENT event, EFI_TIMER_DELAY type, UINT64 time)
{
    (void)time;
    ((struct event *)event)->is_set = type != TimerCancel;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI close_event(EFI_EVENT event)
{
    *(struct event *)event = (struct event){.exists = false};
    mock_let_in();
    return EFI_SUCCESS;
}

/* Notify those that are signalled and whose TPL is above the present one. */
static void dispatch(void)
{
    for (size_t i = 0; i < MAX_EVENTS; i++) {
        struct event *event = &events[i];
        EFI_TPL tpl = fw.tpl;
        if (!event->exists || !event->is_signalled || event->tpl <= tpl || !event->notify)
            continue;
        event->is_signalled = false;
        fw.tpl = event->tpl;
        event->notify(event, event->context);
        fw.tpl = tpl;
        i = (size_t)-1; /* from the start: it may have signalled others */
    }
}

void mock_fire_timers(void)
{
    for (size_t i = 0; i < MAX_EVENTS; i++) {
        if (!events[i].exists || !events[i].is_set)
            continue;
        events[i].is_set = false;
        events[i].is_signalled = true;
    }
    dispatch();
}

void mock_exit_boot_services(void)
{
    fw.exiting = true;
    for (size_t i = 0; i < MAX_EVENTS; i++) {
        if (events[i].exists && ((events[i].type & TYPE_BEFORE_EXIT) != 0 ||
                                 events[i].type == EVT_SIGNAL_EXIT_BOOT_SERVICES))
            events[i].is_signalled = true;
    }
    dispatch();
    fw.exiting = false;
}

/* --- protocols --- */

#define MAX_OPENS     32u
#define MAX_INSTALLED 64u

static bool is_volume(EFI_HANDLE handle, size_t *ret_index)
{
    *ret_index = (size_t)((struct mock_volume *)handle - volumes);
    return (struct mock_volume *)handle >= volumes && *ret_index < NB_VOLUMES;
}

/* What is open BY_DRIVER or BY_CHILD_CONTROLLER: CloseProtocol() must name the same. */
static struct open {
    EFI_HANDLE handle, agent, controller;
    EFI_GUID *guid;
} opens[MAX_OPENS];

static struct open *find_open(const struct open *wanted)
{
    for (size_t i = 0; i < MAX_OPENS; i++) {
        if (memcmp(&opens[i], wanted, sizeof(*wanted)) == 0)
            return &opens[i];
    }
    return NULL;
}

static void note_open(const struct open *made)
{
    struct open *slot = find_open(&(struct open){.handle = NULL});

    T_CHECK(made->agent == MOCK_IMAGE);
    T_CHECK(made->guid == &mc_file_system_guid);
    T_CHECK(made->controller == made->handle ||
            mock_interface(made->controller, &mc_block_io_guid));
    if (T_CHECK(slot != NULL))
        *slot = *made;
}

static EFI_STATUS EFIAPI open_protocol(EFI_HANDLE handle, EFI_GUID *guid, VOID **interface,
                                       EFI_HANDLE agent, EFI_HANDLE controller, UINT32 attributes)
{
    EFI_STATUS status = EFI_SUCCESS;
    size_t index;

    if (!is_volume(handle, &index) || (fw.no_device_path && guid == &mc_device_path_guid))
        status = EFI_UNSUPPORTED;
    else if (attributes == EFI_OPEN_PROTOCOL_BY_DRIVER && volumes[index].is_open)
        status = EFI_ALREADY_STARTED;
    else if (attributes == EFI_OPEN_PROTOCOL_BY_CHILD_CONTROLLER && fw.refuse_by_child > 0)
        status = EFI_ACCESS_DENIED;
    else if (attributes == EFI_OPEN_PROTOCOL_BY_DRIVER)
        volumes[index].is_open = true;
    else if (attributes == EFI_OPEN_PROTOCOL_BY_CHILD_CONTROLLER)
        fw.nb_open++;
    if (status == EFI_SUCCESS && attributes == EFI_OPEN_PROTOCOL_BY_DRIVER)
        fw.nb_opened_by_driver++;
    if (status == EFI_SUCCESS && (attributes == EFI_OPEN_PROTOCOL_BY_DRIVER ||
                                  attributes == EFI_OPEN_PROTOCOL_BY_CHILD_CONTROLLER))
        note_open(&(struct open){handle, agent, controller, guid});
    if (status == EFI_SUCCESS)
        *interface = handle;
    mock_let_in();
    return status;
}

static EFI_STATUS EFIAPI close_protocol(EFI_HANDLE handle, EFI_GUID *guid, EFI_HANDLE agent,
                                        EFI_HANDLE controller)
{
    struct open *open = find_open(&(struct open){handle, agent, controller, guid});
    size_t index;

    if (!T_CHECK(open != NULL))
        return EFI_NOT_FOUND;
    *open = (struct open){.handle = NULL};
    if (is_volume(handle, &index) && controller == handle)
        volumes[index].is_open = false;
    else
        fw.nb_open--;
    mock_let_in();
    return EFI_SUCCESS;
}

/* What disks have installed: Uninstall...() must name the same. */
static struct installed {
    EFI_HANDLE handle;
    EFI_GUID *guid;
    void *interface;
} installed[MAX_INSTALLED];

static struct installed *find_installed(EFI_HANDLE handle, const EFI_GUID *guid)
{
    for (size_t i = 0; i < MAX_INSTALLED; i++) {
        if (installed[i].handle == handle && installed[i].guid == guid)
            return &installed[i];
    }
    return NULL;
}

void *mock_interface(EFI_HANDLE handle, const EFI_GUID *guid)
{
    const struct installed *found = handle ? find_installed(handle, guid) : NULL;

    return found ? found->interface : NULL;
}

static void install_all(EFI_HANDLE handle, __builtin_ms_va_list list)
{
    EFI_GUID *guid;

    while ((guid = __builtin_va_arg(list, EFI_GUID *)) != NULL) {
        struct installed *slot = find_installed(NULL, NULL);
        T_CHECK(!mock_interface(handle, guid));
        if (T_CHECK(slot != NULL))
            *slot = (struct installed){handle, guid, __builtin_va_arg(list, void *)};
    }
}

static void uninstall_all(EFI_HANDLE handle, __builtin_ms_va_list list)
{
    EFI_GUID *guid;

    while ((guid = __builtin_va_arg(list, EFI_GUID *)) != NULL) {
        struct installed *slot = find_installed(handle, guid);
        void *interface = __builtin_va_arg(list, void *);
        if (T_CHECK(slot != NULL && slot->interface == interface))
            *slot = (struct installed){.handle = NULL};
    }
    for (size_t i = 0; i < MAX_INSTALLED; i++)
        T_CHECK(installed[i].handle != handle);
}

/* The driver's own protocols are found among the arguments. */
static EFI_STATUS EFIAPI install(EFI_HANDLE *handle, ...)
{
    static uintptr_t next = 0x1000;
    __builtin_ms_va_list list;

    if (*handle == MOCK_IMAGE) {
        EFI_GUID *guid;
        __builtin_ms_va_start(list, handle);
        while ((guid = __builtin_va_arg(list, EFI_GUID *)) != NULL) {
            void *interface = __builtin_va_arg(list, void *);
            fw.binding = guid == &mc_driver_binding_guid ? interface : fw.binding;
            fw.diagnostics = guid == &mc_driver_diagnostics2_guid ? interface : fw.diagnostics;
            fw.control = guid == &mc_control_guid ? interface : fw.control;
        }
        __builtin_ms_va_end(list);
        mock_let_in();
        return EFI_SUCCESS;
    }
    if (fw.refuse_install > 0) {
        mock_let_in();
        return EFI_OUT_OF_RESOURCES;
    }
    T_CHECK(*handle == NULL);
    *handle = (EFI_HANDLE)(next += 16);
    __builtin_ms_va_start(list, handle);
    install_all(*handle, list);
    __builtin_ms_va_end(list);
    fw.nb_installed++;
    mock_let_in();
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI uninstall(EFI_HANDLE handle, ...)
{
    __builtin_ms_va_list list;
    bool is_control;

    if (handle == MOCK_IMAGE) {
        __builtin_ms_va_start(list, handle);
        is_control = __builtin_va_arg(list, EFI_GUID *) == &mc_control_guid;
        __builtin_ms_va_end(list);
        mock_let_in();
        if (fw.refuse_driver_uninstall == (is_control ? 1u : 2u))
            return EFI_ACCESS_DENIED;
        if (is_control)
            fw.control = NULL;
        else
            fw.binding = NULL;
        return EFI_SUCCESS;
    }
    if (fw.refuse_uninstall > 0) {
        mock_let_in();
        return EFI_ACCESS_DENIED;
    }
    __builtin_ms_va_start(list, handle);
    uninstall_all(handle, list);
    __builtin_ms_va_end(list);
    fw.nb_installed--;
    mock_let_in();
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI reinstall(EFI_HANDLE handle, EFI_GUID *guid, VOID *old, VOID *new)
{
    wrong_in_exit("ReinstallProtocolInterface");
    T_CHECK(old == new);
    T_CHECK(mock_interface(handle, guid) == old);
    fw.nb_reinstalled++;
    if (guid == &mc_block_io_guid)
        fw.reinstalled = new;
    if (fw.on_reinstall)
        fw.on_reinstall();
    mock_let_in();
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI disconnect(EFI_HANDLE handle, EFI_HANDLE driver, EFI_HANDLE child)
{
    (void)driver;
    (void)child;
    T_CHECK(mock_interface(handle, &mc_block_io_guid) != NULL);
    mock_let_in();
    return fw.refuse_disconnect > 0 && (!fw.refuse_handle || fw.refuse_handle == handle)
               ? EFI_DEVICE_ERROR
               : EFI_SUCCESS;
}

static EFI_STATUS EFIAPI connect_controller(EFI_HANDLE handle, EFI_HANDLE *drivers,
                                            EFI_DEVICE_PATH *path, BOOLEAN recursive)
{
    (void)handle;
    (void)drivers;
    (void)path;
    (void)recursive;
    fw.nb_connected++;
    mock_let_in();
    return EFI_SUCCESS;
}

/* --- the console --- */

static EFI_STATUS EFIAPI output(SIMPLE_TEXT_OUTPUT_INTERFACE *This, CHAR16 *text)
{
    size_t used = strlen(fw.text);

    (void)This;
    wrong_in_exit("OutputString");
    for (; *text != 0 && used + 1 < sizeof(fw.text); text++)
        fw.text[used++] = *text < 0x80 ? (char)*text : '?';
    fw.text[used] = '\0';
    mock_let_in();
    return EFI_SUCCESS;
}

/* Keys that were typed before the prompt do not count: those of fw.typed wait for a reader that
 * waits for them. */
static bool waits;

static EFI_STATUS EFIAPI wait_for_event(UINTN nb, EFI_EVENT *event, UINTN *index)
{
    (void)nb;
    (void)event;
    *index = 0;
    waits = true;
    mock_let_in();
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI read_key(SIMPLE_INPUT_INTERFACE *This, EFI_INPUT_KEY *key)
{
    (void)This;
    if (!waits)
        return EFI_NOT_READY;
    waits = false;
    if (!fw.typed || *fw.typed == '\0')
        return EFI_DEVICE_ERROR;
    *key = (EFI_INPUT_KEY){.UnicodeChar = (CHAR16)*fw.typed++};
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI set_watchdog_timer(UINTN seconds, UINT64 code, UINTN size, CHAR16 *data)
{
    (void)seconds;
    (void)code;
    (void)size;
    (void)data;
    return EFI_SUCCESS;
}

static EFI_BOOT_SERVICES services;
static SIMPLE_INPUT_INTERFACE keys = {.ReadKeyStroke = read_key};
static SIMPLE_TEXT_OUTPUT_INTERFACE console = {.OutputString = output};
static EFI_SYSTEM_TABLE table = {
    .BootServices = &services, .ConOut = &console, .ConIn = &keys, .ConsoleInHandle = &keys};

/* --- volumes --- */

struct mock_place {
    struct q2_place place; /* first */
    struct mock_volume *volume;
};

struct open_file {
    struct q2_place_file file; /* first */
    struct q2_source_memory source;
    struct q2_source *elsewhere; /* NULL: the source above is the file's */
    struct mock_file *stored;
};

static unsigned int nb_places, nb_open_files;

static struct mock_file *find(struct mock_volume *volume, const char *path)
{
    for (size_t i = 0; i < volume->nb_files; i++) {
        if (strcmp(volume->files[i].path, path) == 0)
            return &volume->files[i];
    }
    return NULL;
}

static void close_place(struct q2_place *place)
{
    nb_places--;
    free(place);
    mock_let_in();
}

static enum q2_status open_file(struct q2_place *place, const char *path, bool writable,
                                struct q2_fault *fault, struct q2_place_file **ret_file)
{
    struct mock_place *own = (struct mock_place *)place;
    struct mock_file *stored = find(own->volume, path);
    struct open_file *file;

    mock_let_in();
    if (!stored)
        return q2_fail(fault, Q2_ERR_NOT_FOUND, NULL, path);
    file = calloc(1, sizeof(*file));
    file->stored = stored;
    q2_source_memory_init(&file->source, stored->bytes, stored->size, stored->size, writable,
                          stored->path);
    file->source.source.identity[0] = (uintptr_t)own->volume;
    file->source.source.identity[1] = (uintptr_t)stored->bytes;
    file->file = (struct q2_place_file){
        .place = place, .source = &file->source.source, .mapped_size = stored->size};
    file->elsewhere = fw.storage ? fw.storage->open(stored) : NULL;
    if (file->elsewhere)
        file->file.source = file->elsewhere;
    stored->nb_open++;
    nb_open_files++;
    *ret_file = &file->file;
    return Q2_OK;
}

static void close_file(struct q2_place_file *file)
{
    struct open_file *own = (struct open_file *)file;

    own->stored->nb_open--;
    nb_open_files--;
    free(file);
    mock_let_in();
}

static enum q2_status load(struct q2_place *place, const char *path, void *buffer, size_t *length,
                           struct q2_fault *fault)
{
    const struct mock_file *stored = find(((struct mock_place *)place)->volume, path);

    mock_let_in();
    if (!stored)
        return q2_fail(fault, Q2_ERR_NOT_FOUND, NULL, path);
    if (*length > stored->size)
        *length = stored->size;
    memcpy(buffer, stored->bytes, *length);
    return Q2_OK;
}

static enum q2_status list(struct q2_place *place, const char *folder,
                           struct q2_place_visitor *visitor, struct q2_fault *fault)
{
    struct mock_volume *volume = ((struct mock_place *)place)->volume;
    size_t prefix = strlen(folder);
    bool has_any = false;

    mock_let_in();
    for (size_t i = 0; i < volume->nb_files; i++) {
        const char *path = volume->files[i].path;
        enum q2_status status;
        if (strncmp(path, folder, prefix) != 0 || path[prefix] != '/')
            continue;
        has_any = true;
        status = visitor->visit(visitor, path + prefix + 1, fault);
        if (status != Q2_OK)
            return status;
    }
    return has_any ? Q2_OK : q2_fail(fault, Q2_ERR_NOT_FOUND, NULL, folder);
}

static enum q2_status check(struct q2_place_file *file, struct q2_fault *fault)
{
    (void)file;
    (void)fault;
    wrong_in_exit("a file is asked for");
    mock_let_in();
    return Q2_OK;
}

static void settle(struct q2_place *place)
{
    (void)place;
    mock_let_in();
}

/* The file has the size that it is mapped with. */
static void resize(struct open_file *own)
{
    own->stored->size = own->source.capacity = own->file.mapped_size;
    if (own->elsewhere)
        fw.storage->resize(own->stored);
}

static enum q2_status make_room(struct q2_place_file *file, uint64_t size, struct q2_fault *fault)
{
    struct open_file *own = (struct open_file *)file;
    struct mock_volume *volume = ((struct mock_place *)file->place)->volume;
    uint64_t more = size - file->mapped_size;
    bool fits = more <= volume->free_space;

    wrong_in_exit("a file grows");
    fw.nb_grown++;
    if (!fits)
        more = volume->free_space;
    volume->free_space -= more;
    file->mapped_size += more;
    fw.grown += more;
    resize(own);
    mock_let_in();
    return fits ? Q2_OK : q2_fail(fault, Q2_ERR_NO_SPACE, "the volume is full", own->stored->path);
}

static enum q2_status give_back(struct q2_place_file *file, uint64_t size, struct q2_fault *fault)
{
    struct open_file *own = (struct open_file *)file;
    struct mock_volume *volume = ((struct mock_place *)file->place)->volume;

    wrong_in_exit("a file is cut");
    if (fw.refuse_cut > 0)
        return q2_fail(fault, Q2_ERR_IO, "the file stays as long as it is", own->stored->path);
    fw.nb_cut++;
    volume->free_space += file->mapped_size - size;
    file->mapped_size = size;
    if (file->source->size > size)
        file->source->size = size;
    resize(own);
    mock_let_in();
    return Q2_OK;
}

static uint64_t free_space(struct q2_place_file *file)
{
    return ((struct mock_place *)file->place)->volume->free_space;
}

static enum q2_status forget(struct q2_place *place, bool all, struct q2_fault *fault)
{
    (void)place;
    (void)all;
    wrong_in_exit("a file is read");
    mock_let_in();
    return fw.grown < fw.forgets_from ? q2_fail(fault, Q2_ERR_UNSUPPORTED, NULL, "/image") : Q2_OK;
}

static const struct q2_place_ops place_ops = {.close = close_place,
                                              .open_file = open_file,
                                              .close_file = close_file,
                                              .load = load,
                                              .list = list,
                                              .check = check,
                                              .settle = settle,
                                              .make_room = make_room,
                                              .give_back = give_back,
                                              .free_space = free_space,
                                              .forget = forget};

enum q2_status mc_place_open(EFI_HANDLE handle, struct q2_fault *fault, struct q2_place **ret_place)
{
    struct mock_place *place;
    size_t index;

    if (!is_volume(handle, &index))
        return q2_fail(fault, Q2_ERR_UNSUPPORTED, NULL, NULL);
    place = calloc(1, sizeof(*place));
    place->place =
        (struct q2_place){.ops = &place_ops,
                          .name = "memory",
                          .abilities = Q2_PLACE_WRITES | Q2_PLACE_GROWS | Q2_PLACE_REMEMBERS |
                                       (fw.queues ? Q2_PLACE_QUEUES : 0)};
    place->volume = &volumes[index];
    nb_places++;
    mock_let_in();
    *ret_place = &place->place;
    return Q2_OK;
}

void mc_place_close(struct q2_place *place)
{
    if (place)
        place->ops->close(place);
}

EFI_GUID *mc_place_held(EFI_HANDLE handle)
{
    size_t index;

    return is_volume(handle, &index) ? &mc_file_system_guid : NULL;
}

struct mock_file *mock_add_file(size_t volume, const char *path, const void *bytes, uint64_t size)
{
    struct mock_file *file = &volumes[volume].files[volumes[volume].nb_files++];

    snprintf(file->path, sizeof(file->path), "%s", path);
    if (!file->bytes)
        file->bytes = malloc(MOCK_FILE_ROOM);
    memset(file->bytes, 0, size);
    if (bytes)
        memcpy(file->bytes, bytes, size);
    file->size = size;
    return file;
}

struct mock_file *mock_add_image(size_t volume, const char *path, uint64_t virtual_size)
{
    const struct q2_create_options options = {.virtual_size = virtual_size};

    return mock_create_image(volume, path, &options);
}

struct mock_file *mock_create_image(size_t volume, const char *path,
                                    const struct q2_create_options *options)
{
    struct mock_file *file = mock_add_file(volume, path, NULL, 0);
    void *workspace = aligned_alloc(Q2_WORKSPACE_ALIGN, Q2_WORKSPACE_SIZE);
    struct q2_source_memory source;
    struct q2_fault fault;

    q2_source_memory_init(&source, file->bytes, 0, MOCK_FILE_ROOM, true, path);
    T_CHECK_U64(q2_create(workspace, &source.source, options, &fault), Q2_OK);
    file->size = source.source.size;
    free(workspace);
    return file;
}

void mock_add_entry(size_t volume, const char *id, const char *text)
{
    char path[64];

    snprintf(path, sizeof(path), "/metalcow/entries/%s.conf", id);
    (void)mock_add_file(volume, path, text, strlen(text));
}

/* --- the hand-off --- */

struct mc_handoff {
    EFI_EVENT read;
};

static struct mc_handoff *the_handoff; /* the newest that was added and not removed */

static VOID EFIAPI on_handoff_read(EFI_EVENT event, VOID *context)
{
    (void)event;
    (void)context;
}

enum q2_status mc_handoff_add(struct mc_image *image, const struct mc_disk_spec *spec,
                              struct q2_fault *ret_fault, EFI_EVENT *ret_read,
                              struct mc_handoff **ret_handoff)
{
    (void)image;
    mock_let_in();
    *ret_read = NULL;
    *ret_handoff = NULL;
    if (fw.no_handoff)
        return q2_fail(ret_fault, Q2_ERR_UNSUPPORTED, fw.no_handoff, spec->image);
    if (fw.handoff) {
        T_CHECK_U64(create(EVT_NOTIFY_SIGNAL, TPL_CALLBACK, on_handoff_read, NULL, ret_read),
                    EFI_SUCCESS);
        *ret_handoff = the_handoff = malloc(sizeof(**ret_handoff));
        the_handoff->read = *ret_read;
    }
    return Q2_OK;
}

void mc_handoff_remove(struct mc_handoff *handoff)
{
    if (handoff && T_CHECK(handoff == the_handoff)) {
        (void)close_event(handoff->read);
        free(handoff);
        the_handoff = NULL;
    }
    mock_let_in();
}

void mc_handoff_moved(struct mc_handoff *handoff)
{
    T_CHECK(handoff == the_handoff);
    fw.nb_records++;
    wrong_in_exit("a record is made");
}

const char *mc_handoff_reason_against(const struct mc_handoff *handoff)
{
    T_CHECK(handoff == the_handoff);
    return fw.reason_against;
}

void mc_handoff_stop(void)
{
    mock_let_in();
}

/* --- */

void mock_begin(void)
{
    services = (EFI_BOOT_SERVICES){.RaiseTPL = raise_tpl,
                                   .RestoreTPL = restore_tpl,
                                   .AllocatePool = allocate_pool,
                                   .FreePool = free_pool,
                                   .AllocatePages = allocate_pages,
                                   .FreePages = free_pages,
                                   .SetMem = set_mem,
                                   .CreateEvent = create_event,
                                   .SignalEvent = signal_event,
                                   .SetTimer = set_timer,
                                   .CloseEvent = close_event,
                                   .OpenProtocol = (EFI_OPEN_PROTOCOL)open_protocol,
                                   .CloseProtocol = close_protocol,
                                   .ReinstallProtocolInterface = reinstall,
                                   .DisconnectController = disconnect,
                                   .ConnectController = connect_controller,
                                   .WaitForEvent = wait_for_event,
                                   .SetWatchdogTimer = set_watchdog_timer};
    services.CreateEventEx = (void *)create_event_ex;
    services.InstallMultipleProtocolInterfaces = (void *)install;
    services.UninstallMultipleProtocolInterfaces = (void *)uninstall;
    memset(&fw, 0, sizeof(fw));
    memset(events, 0, sizeof(events));
    the_handoff = NULL;
    memset(opens, 0, sizeof(opens));
    memset(installed, 0, sizeof(installed));
    fw.tpl = TPL_APPLICATION;
    nb_places = nb_open_files = 0;
    for (size_t i = 0; i < NB_VOLUMES; i++) {
        volumes[i].node = (VENDOR_DEVICE_PATH){
            .Header = {HARDWARE_DEVICE_PATH, HW_VENDOR_DP, {sizeof(VENDOR_DEVICE_PATH), 0}},
            .Guid = {.Data1 = (UINT32)i}};
        volumes[i].end = (EFI_DEVICE_PATH){
            END_DEVICE_PATH_TYPE, END_ENTIRE_DEVICE_PATH_SUBTYPE, {END_DEVICE_PATH_LENGTH, 0}};
        volumes[i].nb_files = 0;
        volumes[i].free_space = 16u << 20;
        volumes[i].is_open = false;
        for (size_t j = 0; j < 3; j++) {
            const char path[] = {'/', (char)('a' + j), '\0'};
            (void)mock_add_file(i, path, NULL, DISK_SIZE);
        }
    }
    mc_firmware_init(MOCK_IMAGE, &table);
    mc_volumes_init(MOCK_IMAGE);
}

void mock_check_nothing_left(void)
{
    T_CHECK_U64(fw.nb_allocated, 0);
    T_CHECK_U64(fw.nb_installed, 0);
    T_CHECK_U64(fw.nb_open, 0);
    T_CHECK_U64(nb_places, 0);
    T_CHECK_U64(nb_open_files, 0);
    T_CHECK_U64(fw.tpl, TPL_APPLICATION);
    for (size_t i = 0; i < NB_VOLUMES; i++)
        T_CHECK(!volumes[i].is_open);
    for (size_t i = 0; i < MAX_EVENTS; i++)
        T_CHECK(!events[i].exists);
}
