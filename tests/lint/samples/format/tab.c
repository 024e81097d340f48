/* Refused: tab. */
int	sample;
