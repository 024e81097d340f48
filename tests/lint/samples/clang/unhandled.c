/* Refused: -Wswitch-enum. */
enum kind {
    KIND_A,
    KIND_B,
};

int sample_unhandled(enum kind kind);

int sample_unhandled(enum kind kind)
{
    switch (kind) {
    case KIND_A:
        return 1;
    default:
        return 0;
    }
}
