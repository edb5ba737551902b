/* channel.c: the channel between processes. */
#include "winipc.h"

int
wi_channel_init(PyObject *module, wi_state *state)
{
    WI_UNUSED(module);
    WI_UNUSED(state);
    return 0;
}
