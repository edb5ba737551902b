/* guard.h: work on memory whose pages may fail to come in; see guard.c. */
#ifndef WINIPC_BASE_GUARD_H
#define WINIPC_BASE_GUARD_H

#include "core.h"

typedef void (*wi_guarded_fn)(void *arg);

/* Whoever calls wi_guarded() owns a guard meanwhile. 0, or -1. */
int wi_guard_new(void **guard);
void wi_guard_free(void *guard);

/* Run work(arg). ERROR_SUCCESS when it finished; ERROR_SWAPERROR when a page
 * could not be brought in, ERROR_NOACCESS when one in [low, high) is gone. */
DWORD
wi_guarded(wi_guarded_fn work, void *arg, const char *low, const char *high);

#endif
