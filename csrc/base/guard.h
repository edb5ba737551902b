/* guard.h: work on memory whose pages may fail to come in; see guard.c. */
#ifndef WINIPC_BASE_GUARD_H
#define WINIPC_BASE_GUARD_H

#include "core.h"

typedef void (*wi_guarded_fn)(void *arg);

/* Callers of wi_guarded() hold its handler from before the call until after
 * it. 0, or -1 without an exception when memory is short. Any thread, with or
 * without the GIL. */
int wi_guard_hold(void);
void wi_guard_drop(void);

/* Run work(arg). ERROR_SUCCESS if it finished, ERROR_SWAPERROR if a page could
 * not be brought in, ERROR_NOACCESS if a page in [low, high) is gone. */
DWORD
wi_guarded(wi_guarded_fn work, void *arg, const char *low, const char *high);

#endif
