/* The bytes of metalcowdxe.efi.
 *
 * efi.mk names the file in MC_EMBEDDED_DRIVER and makes this depend on it.
 */
#include "embedded_driver.h"

__asm__(".pushsection .rodata.embedded_driver, \"a\"\n"
        ".balign 16\n"
        ".globl mc_embedded_driver\n"
        ".hidden mc_embedded_driver\n"
        "mc_embedded_driver:\n"
        ".incbin \"" MC_EMBEDDED_DRIVER "\"\n"
        ".globl mc_embedded_driver_end\n"
        ".hidden mc_embedded_driver_end\n"
        "mc_embedded_driver_end:\n"
        ".popsection\n");

extern const uint8_t mc_embedded_driver_end[];

size_t mc_embedded_driver_size(void)
{
    return (size_t)((uintptr_t)mc_embedded_driver_end - (uintptr_t)mc_embedded_driver);
}
