/* process.c: RemoteProcess. */
#include "winipc.h"

int
wi_process_init(PyObject *module, wi_state *state)
{
    WI_UNUSED(module);
    WI_UNUSED(state);
    return 0;
}
