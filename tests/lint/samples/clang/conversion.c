/* Refused: -Wsign-conversion. */
unsigned sample_conversion(int n);

unsigned sample_conversion(int n)
{
    return n;
}
