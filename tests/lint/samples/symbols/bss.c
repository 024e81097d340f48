/* Refused: writable data in .bss. */
unsigned sample_bss(void);

unsigned sample_bss(void)
{
    static unsigned calls;

    return ++calls;
}
