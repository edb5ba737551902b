/* signed_three.c: see signed.h. */
#ifdef _MSC_VER
#pragma optimize("", off)
#elif defined(__clang__)
#pragma clang optimize off
#else
#pragma GCC optimize("O0")
#endif
#define BUILD 3
#include "signed.h"
