/* metalcow check: checks an image, and repairs it with -r. Prints what qemu-img prints. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/metalcow/base/image.h"
#include "tools/metalcow/base/json.h"
#include "tools/metalcow/base/output.h"
#include "q2_report.h"
#include "tools/metalcow/verbs.h"

/* Exit statuses of `check`. */
enum {
    CHECK_CLEAN = 0,
    CHECK_NOT_DONE = 1,
    CHECK_CORRUPTIONS = 2,
    CHECK_LEAKS = 3,
    CHECK_UNSUPPORTED = 63,
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

static void print_repaired(const struct q2_repair_result *result)
{
    if (result->leaks_fixed + result->corruptions_fixed > 0)
        printf("The following inconsistencies were found and repaired:\n\n"
               "    %" PRIu64 " leaked clusters\n    %" PRIu64 " corruptions\n\n"
               "Double checking the fixed image now...\n",
               result->leaks_fixed, result->corruptions_fixed);
}

static void print_human(const struct q2_check_result *result)
{
    char text[Q2_CHECK_TEXT_SIZE];

    (void)q2_check_result_format(result, text, sizeof(text));
    fputs(text, stdout);
}

static void print_json(const char *path, const struct q2_repair_result *repaired)
{
    const struct q2_check_result *result = &repaired->left;
    const struct {
        const char *key;
        uint64_t value;
    } counts[] = {
        {"corruptions", result->corruptions},
        {"leaks", result->leaks},
        {"corruptions-fixed", repaired->corruptions_fixed},
        {"leaks-fixed", repaired->leaks_fixed},
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

static void print_result(const char *path, const struct q2_repair_result *result, bool json)
{
    if (json) {
        print_json(path, result);
        return;
    }
    print_repaired(result);
    print_human(&result->left);
}

/* Check, and mend what is asked for. */
static enum q2_status examine(struct image *image, enum repair_wish wish,
                              struct q2_check_reporter *reporter,
                              struct q2_repair_result *ret_result)
{
    *ret_result = (struct q2_repair_result){0};
    if (wish == REPAIR_NOTHING)
        return q2_disk_check(image->disk, reporter, &ret_result->left);
    return q2_disk_repair(image->disk, wish == REPAIR_ALL ? Q2_REPAIR_ALL : Q2_REPAIR_LEAKS,
                          reporter, ret_result);
}

static int check(struct image *image, const struct arguments *arguments)
{
    struct q2_layer_info info;
    struct printer printer = {.reporter.report = print_finding};
    struct q2_repair_result result;

    q2_disk_layer_info(image->disk, 0, &info);
    if (!info.header) {
        fputs("metalcow: ", stderr);
        print_escaped(stderr, image->path);
        fputs(": only a qcow2 image can be checked, and this file is read as raw\n", stderr);
        return CHECK_UNSUPPORTED;
    }
    printer.cluster_bits = info.header->cluster_bits;
    if (examine(image, arguments->repair, &printer.reporter, &result) != Q2_OK) {
        image_print_fault(image);
        return CHECK_NOT_DONE;
    }
    if (!arguments->quiet)
        print_result(image->path, &result, arguments->json);
    if (result.left.check_errors > 0)
        return CHECK_NOT_DONE;
    if (result.left.corruptions > 0)
        return CHECK_CORRUPTIONS;
    return result.left.leaks > 0 ? CHECK_LEAKS : CHECK_CLEAN;
}

int verb_check(const struct arguments *arguments)
{
    struct image_options options = arguments->image[0];
    struct image *image;
    int status;

    options.writable = options.repair = arguments->repair != REPAIR_NOTHING;
    image = image_open(arguments->operands[0], &options, true);
    if (!image)
        return CHECK_NOT_DONE;
    status = check(image, arguments);
    image_close(image);
    return status;
}
