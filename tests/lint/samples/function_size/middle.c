/* Refused: within 15 lines, less than 50%. */
unsigned sample_a(unsigned n);

unsigned sample_a(unsigned n)
{
    n += 0;
    n += 1;
    n += 2;
    n += 3;
    n += 4;
    n += 5;
    n += 6;
    n += 7;
    n += 8;
    n += 9;
    n += 10;
    n ^= 1;
    return n;
}

unsigned sample_b(unsigned n);

unsigned sample_b(unsigned n)
{
    n += 0;
    n += 1;
    n += 2;
    n += 3;
    n += 4;
    n += 5;
    n += 6;
    n += 7;
    n += 8;
    n += 9;
    n += 10;
    n ^= 1;
    return n;
}

unsigned sample_c(unsigned n);

unsigned sample_c(unsigned n)
{
    n += 0;
    n += 1;
    n += 2;
    n += 3;
    n += 4;
    n ^= 1;
    return n;
}
