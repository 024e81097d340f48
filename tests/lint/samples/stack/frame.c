/* Refused: frame of 10. */
void sample_use(void *buffer);
void sample_frame(void);

void sample_frame(void)
{
    char buffer[1024];

    sample_use(buffer);
}
