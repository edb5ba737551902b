/* signed_one.c: see signed.h. */
#define BUILD 1
#include "signed.h"
