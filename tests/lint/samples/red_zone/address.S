/* Refused: lea.
 * The address of a local in the red zone, used through another register.
 */
        .globl  sample_address
sample_address:
        lea     -72(%rsp), %rax
        mov     %rdi, (%rax)
        ret
