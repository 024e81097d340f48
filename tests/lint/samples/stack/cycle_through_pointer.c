/* Refused: cycle in cycle_through_pointer.c. */
struct ops {
    unsigned (*step)(const struct ops *ops, unsigned n);
};

unsigned sample_walk(const struct ops *ops, unsigned n);

static unsigned step_down(const struct ops *ops, unsigned n)
{
    return sample_walk(ops, n - 1) + 1;
}

extern const struct ops sample_ops;
const struct ops sample_ops = {
    .step = step_down,
};

unsigned sample_walk(const struct ops *ops, unsigned n)
{
    return n == 0 ? 0 : ops->step(ops, n) ^ 1;
}
