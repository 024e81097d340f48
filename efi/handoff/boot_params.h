/* The boot parameters that a loader hands to an x86 Linux kernel, as bytes of memory.
 * (Linux, "The Linux/x86 Boot Protocol"; "Zero Page")
 *
 * Pure: looks at bytes, calls nothing. Whoever finds boot parameters in memory has no name or
 * handle to trust, so every rule here is a test of what the bytes say.
 */
#ifndef METALCOW_EFI_HANDOFF_BOOT_PARAMS_H
#define METALCOW_EFI_HANDOFF_BOOT_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The boot parameters fill one page and start at its first byte. */
#define MC_BOOT_PARAMS_SIZE 4096u

/* How the loader enters the kernel. */
enum mc_boot_entry {
    MC_BOOT_ENTRY_HANDOVER, /* through the EFI stub: the stub will ask for LoadFile2 */
    MC_BOOT_ENTRY_LEGACY,   /* the 32-bit entry after ExitBootServices: nobody asks any more */
};

/* What boot parameters say. Addresses are physical and untrusted. */
struct mc_boot_params {
    enum mc_boot_entry entry;
    uint64_t initrd;       /* address; 0 while the loader has none yet */
    uint64_t initrd_size;  /* bytes */
    uint64_t initrd_max;   /* highest address that a byte of the initrd may have */
    uint32_t command_line; /* address of the kernel's command line; for LEGACY the address after
                                the loader has moved it, where nothing may be stored yet */
};

/* Are these the boot parameters of a kernel that a GRUB is about to start?
 *
 * page        MC_BOOT_PARAMS_SIZE bytes, untrusted
 * ret_params  set if the answer is yes
 * returns     false: something else, such as a copy of the kernel's file
 */
bool mc_boot_params_read(const uint8_t *page, struct mc_boot_params *ret_params);

/* Store another initrd. address and size as struct mc_boot_params has them. */
void mc_boot_params_set_initrd(uint8_t *page, uint64_t address, uint64_t size);

/* Does an initrd start with these bytes: a cpio archive ("newc"), or one of the compressions that
 * the kernel knows?
 *
 * bytes, length  the first bytes of the range; 6 are enough, fewer give false
 */
bool mc_initrd_has_magic(const uint8_t *bytes, size_t length);

/* Is this a command line as GRUB makes it? Its first word is "BOOT_IMAGE=...". length: bytes that
 * may be looked at. */
bool mc_command_line_is_grubs(const uint8_t *bytes, size_t length);

/* The size that an initrd takes when another archive follows it: rounded up to 4 bytes, where the
 * kernel looks for the next archive. */
static inline uint64_t mc_initrd_padded(uint64_t size)
{
    return (size + 3) & ~(uint64_t)3;
}

#endif
