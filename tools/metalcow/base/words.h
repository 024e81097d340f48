/* Lists of words with commas between, as in QEMU's command lines. */
#ifndef METALCOW_WORDS_H
#define METALCOW_WORDS_H

/* Cut the first word off a list, in place; a comma inside of a word is written as two.
 *
 * text  the list, which is not empty; then what follows the word and its comma
 *
 * returns  the word
 */
char *words_cut(char **text);

#endif
