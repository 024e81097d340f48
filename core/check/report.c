/* Lines about maps and checks.
 *
 * May call core/base/line.c and the public functions of a disk. Invariant: no byte of an image
 * reaches a line unescaped.
 */
#include "q2_report.h"

#include "q2_line.h"
#include "core/base/text.h"

void q2_map_entry_get(const struct q2_disk *disk, const struct q2_extent *extent,
                      struct q2_map_entry *ret_entry)
{
    bool data = extent->kind == Q2_EXTENT_DATA || extent->kind == Q2_EXTENT_COMPRESSED;
    struct q2_layer_info layer;
    bool encrypted;

    q2_disk_layer_info(disk, extent->layer, &layer);
    encrypted = layer.header && layer.header->crypt_method != Q2_CRYPT_NONE;
    *ret_entry = (struct q2_map_entry){
        .start = extent->guest_offset,
        .length = extent->length,
        .offset = extent->host_offset,
        .depth = extent->layer,
        .present = extent->kind != Q2_EXTENT_UNALLOCATED,
        .zero = !data,
        .data = data,
        .has_offset = extent->has_host_offset && extent->kind != Q2_EXTENT_COMPRESSED && !encrypted,
    };
    if (ret_entry->has_offset)
        ret_entry->file = layer.data_source->path;
}

static bool continues(const struct q2_map_entry *a, const struct q2_map_entry *b)
{
    if (a->depth != b->depth || a->present != b->present || a->zero != b->zero ||
        a->data != b->data || a->has_offset != b->has_offset)
        return false;
    return !a->has_offset ||
           (a->offset + a->length == b->offset && q2_text_equal(a->file, b->file));
}

bool q2_map_entry_join(struct q2_map_entry *run, const struct q2_map_entry *next)
{
    if (run->length == 0 || !continues(run, next))
        return false;
    run->length += next->length;
    return true;
}

bool q2_map_entry_has_place(const struct q2_map_entry *entry)
{
    return !entry->data || entry->has_offset;
}

/* A number in a column of 16; 0 has no prefix. */
static void put_column(struct q2_line *line, uint64_t value)
{
    size_t end = line->length + 16;

    q2_line_put(line, value != 0 ? "0x" : "");
    q2_line_put_number(line, value, 16);
    while (line->length < end)
        q2_line_put_char(line, ' ');
}

size_t q2_map_entry_format(const struct q2_map_entry *entry, char *buffer, size_t size)
{
    struct q2_line line = q2_line_start(buffer, size);

    if (entry->data && !entry->zero) {
        put_column(&line, entry->start);
        put_column(&line, entry->length);
        put_column(&line, entry->offset);
        q2_line_put_escaped(&line, entry->file);
    }
    return line.length;
}

static void put_named(struct q2_line *line, const char *name, uint64_t value)
{
    q2_line_put(line, name);
    q2_line_put_number(line, value, 10);
}

size_t q2_check_finding_format(const struct q2_check_finding *finding, uint32_t cluster_bits,
                               char *buffer, size_t size)
{
    struct q2_line line = q2_line_start(buffer, size);
    const char *word = finding->kind == Q2_CHECK_LEAK ? "Leaked" : "ERROR";

    if (finding->fixed)
        word = "Repairing";
    if (finding->kind == Q2_CHECK_LEAK || finding->kind == Q2_CHECK_REFCOUNT) {
        q2_line_put(&line, word);
        put_named(&line, " cluster ", finding->offset >> cluster_bits);
        put_named(&line, " refcount=", finding->refcount);
        put_named(&line, " reference=", finding->references);
        return line.length;
    }
    q2_line_put(&line, word);
    q2_line_put(&line, finding->kind == Q2_CHECK_COPIED ? " OFLAG_COPIED: " : " ");
    q2_line_put(&line, finding->what);
    q2_line_put(&line, " at offset 0x");
    q2_line_put_number(&line, finding->offset, 16);
    if (finding->kind == Q2_CHECK_COPIED)
        put_named(&line, " refcount=", finding->refcount);
    return line.length;
}

/* Is the double that is nearest to n / 200, n odd, larger than that?  Then printf() rounds the
 * second digit after the point up; if it is that very number, to an even digit. No two doubles are
 * equally near: n is doubled more than twice, so that the rest is a multiple of 8, and not 100. */
static bool half_goes_up(uint64_t n)
{
    bool odd_digit = (n / 2) % 2 == 1;
    uint64_t rest;

    while (n < 200ull << 52)
        n *= 2;
    rest = n % 200;
    if (rest == 0)
        return odd_digit;
    return rest > 100;
}

/* part of whole in percent, as printf()'s %.2f has it of part * 100.0 / whole; firmware code must
 * not use floating point. part <= whole, or as QEMU counts, a little more. */
static void put_percent(struct q2_line *line, uint64_t part, uint64_t whole)
{
    uint64_t hundredths = part / whole * 10000, left = part % whole;

    /* Digit by digit, so that no product wraps. */
    for (uint32_t digit = 1000; digit > 0; digit /= 10) {
        uint64_t n = 0, sum = 0;
        for (uint32_t i = 0; i < 10; i++) {
            if (sum >= whole - left) {
                sum -= whole - left;
                n++;
            } else {
                sum += left;
            }
        }
        hundredths += n * digit;
        left = sum;
    }
    if (left > whole - left || (left == whole - left && half_goes_up(2 * hundredths + 1)))
        hundredths++;
    q2_line_put_number(line, hundredths / 100, 10);
    q2_line_put_char(line, '.');
    q2_line_put_char(line, (char)('0' + hundredths / 10 % 10));
    q2_line_put_char(line, (char)('0' + hundredths % 10));
}

static void put_count(struct q2_line *line, uint64_t count, const char *text)
{
    if (count == 0)
        return;
    q2_line_put_char(line, '\n');
    q2_line_put_number(line, count, 10);
    q2_line_put(line, text);
}

static void put_allocation(struct q2_line *line, const struct q2_check_result *result)
{
    uint64_t allocated = result->allocated_clusters;

    if (result->total_clusters == 0 || allocated == 0)
        return;
    q2_line_put_number(line, allocated, 10);
    put_named(line, "/", result->total_clusters);
    q2_line_put(line, " = ");
    put_percent(line, allocated, result->total_clusters);
    q2_line_put(line, "% allocated, ");
    put_percent(line, result->fragmented_clusters, allocated);
    q2_line_put(line, "% fragmented, ");
    put_percent(line, result->compressed_clusters, allocated);
    q2_line_put(line, "% compressed clusters\n");
}

size_t q2_check_result_format(const struct q2_check_result *result, char *buffer, size_t size)
{
    struct q2_line line = q2_line_start(buffer, size);

    if (result->corruptions == 0 && result->leaks == 0 && result->check_errors == 0)
        q2_line_put(&line, "No errors were found on the image.\n");
    put_count(&line, result->corruptions,
              " errors were found on the image.\n"
              "Data may be corrupted, or further writes to the image may corrupt it.\n");
    put_count(&line, result->leaks,
              " leaked clusters were found on the image.\n"
              "This means waste of disk space, but no harm to data.\n");
    put_count(&line, result->check_errors, " internal errors have occurred during the check.\n");
    put_allocation(&line, result);
    if (result->image_end_offset > 0) {
        put_named(&line, "Image end offset: ", result->image_end_offset);
        q2_line_put_char(&line, '\n');
    }
    return line.length;
}
