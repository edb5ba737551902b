/* message.c: registered messages, window look-up and sends. */
#include "winipc.h"

int
wi_message_init(PyObject *module, wi_state *state)
{
    WI_UNUSED(module);
    WI_UNUSED(state);
    return 0;
}
