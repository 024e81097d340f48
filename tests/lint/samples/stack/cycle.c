/* Refused: cycle in cycle.c. */
unsigned sample_even(unsigned n);
unsigned sample_odd(unsigned n);

unsigned sample_even(unsigned n)
{
    return n == 0 ? 1 : sample_odd(n - 1) ^ 2;
}

unsigned sample_odd(unsigned n)
{
    return n == 0 ? 0 : sample_even(n - 1) ^ 4;
}
