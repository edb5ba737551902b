/* mapping.c: SharedMapping. */
#include "winipc.h"

int
wi_mapping_init(PyObject *module, wi_state *state)
{
    WI_UNUSED(module);
    WI_UNUSED(state);
    return 0;
}
