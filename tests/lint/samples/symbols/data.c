/* Refused: writable data in .data. */
unsigned sample_data(void);

unsigned sample_data(void)
{
    static unsigned next = 5;

    return next++;
}
