/* metalcow check: consistency of an image, said as qemu-img says it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "image.h"
#include "json.h"
#include "output.h"
#include "q2_report.h"
#include "verbs.h"

/* Exit statuses of `check`. */
enum {
    CHECK_CLEAN = 0,
    CHECK_NOT_DONE = 1,
    CHECK_CORRUPTIONS = 2,
    CHECK_LEAKS = 3,
    CHECK_UNSUPPORTED = 63,
};

static const struct flag flags[] = {
    FLAGS_COMMON,
    FLAG_ROW_OUTPUT,
    FLAG_ROW_QUIET,
    FLAG_ROW_CACHE('T'),
};

struct printer {
    struct q2_check_reporter reporter;
    uint32_t cluster_bits;
};

static void print_finding(struct q2_check_reporter *reporter,
                          const struct q2_check_finding *finding)
{
    const struct printer *printer = (const struct printer *)reporter;
    char line[256];

    (void)q2_check_finding_format(finding, printer->cluster_bits, line, sizeof(line));
    fprintf(stderr, "%s\n", line);
}

static void print_human(const struct q2_check_result *result)
{
    char text[Q2_CHECK_TEXT_SIZE];

    (void)q2_check_result_format(result, text, sizeof(text));
    fputs(text, stdout);
}

static void print_json(const char *path, const struct q2_check_result *result)
{
    const struct {
        const char *key;
        uint64_t value;
    } counts[] = {
        {"corruptions", result->corruptions},
        {"leaks", result->leaks},
        {"image-end-offset", result->image_end_offset},
        {"total-clusters", result->total_clusters},
        {"allocated-clusters", result->allocated_clusters},
        {"fragmented-clusters", result->fragmented_clusters},
        {"compressed-clusters", result->compressed_clusters},
    };
    struct json json = {.out = stdout};

    json_object(&json, NULL);
    json_text(&json, "filename", path);
    json_text(&json, "format", "qcow2");
    json_number(&json, "check-errors", result->check_errors);
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        if (counts[i].value != 0)
            json_number(&json, counts[i].key, counts[i].value);
    }
    json_end(&json);
}

static int check(struct image *image, const struct arguments *arguments)
{
    struct q2_layer_info info;
    struct printer printer = {.reporter.report = print_finding};
    struct q2_check_result result;

    q2_disk_layer_info(image->disk, 0, &info);
    if (!info.header) {
        fputs("metalcow: This image format does not support checks\n", stderr);
        return CHECK_UNSUPPORTED;
    }
    printer.cluster_bits = info.header->cluster_bits;
    if (q2_disk_check(image->disk, &printer.reporter, &result) != Q2_OK) {
        image_print_fault(image);
        return CHECK_NOT_DONE;
    }
    if (arguments->json)
        print_json(image->path, &result);
    else if (!arguments->quiet)
        print_human(&result);
    if (result.check_errors > 0)
        return CHECK_NOT_DONE;
    if (result.corruptions > 0)
        return CHECK_CORRUPTIONS;
    return result.leaks > 0 ? CHECK_LEAKS : CHECK_CLEAN;
}

static int run(const struct arguments *arguments)
{
    struct image *image = image_open(arguments->operands[0], &arguments->image[0], true);
    int status;

    if (!image)
        return CHECK_NOT_DONE;
    status = check(image, arguments);
    image_close(image);
    return status;
}

const struct verb verb_check = {
    .name = "check",
    .operands = "FILE",
    .summary = "check the consistency of an image",
    VERB_FLAGS(flags),
    .nb_operands = 1,
    .usage_status = CHECK_NOT_DONE,
    .run = run,
};
