/* Refused: belongs to no interface. */
#include <curl/curl.h>
