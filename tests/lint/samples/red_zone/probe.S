/* Refused: orq.
 * A stack probe, as compilers make them for large frames.
 */
        .globl  sample_probe
sample_probe:
        orq     $0, -4096(%rsp)
        ret
