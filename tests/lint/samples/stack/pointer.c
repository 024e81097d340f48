/* Refused: through a pointer, and nothing implements it. */
struct ops {
    void (*surprise)(void);
};

void sample_pointer(const struct ops *ops);

void sample_pointer(const struct ops *ops)
{
    ops->surprise();
}
