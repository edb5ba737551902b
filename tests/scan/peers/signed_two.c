/* signed_two.c: see signed.h. */
#define BUILD 2
#include "signed.h"
