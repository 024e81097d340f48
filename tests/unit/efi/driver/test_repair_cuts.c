/* Power cuts while the driver repairs an image on the way to mode rw (HAZARDS.md, W4, W7).
 *
 *   test_repair_cuts [--full] [--all-qemu] [--stop] [--seed N] [PART ...]   PART selects cases
 *
 * The driver attaches a dirty, damaged image. Everything below it is the firmware's: the file is
 * mapped to pieces of a volume (drivers/extents), which is read and written by Disk I/O and Block
 * I/O (drivers/efi/disk_io.c), which record what reaches the device. Room is made by the file
 * system, which is mocked: it is durable at once. Each content that the volume may have after a
 * power cut is attached once more. The judge is that of tests/fault/test_repair.c.
 */
#include "mock.h"

#include <inttypes.h>
#include <stdlib.h>

#include "drivers/efi/disk_io.h"
#include "drivers/extents/source.h"
#include "tests/fault/choice.h"
#include "tests/fault/damaged.h"

struct plan {
    struct crash_bounds bounds;
    uint32_t nb_seeds, qemu_every;
};

static const struct plan short_plan = {
    .bounds = {.all_up_to = 5, .sample = 6, .tears = 1}, .nb_seeds = 4, .qemu_every = 100};
static const struct plan full_plan = {
    .bounds = {.all_up_to = 10, .sample = 512, .tears = 64}, .nb_seeds = 20, .qemu_every = 20};

/* --- the device ------------------------------------------------------------------------------ */

/* The file is stored in pieces, every two of which are exchanged. No cluster has their size: what
 * is one write of the engine's is often two of the device's. */
#define PIECE  (24u << 10)
#define BEFORE (64u << 10) /* bytes of the volume before the first piece */
#define ROOM   (3u << 20)  /* bytes that the file may grow by */

static struct device {
    EFI_BLOCK_IO_PROTOCOL BlockIo;
    EFI_DISK_IO_PROTOCOL DiskIo;
    EFI_BLOCK_IO_MEDIA Media;
    struct crash_log log;
    struct crash_source source;
    struct q2_source_efi_disk_io volume;
    struct q2_source_extents file;
    struct q2_file_extent *map[2]; /* that of the file, and another one */
    uint64_t sizes[8];             /* of the file, by the log's op */
} device;

static EFI_STATUS done(enum q2_status status)
{
    return status == Q2_OK ? EFI_SUCCESS : EFI_DEVICE_ERROR;
}

static EFI_STATUS EFIAPI read_disk(EFI_DISK_IO_PROTOCOL *This, UINT32 MediaId, UINT64 Offset,
                                   UINTN Size, VOID *Buffer)
{
    struct q2_source *source = &device.source.source;

    (void)This;
    (void)MediaId;
    return done(source->ops->read_at(source, Offset, Buffer, Size));
}

static EFI_STATUS EFIAPI write_disk(EFI_DISK_IO_PROTOCOL *This, UINT32 MediaId, UINT64 Offset,
                                    UINTN Size, VOID *Buffer)
{
    struct q2_source *source = &device.source.source;

    (void)This;
    (void)MediaId;
    return done(source->ops->write_at(source, Offset, Buffer, Size));
}

static EFI_STATUS EFIAPI read_blocks(EFI_BLOCK_IO_PROTOCOL *This, UINT32 MediaId, EFI_LBA LBA,
                                     UINTN Size, VOID *Buffer)
{
    (void)This;
    return read_disk(&device.DiskIo, MediaId, LBA * 512, Size, Buffer);
}

static EFI_STATUS EFIAPI write_blocks(EFI_BLOCK_IO_PROTOCOL *This, UINT32 MediaId, EFI_LBA LBA,
                                      UINTN Size, VOID *Buffer)
{
    (void)This;
    return write_disk(&device.DiskIo, MediaId, LBA * 512, Size, Buffer);
}

static EFI_STATUS EFIAPI flush_blocks(EFI_BLOCK_IO_PROTOCOL *This)
{
    (void)This;
    return done(device.source.source.ops->flush(&device.source.source));
}

static size_t map_file(uint64_t size, struct q2_file_extent *map)
{
    size_t nb = 0;

    for (uint64_t at = 0; at < size; at += PIECE, nb++)
        map[nb] = (struct q2_file_extent){.file_offset = at,
                                          .volume_offset = BEFORE + (uint64_t)(nb ^ 1) * PIECE,
                                          .length = size - at < PIECE ? size - at : PIECE};
    return nb;
}

/* Bring the file's bytes to the volume, or from there into memory. */
static void copy_file(uint8_t *volume, uint8_t *bytes, uint64_t size, bool to_volume)
{
    size_t nb = map_file(size, device.map[1]);

    for (size_t i = 0; i < nb; i++) {
        const struct q2_file_extent *e = &device.map[1][i];

        if (to_volume)
            memcpy(volume + e->volume_offset, bytes + e->file_offset, e->length);
        else
            memcpy(bytes + e->file_offset, volume + e->volume_offset, e->length);
    }
}

