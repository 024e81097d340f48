/* The cpio archive that is appended to a guest's initrd.
 *
 * May call core/base. Invariant: nothing is written after the buffer's size, and what is counted
 * without a buffer is what is written with one.
 */
#include "q2_handoff_cpio.h"

#include <stdint.h>

#include "core/base/memory.h"
#include "core/base/text.h"

#define BLOCK_SIZE   512u
#define MODE_FOLDER  0040755u
#define MODE_PROGRAM 0100755u
#define MODE_FILE    0100644u
#define MODE_LINK    0120777u

/* initramfs-tools reads this with its shell before it starts udev; the program goes to the
 * background by itself. */
#define INITRAMFS_TOOLS_HOOK "/" Q2_HANDOFF_PROGRAM_PATH " start\n"

#define DRACUT_HOOK "#!/bin/sh\n/" Q2_HANDOFF_PROGRAM_PATH " start\n"

/* Nothing may stop what the root file system is stored on: no dependencies of its own, not at
 * isolation, not by killing what it left running. */
#define SYSTEMD_UNIT                                                                               \
    "[Unit]\n"                                                                                     \
    "Description=metalcow: the disk that this system was started from\n"                           \
    "DefaultDependencies=no\n"                                                                     \
    "IgnoreOnIsolate=yes\n"                                                                        \
    "ConditionPathExists=/etc/initrd-release\n"                                                    \
    "Before=sysinit.target initrd-root-device.target systemd-udevd.service\n"                      \
    "\n"                                                                                           \
    "[Service]\n"                                                                                  \
    "Type=oneshot\n"                                                                               \
    "RemainAfterExit=yes\n"                                                                        \
    "ExecStart=/" Q2_HANDOFF_PROGRAM_PATH " start\n"                                               \
    "KillMode=none\n"

#define UNIT_PATH "etc/systemd/system/metalcow-handoff.service"

enum source {
    SOURCE_TEXT,
    SOURCE_PROGRAM,
    SOURCE_RECORD,
};

struct member {
    const char *path;
    uint32_t mode;
    enum source source;
    const char *text; /* SOURCE_TEXT; of a link: where it leads. NULL: a folder */
};

/* Each folder before what is in it. */
static const struct member members[] = {
    {"metalcow", MODE_FOLDER, SOURCE_TEXT, NULL},
    {Q2_HANDOFF_PROGRAM_PATH, MODE_PROGRAM, SOURCE_PROGRAM, NULL},
    {Q2_HANDOFF_RECORD_PATH, MODE_FILE, SOURCE_RECORD, NULL},
    {"conf", MODE_FOLDER, SOURCE_TEXT, NULL},
    {"conf/conf.d", MODE_FOLDER, SOURCE_TEXT, NULL},
    {"conf/conf.d/zz-metalcow", MODE_FILE, SOURCE_TEXT, INITRAMFS_TOOLS_HOOK},
    {"usr", MODE_FOLDER, SOURCE_TEXT, NULL},
    {"usr/lib", MODE_FOLDER, SOURCE_TEXT, NULL},
    {"usr/lib/dracut", MODE_FOLDER, SOURCE_TEXT, NULL},
    {"usr/lib/dracut/hooks", MODE_FOLDER, SOURCE_TEXT, NULL},
    {"usr/lib/dracut/hooks/pre-udev", MODE_FOLDER, SOURCE_TEXT, NULL},
    {"usr/lib/dracut/hooks/pre-udev/00-metalcow.sh", MODE_PROGRAM, SOURCE_TEXT, DRACUT_HOOK},
    {"var", MODE_FOLDER, SOURCE_TEXT, NULL},
    {"var/lib", MODE_FOLDER, SOURCE_TEXT, NULL},
    {"var/lib/dracut", MODE_FOLDER, SOURCE_TEXT, NULL},
    {"var/lib/dracut/hooks", MODE_FOLDER, SOURCE_TEXT, NULL},
    {"var/lib/dracut/hooks/pre-udev", MODE_FOLDER, SOURCE_TEXT, NULL},
    {"var/lib/dracut/hooks/pre-udev/00-metalcow.sh", MODE_PROGRAM, SOURCE_TEXT, DRACUT_HOOK},
    {"etc", MODE_FOLDER, SOURCE_TEXT, NULL},
    {"etc/systemd", MODE_FOLDER, SOURCE_TEXT, NULL},
    {"etc/systemd/system", MODE_FOLDER, SOURCE_TEXT, NULL},
    {UNIT_PATH, MODE_FILE, SOURCE_TEXT, SYSTEMD_UNIT},
    {"etc/systemd/system/sysinit.target.wants", MODE_FOLDER, SOURCE_TEXT, NULL},
    {"etc/systemd/system/sysinit.target.wants/metalcow-handoff.service", MODE_LINK, SOURCE_TEXT,
     "/" UNIT_PATH},
};
#define NB_MEMBERS (sizeof(members) / sizeof(members[0]))

