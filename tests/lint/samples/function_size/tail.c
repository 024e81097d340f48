/* Refused: within 40 lines, less than 90%. */
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
    n += 11;
    n += 12;
    n += 13;
    n += 14;
    n += 15;
    n += 16;
    n += 17;
    n += 18;
    n += 19;
    n += 20;
    n += 21;
    n += 22;
    n += 23;
    n += 24;
    n += 25;
    n += 26;
    n += 27;
    n += 28;
    n += 29;
    n += 30;
    n += 31;
    n += 32;
    n += 33;
    n += 34;
    n += 35;
    n ^= 1;
    return n;
}

unsigned sample_b(unsigned n);

unsigned sample_b(unsigned n)
{
    n += 0;
    n ^= 1;
    return n;
}

unsigned sample_c(unsigned n);

unsigned sample_c(unsigned n)
{
    n += 0;
    n ^= 1;
    return n;
}

unsigned sample_d(unsigned n);

unsigned sample_d(unsigned n)
{
    n += 0;
    n ^= 1;
    return n;
}

unsigned sample_e(unsigned n);

unsigned sample_e(unsigned n)
{
    n += 0;
    n ^= 1;
    return n;
}

unsigned sample_f(unsigned n);

unsigned sample_f(unsigned n)
{
    n += 0;
    n ^= 1;
    return n;
}

unsigned sample_g(unsigned n);

unsigned sample_g(unsigned n)
{
    n += 0;
    n ^= 1;
    return n;
}

unsigned sample_h(unsigned n);

unsigned sample_h(unsigned n)
{
    n += 0;
    n ^= 1;
    return n;
}

unsigned sample_i(unsigned n);

unsigned sample_i(unsigned n)
{
    n += 0;
    n ^= 1;
    return n;
}
