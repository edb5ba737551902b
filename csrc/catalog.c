/* catalog.c: the names of kernel objects. */
#include "winipc.h"

int
wi_catalog_init(PyObject *module, wi_state *state)
{
    WI_UNUSED(module);
    WI_UNUSED(state);
    return 0;
}
