/* Lists of words with commas between. Calls nothing. */
#include "words.h"

char *words_cut(char **text)
{
    char *from = *text, *to = *text, *word = *text;

    for (; *from != '\0' && !(*from == ',' && from[1] != ','); from += *from == ',' ? 2 : 1)
        *to++ = *from;
    *text = *from == ',' ? from + 1 : from;
    *to = '\0';
    return word;
}
