/* What the targets of convert have in common: they refuse an input as output, and divide data from
 * zeros. */
#include "target.h"

#include "tools/metalcow/base/output.h"
#include "tools/metalcow/base/zeros.h"

static void say_input(const char *path)
{
    print_fault(path, &(struct q2_fault){.status = Q2_ERR_CHAIN_LOOP,
                                         .what = "the output is one of the image's own files"});
}

bool target_is_input(const struct target_options *options, const struct q2_source *file)
{
    if (!images_use(options->inputs->images, options->inputs->nb, file))
        return false;
    say_input(file->path);
    return true;
}

bool target_path_is_input(const struct target_options *options, const char *path)
{
    if (!images_use_path(options->inputs->images, options->inputs->nb, path))
        return false;
    say_input(path);
    return true;
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
