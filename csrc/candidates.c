/* candidates.c: CandidateSet. */
#include "scanner.h"

int
wi_candidates_init(PyObject *module, wi_state *state)
{
    WI_UNUSED(module);
    WI_UNUSED(state);
    return 0;
}
