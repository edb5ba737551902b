/* guard.h: work on memory whose pages may fail to come in; see guard.c. */
#ifndef WINIPC_BASE_GUARD_H
#define WINIPC_BASE_GUARD_H

#include "core.h"

typedef void (*wi_guarded_fn)(void *arg);

/* A caller of wi_guarded() holds the handler meanwhile. 0, or -1 when there is
 * no memory for it, with no exception set. Any thread, with or without GIL. */
int wi_guard_hold(void);
void wi_guard_drop(void);

/* Run work(arg). ERROR_SUCCESS when it finished; ERROR_SWAPERROR when a page
 * could not be brought in, ERROR_NOACCESS when one in [low, high) is gone. */
DWORD
wi_guarded(wi_guarded_fn work, void *arg, const char *low, const char *high);

#endif
