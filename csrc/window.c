/* window.c: CopyDataWindow. */
#include "winipc.h"

int
wi_window_init(PyObject *module, wi_state *state)
{
    WI_UNUSED(module);
    WI_UNUSED(state);
    return 0;
}
