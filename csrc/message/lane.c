/* lane.c: how a sender asks in a lane; see lane.h. The receiver is pump.c.
 *
 *     answer = _core._lane(mapping, _core.LANE_ASK, hwnd, length)
 */
#include "lane.h"

#include "base/bytes.h"

/* What a sender may do, and what it gets when there is no answer. */
enum { LANE_LOOK, LANE_ASK, LANE_ANSWER, LANE_WITHDRAW };
enum { LANE_NOT_ANSWERED = -1, LANE_NOT_TAKEN = -2 };

static int64_t
lane_answer(wi_lane *lane)
{
    return WINIPC_LOAD(&lane->state) == LANE_FREE
               ? (int64_t)(WINIPC_LOAD(&lane->answer) & INT64_MAX)
               : LANE_NOT_ANSWERED;
}

static int64_t
lane_look(wi_lane *lane, uint64_t hwnd)
{
    int looks = WINIPC_LOAD(&lane->looking) == hwnd;
    if (!looks) {
        WINIPC_STORE(&lane->wanted, 1);
    }
    return looks;
}

static int64_t
lane_ask(wi_lane *lane, uint64_t hwnd, uint64_t length, uint64_t us)
{
    if (!lane_look(lane, hwnd) || WINIPC_LOAD(&lane->state) != LANE_FREE ||
        length > WINIPC_LOAD_RELAXED(&lane->most)) {
        return LANE_NOT_TAKEN;
    }
    lane_clock clock = {winipc_os_ticks() + wi_lane_ticks(us), 0};
    uint64_t state;
    WINIPC_STORE(&lane->length, length);
    WINIPC_STORE_SC(&lane->state, LANE_ASKED);
    do {
        state = WINIPC_LOAD(&lane->state);
    } while (state != LANE_FREE &&
             (state == LANE_TAKEN || WINIPC_LOAD(&lane->looking) == hwnd) &&
             wi_lane_pause(&clock));
    return WINIPC_CAS(&lane->state, LANE_ASKED, LANE_FREE) ? LANE_NOT_TAKEN
                                                           : lane_answer(lane);
}

static int64_t
lane_do(wi_lane *lane, int what, uint64_t hwnd, uint64_t length, uint64_t us)
{
    switch (what) {
    case LANE_LOOK:
        return lane_look(lane, hwnd);
    case LANE_ASK:
        return lane_ask(lane, hwnd, length, us);
    case LANE_ANSWER:
        return lane_answer(lane);
    default:
        return WINIPC_CAS(&lane->state, LANE_ASKED, LANE_FREE);
    }
}

static PyObject *
lane_call(PyObject *module, PyObject *args)
{
    wi_state *state = PyModule_GetState(module);
    PyObject *memory;
    int what;
    uint64_t hwnd = 0, length = 0;
    DWORD us = 0;
    if (!PyArg_ParseTuple(args, "O!i|O&O&O&:_lane", state->bytes_type, &memory,
                          &what, wi_u64_converter, &hwnd, wi_u64_converter,
                          &length, wi_u32_converter, &us) ||
        wi_bytes_check_open(memory) < 0) {
        return NULL;
    }
    wi_bytes *bytes = &((wi_bytes_object *)memory)->bytes;
    int64_t result = what == LANE_LOOK ? 0 : LANE_NOT_TAKEN;
    /* What has a file behind it is another program's: its pages may fail. */
    if (bytes->size < (Py_ssize_t)sizeof(wi_lane) || bytes->guarded) {
        return PyLong_FromLongLong(result);
    }
    if (what != LANE_ASK) {
        result = lane_do((wi_lane *)bytes->base, what, hwnd, length, us);
        return PyLong_FromLongLong(result);
    }
    bytes->pins++;
    Py_BEGIN_ALLOW_THREADS
    result = lane_do((wi_lane *)bytes->base, what, hwnd, length, us);
    Py_END_ALLOW_THREADS
    wi_bytes_unpin(memory);
    return PyLong_FromLongLong(result);
}

static PyMethodDef lane_functions[] = {
    {"_lane", lane_call, METH_VARARGS,
     "_lane($module, memory, what, hwnd=0, length=0, us=0, /)\n--\n\n"
     "Whether it looks; the answer, or LANE_NOT_ANSWERED, LANE_NOT_TAKEN."},
    {NULL, NULL, 0, NULL},
};

int
wi_lane_init(PyObject *module, wi_state *Py_UNUSED(state))
{
    if (PyModule_AddIntMacro(module, LANE_LOOK) < 0 ||
        PyModule_AddIntMacro(module, LANE_ASK) < 0 ||
        PyModule_AddIntMacro(module, LANE_ANSWER) < 0 ||
        PyModule_AddIntMacro(module, LANE_WITHDRAW) < 0 ||
        PyModule_AddIntMacro(module, LANE_NOT_ANSWERED) < 0 ||
        PyModule_AddIntMacro(module, LANE_NOT_TAKEN) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, lane_functions);
}
