/* Refused: blank at the end of the line. */
int sample; 