/* Where the archive is written to; buffer NULL: it is only counted. */
struct out {
    uint8_t *buffer;
    size_t size, length;
};

static void put(struct out *out, const void *bytes, size_t length)
{
    if (out->buffer && length > 0)
        memcpy(out->buffer + out->length, bytes, length);
    out->length += length;
}

static void pad(struct out *out, size_t alignment)
{
    while (out->length % alignment != 0)
        put(out, "", 1);
}

static void put_hex(struct out *out, size_t value)
{
    char digits[8];

    for (size_t i = 0; i < 8; i++)
        digits[i] = "0123456789ABCDEF"[value >> (28 - 4 * i) & 15];
    put(out, digits, sizeof(digits));
}

/* The fields in their order: number, mode, owner, group, links, time, size, four device numbers,
 * length of the name, checksum (none in this format). One link, so that nobody looks for more. */
static void put_member(struct out *out, size_t number, const char *path, uint32_t mode,
                       const void *bytes, size_t length)
{
    size_t path_size = q2_text_length(path) + 1;
    const size_t fields[] = {number, mode, 0, 0, 1, 0, length, 0, 0, 0, 0, path_size, 0};

    put(out, "070701", 6);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        put_hex(out, fields[i]);
    put(out, path, path_size);
    pad(out, 4);
    put(out, bytes, length);
    pad(out, 4);
}

static void put_archive(struct out *out, const struct q2_handoff_cpio *parts)
{
    for (size_t i = 0; i < NB_MEMBERS; i++) {
        const struct member *member = &members[i];
        const void *bytes = member->text;
        size_t length = member->text ? q2_text_length(member->text) : 0;

        if (member->source == SOURCE_PROGRAM) {
            bytes = parts->program;
            length = parts->program_length;
        } else if (member->source == SOURCE_RECORD) {
            bytes = parts->record;
            length = parts->record_length;
        }
        put_member(out, i + 1, member->path, member->mode, bytes, length);
    }
    put_member(out, 0, "TRAILER!!!", 0, NULL, 0);
    pad(out, BLOCK_SIZE);
}

size_t q2_handoff_cpio_size(size_t program_length, size_t record_length)
{
    const struct q2_handoff_cpio parts = {.program_length = program_length,
                                          .record_length = record_length};
    struct out out = {.buffer = NULL};

    if (program_length > Q2_HANDOFF_MAX_CPIO_PARTS ||
        record_length > Q2_HANDOFF_MAX_CPIO_PARTS - program_length)
        return 0;
    put_archive(&out, &parts);
    return out.length;
}

enum q2_status q2_handoff_cpio_make(const struct q2_handoff_cpio *parts, void *buffer, size_t size)
{
    size_t needed = q2_handoff_cpio_size(parts->program_length, parts->record_length);
    struct out out = {.buffer = buffer, .size = size};

    if (needed == 0 || needed > size)
        return Q2_ERR_LIMIT;
    put_archive(&out, parts);
    return Q2_OK;
}
