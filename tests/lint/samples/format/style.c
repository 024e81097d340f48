/* Refused: code should be clang-formatted. */
int sample(int a)
{
  return   a;
}
