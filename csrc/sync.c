/* sync.c: Mutex, Event, Semaphore and waits. */
#include "winipc.h"

int
wi_sync_init(PyObject *module, wi_state *state)
{
    WI_UNUSED(module);
    WI_UNUSED(state);
    return 0;
}