static void start_device(uint64_t capacity)
{
    uint64_t nb_pieces = (capacity + PIECE - 1) / PIECE + 2;
    uint64_t size = BEFORE + nb_pieces * PIECE;
    static const uint8_t none[1];

    memset(&device, 0, sizeof(device));
    crash_source_init(&device.source, &device.log, 0, "volume", none, 0, size);
    device.source.source.size = size;
    device.Media = (EFI_BLOCK_IO_MEDIA){
        .MediaId = 1, .MediaPresent = TRUE, .BlockSize = 512, .LastBlock = size / 512 - 1};
    device.BlockIo = (EFI_BLOCK_IO_PROTOCOL){.Media = &device.Media,
                                             .ReadBlocks = read_blocks,
                                             .WriteBlocks = write_blocks,
                                             .FlushBlocks = flush_blocks};
    device.DiskIo = (EFI_DISK_IO_PROTOCOL){.ReadDisk = read_disk, .WriteDisk = write_disk};
    T_CHECK_U64(
        q2_source_efi_disk_io_init(&device.volume, &device.DiskIo, &device.BlockIo, "volume"),
        Q2_OK);
    for (size_t i = 0; i < 2; i++)
        device.map[i] = crash_memory(NULL, nb_pieces * sizeof(*device.map[i]));
}

static void end_device(void)
{
    crash_source_free(&device.source);
    crash_log_free(&device.log);
    free(device.map[0]);
    free(device.map[1]);
}

/* --- the file on it, for the mocked place ---------------------------------------------------- */

static struct mock_file *image;

static struct q2_source *open_image(const struct mock_file *file)
{
    struct q2_extents_file by_extents = {.volume = &device.volume.source,
                                         .extents = device.map[0],
                                         .size = file->size,
                                         .file_id = 1,
                                         .path = file->path,
                                         .writable = true,
                                         .can_grow = true};

    if (file != image)
        return NULL;
    by_extents.nb_extents = map_file(file->size, device.map[0]);
    T_CHECK_U64(q2_source_extents_init(&device.file, &by_extents), Q2_OK);
    return &device.file.source;
}

/* Longer: as efi/place/fat_room.c, map anew. */
static void resize_image(const struct mock_file *file)
{
    struct q2_file_extent *map = device.map[1];
    size_t nb;

    if (file->size < device.file.mapped_size) {
        q2_source_extents_cut(&device.file, device.map[0], file->size);
    } else {
        nb = map_file(file->size, map);
        T_CHECK_U64(q2_source_extents_remap(&device.file, map, nb, file->size), Q2_OK);
        device.map[1] = device.map[0];
        device.map[0] = map;
    }
    if (!device.log.recording)
        return;
    T_CHECK(device.log.op + 1 < sizeof(device.sizes) / sizeof(device.sizes[0]));
    device.sizes[++device.log.op] = file->size;
}

static const struct mock_storage storage = {.open = open_image, .resize = resize_image};

/* --- a case ---------------------------------------------------------------------------------- */

struct cuts {
    struct crash_visitor visitor;
    const struct plan *plan;
    const struct subject *subject;
    struct bench *bench;
    struct model model;
    uint8_t *damaged; /* the image file, of the subject's size */
    char why[700];
};

static uint64_t total_states, total_qemu, total_grown;

static bool wrong(struct cuts *c, const char *what)
{
    (void)snprintf(c->why, sizeof(c->why), "%s: %s", what, c->bench->why);
    return false;
}

/* Attach in mode rw, and detach. */
static bool attach(struct cuts *c)
{
    struct mc_disk_spec spec;
    struct mc_disk *disk = NULL;
    struct q2_fault fault;

    mc_spec_init(&spec);
    spec.image = image->path;
    spec.mode = MC_MODE_READ_WRITE;
    c->bench->why[0] = fw.text[0] = '\0';
    volumes[0].free_space = ROOM;
    if (mc_disk_attach(&volumes[0], &spec, NULL, &fault, &disk) != Q2_OK) {
        (void)q2_fault_format(&fault, c->bench->why, sizeof(c->bench->why));
        return wrong(c, "attach");
    }
    if (!q2_disk_is_writable(disk->image->disk))
        return wrong(c, "the disk is read-only");
    return mc_disk_detach(disk) == EFI_SUCCESS || wrong(c, "detach");
}

/* The image as it is on the volume, for the judge. */
static void take_image(struct cuts *c)
{
    struct crash_source *to = &c->bench->sources[0];

    bench_close(c->bench);
    crash_source_reset(to, c->damaged, 0);
    to->source.size = image->size;
    copy_file(device.source.bytes, to->bytes, image->size, false);
}

