/* info: what an image is, in the words of qemu-img.
 *
 * Opens the image's metadata with an engine of its own, and no other file unless --backing-chain
 * asks for all of them.
 */
#include "efi/image/attach.h"
#include "commands.h"
#include "efi/base/console.h"
#include "q2_fail.h"
#include "efi/base/text.h"
#include "efi/base/firmware.h"

/* Text for the console: strings out of an image are escaped. */
struct report {
    struct q2_line text;
    char buffer[8192];
};

static void put(struct report *report, const char *text)
{
    q2_line_put(&report->text, text);
}

static void put_line(struct report *report, const char *name, const char *value)
{
    put(report, name);
    put(report, ": ");
    q2_line_put_escaped(&report->text, value);
    put(report, "\n");
}

static void put_number_line(struct report *report, const char *name, uint64_t value)
{
    put(report, name);
    put(report, ": ");
    q2_line_put_number(&report->text, value, 10);
    put(report, "\n");
}

static void put_flag(struct report *report, const char *name, bool value)
{
    put_line(report, name, value ? "true" : "false");
}

static void put_size_line(struct report *report, const char *name, uint64_t size)
{
    put(report, name);
    put(report, ": ");
    mc_put_size(&report->text, size);
    put(report, " (");
    q2_line_put_number(&report->text, size, 10);
    put(report, " bytes)\n");
}

static void put_qcow2(struct report *report, const struct q2_layer_info *info)
{
    const struct q2_header *header = info->header;

    put_number_line(report, "cluster_size", 1ull << header->cluster_bits);
    if (info->backing_file[0] != '\0')
        put_line(report, "backing file", info->backing_file);
    if (info->backing_format[0] != '\0')
        put_line(report, "backing file format", info->backing_format);
    if (header->crypt_method != Q2_CRYPT_NONE)
        put(report, "encrypted: yes\n");
    if (header->nb_snapshots > 0)
        put_number_line(report, "snapshots", header->nb_snapshots);
    put(report, "Format specific information:\n");
    put_line(report, "    compat", header->version == 2 ? "0.10" : "1.1");
    put_line(report, "    compression type",
             header->compression_type == Q2_COMPRESSION_ZSTD ? "zstd" : "zlib");
    put_flag(report, "    lazy refcounts",
             (header->compatible_features & Q2_COMPAT_LAZY_REFCOUNTS) != 0);
    put_number_line(report, "    refcount bits", 1ull << header->refcount_order);
    if ((header->incompatible_features & Q2_INCOMPAT_DATA_FILE) != 0) {
        put_line(report, "    data file", info->data_file);
        put_flag(report, "    data file raw",
                 (header->autoclear_features & Q2_AUTOCLEAR_RAW_EXTERNAL) != 0);
    }
    put_flag(report, "    dirty", (header->incompatible_features & Q2_INCOMPAT_DIRTY) != 0);
    put_flag(report, "    corrupt", (header->incompatible_features & Q2_INCOMPAT_CORRUPT) != 0);
    put_flag(report, "    extended l2",
             (header->incompatible_features & Q2_INCOMPAT_EXTENDED_L2) != 0);
}

/* How the firmware reads a file, and why. */
static void put_way(struct report *report, const struct q2_place_file *file)
{
    file->place->ops->explain(file, &report->text);
    put(report, "\n");
}

static void put_file(struct report *report, const struct q2_place_file *file)
{
    put(report, "    ");
    q2_line_put_escaped(&report->text, file->source->path);
    put(report, ": ");
    put_way(report, file);
}

static void put_chain(struct report *report, const struct mc_image *image)
{
    struct q2_layer_info info;

    put(report, "files, and what they are read through:\n");
    for (uint32_t i = 0; i < q2_disk_nb_layers(image->disk); i++) {
        q2_disk_layer_info(image->disk, i, &info);
        put_file(report, mc_opener_find(&image->opener, info.source));
        if (info.data_source != info.source)
            put_file(report, mc_opener_find(&image->opener, info.data_source));
    }
}

static void put_image(struct report *report, const struct mc_image *image)
{
    struct q2_layer_info info;

    q2_disk_layer_info(image->disk, 0, &info);
    put_line(report, "image", image->file->source->path);
    put_line(report, "file format", info.header ? "qcow2" : "raw");
    put_size_line(report, "virtual size", info.virtual_size);
    put_size_line(report, "file length", image->file->source->size);
    if (info.header)
        put_qcow2(report, &info);
    put(report, "read through: ");
    put_way(report, image->file);
}

static enum q2_status show(EFI_HANDLE volume, const struct mc_disk_spec *spec, bool chain,
                           struct q2_fault *fault)
{
    struct report *report = mc_alloc(sizeof(*report));
    struct mc_image *image;
    enum q2_status status;

    if (!report)
        return q2_fail_memory(fault);
    report->text = q2_line_start(report->buffer, sizeof(report->buffer));
    status = mc_image_open(volume, spec, !chain, fault, &image);
    if (status == Q2_OK) {
        put_image(report, image);
        if (chain)
            put_chain(report, image);
        mc_print(report->buffer);
        mc_image_close(image);
    }
    mc_free(report);
    return status;
}

EFI_STATUS mc_command_info(struct mc_session *session)
{
    enum q2_status status = mc_session_image(session);

    if (status == Q2_OK)
        status = show(session->image.volume, &session->image.spec,
                      session->line.backing_chain != NULL, &session->fault);
    mc_image_arguments_free(session);
    return status == Q2_OK ? EFI_SUCCESS : mc_session_fail(session);
}
