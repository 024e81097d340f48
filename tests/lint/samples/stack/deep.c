/* Refused: needs 4. */
void sample_use(void *buffer);
void sample_deep(void);

#define LEVEL(name, below)                                                                         \
    static void name(void)                                                                         \
    {                                                                                              \
        char buffer[900];                                                                          \
        sample_use(buffer);                                                                        \
        below;                                                                                     \
        sample_use(buffer);                                                                        \
    }

LEVEL(level_6, sample_use(buffer))
LEVEL(level_5, level_6())
LEVEL(level_4, level_5())
LEVEL(level_3, level_4())
LEVEL(level_2, level_3())

void sample_deep(void)
{
    level_2();
}
