/* What the targets of convert share. */
#include "target.h"

#include "output.h"
#include "zeros.h"

static bool same_file(const struct q2_source *a, const struct q2_source *b)
{
    return a->identity[0] == b->identity[0] && a->identity[1] == b->identity[1];
}

bool target_is_input(const struct target_options *options, const struct q2_source *file)
{
    struct q2_disk *disk = options->input->disk;

    for (uint32_t i = 0; i < q2_disk_nb_layers(disk); i++) {
        struct q2_layer_info info;

        q2_disk_layer_info(disk, i, &info);
        if (same_file(info.source, file) || same_file(info.data_source, file)) {
            print_fault(file->path,
                        &(struct q2_fault){.status = Q2_ERR_CHAIN_LOOP,
                                           .what = "the output is one of the image's own files"});
            return true;
        }
    }
    return false;
}

size_t target_piece(const uint8_t *bytes, size_t length, uint64_t unit, bool *ret_zero)
{
    size_t at = 0;

    while (at < length) {
        size_t n = length - at < unit ? length - at : (size_t)unit;
        bool zero = is_zero(bytes + at, n);

        if (at == 0)
            *ret_zero = zero;
        else if (zero != *ret_zero)
            break;
        at += n;
    }
    return at;
}
