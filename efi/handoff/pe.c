/* A look at a PE image in memory.
 *
 * May call nothing. Invariant: no byte at or after `length` is read, whatever the image says.
 */
#include "pe.h"

#define DOS_HEADER_SIZE   64u
#define PE_OFFSET_AT      60u
#define FILE_HEADER_SIZE  24u /* with the signature in front */
#define NB_SECTIONS_AT    6u
#define OPTIONAL_SIZE_AT  20u
#define IMAGE_SIZE_AT     56u /* in the optional header, the same for PE32 and PE32+ */
#define OPTIONAL_MIN_SIZE 60u
#define SECTION_SIZE      40u
#define MAX_SECTIONS      96u /* the loader of Windows takes no more */

static uint32_t get(const uint8_t *bytes, size_t nb_bytes)
{
    uint32_t value = 0;

    for (size_t i = nb_bytes; i > 0; i--)
        value = value << 8 | bytes[i - 1];
    return value;
}

/* The file header, "PE\0\0" in front; NULL: there is none. */
static const uint8_t *file_header(const uint8_t *bytes, size_t length)
{
    size_t offset;

    if (length < DOS_HEADER_SIZE || bytes[0] != 'M' || bytes[1] != 'Z')
        return NULL;
    offset = get(bytes + PE_OFFSET_AT, 4);
    if (offset > length || length - offset < FILE_HEADER_SIZE + OPTIONAL_MIN_SIZE)
        return NULL;
    return get(bytes + offset, 4) == 0x00004550u ? bytes + offset : NULL;
}

bool mc_pe_size(const uint8_t *bytes, size_t length, uint32_t *ret_size)
{
    const uint8_t *header = file_header(bytes, length);

    if (!header || get(header + OPTIONAL_SIZE_AT, 2) < OPTIONAL_MIN_SIZE)
        return false;
    *ret_size = get(header + FILE_HEADER_SIZE + IMAGE_SIZE_AT, 4);
    return true;
}

static bool name_is(const uint8_t *section, const char *name)
{
    for (size_t i = 0; i < 8; i++) {
        if (section[i] != (uint8_t)name[i])
            return false;
        if (name[i] == '\0')
            return true;
    }
    return true;
}

bool mc_pe_has_section(const uint8_t *bytes, size_t length, const char *name)
{
    const uint8_t *header = file_header(bytes, length);
    size_t at, nb_sections;

    if (!header)
        return false;
    nb_sections = get(header + NB_SECTIONS_AT, 2);
    at = (size_t)(header - bytes) + FILE_HEADER_SIZE + get(header + OPTIONAL_SIZE_AT, 2);
    for (size_t i = 0; i < nb_sections && i < MAX_SECTIONS; i++, at += SECTION_SIZE) {
        if (at > length || length - at < SECTION_SIZE)
            return false;
        if (name_is(bytes + at, name))
            return true;
    }
    return false;
}
