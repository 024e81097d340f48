/* The bytes of the Linux program.
 *
 * efi.mk names the file in MC_HANDOFF_PROGRAM and makes this depend on it. Without it the program
 * has 0 bytes, and nothing is handed over.
 */
#include "program.h"

#ifdef MC_HANDOFF_PROGRAM
__asm__(".pushsection .rodata.handoff_program, \"a\"\n"
        ".balign 16\n"
        ".globl mc_handoff_program\n"
        ".hidden mc_handoff_program\n"
        "mc_handoff_program:\n"
        ".incbin \"" MC_HANDOFF_PROGRAM "\"\n"
        ".globl mc_handoff_program_end\n"
        ".hidden mc_handoff_program_end\n"
        "mc_handoff_program_end:\n"
        ".popsection\n");

extern const uint8_t mc_handoff_program_end[];
#else /* it is not built for this architecture */
const uint8_t mc_handoff_program[1];
#define mc_handoff_program_end mc_handoff_program
#endif

size_t mc_handoff_program_size(void)
{
    return (size_t)((uintptr_t)mc_handoff_program_end - (uintptr_t)mc_handoff_program);
}