static bool judge_repaired(struct cuts *c)
{
    take_image(c);
    return damaged_judge_repaired(c->bench, &c->model) || wrong(c, "after the repair");
}

/* One content that the volume may have: the guest's bytes are there, the next attach repairs. */
static bool visit(struct crash_visitor *visitor, const struct crash_state *state)
{
    struct cuts *c = (struct cuts *)visitor;
    uint8_t *own = device.source.bytes;
    bool ok;

    memcpy(own, state->files[0].bytes, device.source.source.size);
    image->size = device.sizes[state->op];
    take_image(c);
    ok = damaged_judge_content(c->bench) || wrong(c, "after the cut");
    ok = ok && attach(c) && judge_repaired(c);
    if (!ok || ++total_states % c->plan->qemu_every != 0)
        return ok;
    total_qemu++;
    return bench_qemu_check(c->bench) || wrong(c, "qemu-img");
}

/* Put the damaged image on the volume: dirty, so that the driver repairs it, and not corrupt. */
static void place_image(struct cuts *c, uint64_t *seed)
{
    damage_image(c->subject, c->damaged, false, seed);
    c->damaged[79] = (uint8_t)((c->damaged[79] | 1) & ~2u);
    image->size = device.sizes[0] = c->subject->sizes[0];
    memset(device.source.bytes, 0, device.source.capacity);
    copy_file(device.source.bytes, c->damaged, image->size, true);
    device.log.nb_events = device.log.arena_used = device.log.op = 0;
}

static bool run_seed(struct cuts *c, uint64_t seed)
{
    struct crash_bounds bounds = c->plan->bounds;
    uint64_t size = device.source.source.size;
    uint8_t *before = crash_memory(NULL, size);
    const uint8_t *initial[1] = {before};
    bool ok;

    place_image(c, &seed);
    memcpy(before, device.source.bytes, size);
    device.log.recording = true;
    ok = attach(c);
    device.log.recording = false;
    ok = ok && (strstr(fw.text, "has been repaired") || wrong(c, "nothing is said"));
    ok = ok && (device.log.nb_events > 0 || wrong(c, "nothing was written"));
    ok = ok && judge_repaired(c);
    total_grown += fw.nb_grown > 1;
    fw.nb_grown = 0;
    bounds.seed = seed;
    if (ok)
        crash_states_visit(&device.log, initial, &size, &size, 1, device.log.op, &bounds,
                           &c->visitor);
    free(before);
    return c->why[0] == '\0';
}

static bool test_geometry(const struct plan *plan, const struct choice *choice,
                          const struct geometry *geometry, const char *name)
{
    struct subject subject;
    struct bench bench;
    struct cuts c = {.visitor.visit = visit, .plan = plan, .subject = &subject, .bench = &bench};
    char path[80];
    bool ok = true;

    subject_load(&subject, geometry, choice->folder);
    bench_start(&bench, &subject);
    model_start(&c.model, &subject);
    c.damaged = crash_memory(NULL, subject.sizes[0]);
    mock_begin();
    fw.storage = &storage;
    image = mock_add_file(0, "/image.qcow2", NULL, 0);
    (void)snprintf(path, sizeof(path), "/%s", subject.base_name);
    if (subject.base)
        (void)mock_add_file(0, path, subject.base, subject.base_size);
    start_device(subject.sizes[0] + ROOM);
    for (uint32_t i = 0; i < plan->nb_seeds && ok; i++) {
        ok = run_seed(&c, choice->seed + i);
        if (!ok)
            printf("# seed %" PRIu64 ": %s\n", choice->seed + i, c.why);
    }
    (void)t_check(ok, __FILE__, __LINE__, name);
    mock_check_nothing_left();
    t_case_end(name);
    end_device();
    free(c.damaged);
    model_free(&c.model);
    bench_free(&bench);
    subject_free(&subject);
    return ok;
}

/* Version 2 has no dirty bit. Of an image with an external data file a repair writes the image
 * alone. */
static bool is_repaired(const struct geometry *geometry)
{
    return !geometry->version_2 && geometry->data == DATA_INSIDE;
}

int main(int argc, char **argv)
{
    const struct choice choice = choice_read(argc, argv);
    struct plan plan = choice.full ? full_plan : short_plan;
    bool ok = true;

    if (choice.all_qemu)
        plan.qemu_every = 1;
    for (uint32_t i = 0; i < nb_geometries && (ok || !choice.stop); i++) {
        char name[128];

        (void)snprintf(name, sizeof(name), "test_repair_cuts_%s_", geometries[i].name);
        if (choice_has(&choice, name) && is_repaired(&geometries[i]))
            ok = test_geometry(&plan, &choice, &geometries[i], name) && ok;
    }
    printf("# total: %" PRIu64 " crash points, %" PRIu64 " judged by qemu-img, %" PRIu64
           " repairs made the file longer\n",
           total_states, total_qemu, total_grown);
    return t_done();
}
