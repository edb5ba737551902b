/* memory.c: GlobalMemory. */
#include "winipc.h"

int
wi_memory_init(PyObject *module, wi_state *state)
{
    WI_UNUSED(module);
    WI_UNUSED(state);
    return 0;
}
