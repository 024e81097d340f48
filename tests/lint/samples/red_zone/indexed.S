/* Refused: (%rsp,%rcx,4).
 * An array in the red zone.
 */
        .globl  sample_indexed
sample_indexed:
        mov     %edi, -24(%rsp,%rcx,4)
        ret
