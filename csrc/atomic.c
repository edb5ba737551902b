/* atomic.c: interlocked operations on shared memory. */
#include "winipc.h"

int
wi_atomic_init(PyObject *module, wi_state *state)
{
    WI_UNUSED(module);
    WI_UNUSED(state);
    return 0;
}
