/* waits.c: wait_any and wait_all, for any number of objects.
 *
 * Windows waits for 64 handles at most. wait_any over more keeps up to 63 in
 * the calling thread and hands the rest to threads that wait for 63 each (and
 * for a stop event): nobody polls. The first to be satisfied publishes its
 * index; whatever another thread took in the same instant is given back, so
 * that exactly one object is consumed. A mutex belongs to the thread that
 * waited for it, and some handles cannot be given back (a timer, an event
 * without EVENT_MODIFY_STATE): those stay in the calling thread, which always
 * wins. wait_all over more takes them in lots of 64, those of the last kind
 * in the final lot, and gives back what it took when it does not get all. */
#include "waitable.h"

#include "base/nt.h"

#include <stdlib.h>

#define WAITS_LOT MAXIMUM_WAIT_OBJECTS
/* A generous bound: a thread with a small stack for each 63 of them. */
#define WAITS_MAX 16384

typedef struct {
    HANDLE handle;
    SyncObject *object; /* borrowed from the tuple; NULL for a number */
    sync_undo undo;     /* known only when waits_classify was called */
} waits_item;

typedef struct {
    PyObject *tuple; /* keeps the objects alive */
    waits_item *items;
    DWORD count;
    DWORD pinned; /* how many items are pinned */
} waits_set;

/* -------------------------------------------------------------- arguments */

static int
waits_compare(const void *a, const void *b)
{
    uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
    return x < y ? -1 : x > y;
}

/* WaitForMultipleObjects refuses the same handle twice with a bare 87. */
static int
waits_check_distinct(const waits_set *set)
{
    uintptr_t *sorted = PyMem_Malloc(set->count * sizeof(*sorted));
    if (sorted == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (DWORD i = 0; i < set->count; i++) {
        sorted[i] = (uintptr_t)set->items[i].handle;
    }
    qsort(sorted, set->count, sizeof(*sorted), waits_compare);
    int twice = 0;
    for (DWORD i = 1; i < set->count; i++) {
        twice |= sorted[i] == sorted[i - 1];
    }
    PyMem_Free(sorted);
    if (twice) {
        PyErr_SetString(PyExc_ValueError, "the same object is given twice");
        return -1;
    }
    return 0;
}

static void
waits_clear(waits_set *set)
{
    for (DWORD i = 0; i < set->pinned; i++) {
        if (set->items[i].object != NULL) {
            set->items[i].object->pins--;
        }
    }
    PyMem_Free(set->items);
    Py_CLEAR(set->tuple);
}

/* Fill set from an iterable of Waitables and handle numbers, and pin them. */
static int
waits_init(waits_set *set, wi_state *state, PyObject *objects)
{
    memset(set, 0, sizeof(*set));
    set->tuple = PySequence_Tuple(objects);
    if (set->tuple == NULL) {
        return -1;
    }
    Py_ssize_t count = PyTuple_Size(set->tuple);
    if (count < 1 || count > WAITS_MAX) {
        PyErr_Format(PyExc_ValueError, "a wait takes 1 to %d objects, not %zd",
                     WAITS_MAX, count);
        goto failed;
    }
    set->items = PyMem_Calloc((size_t)count, sizeof(*set->items));
    if (set->items == NULL) {
        PyErr_NoMemory();
        goto failed;
    }
    /* The numbers first: an __index__ may run Python code that closes the
     * objects, which are looked at afterwards. */
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *value = PyTuple_GetItem(set->tuple, i);
        if (PyObject_TypeCheck(value, state->waitable_type)) {
            set->items[i].object = (SyncObject *)value;
        }
        else if (!PyIndex_Check(value)) {
            PyErr_Format(PyExc_TypeError,
                         "a wait takes Mutex, Event, Semaphore or the number "
                         "of a handle, not %R",
                         (PyObject *)Py_TYPE(value));
            goto failed;
        }
        else if (!wi_handle_converter(value, &set->items[i].handle)) {
            goto failed;
        }
    }
    set->count = (DWORD)count;
    for (DWORD i = 0; i < set->count; i++) {
        SyncObject *object = set->items[i].object;
        if (object != NULL) {
            if (object->handle == NULL) {
                PyErr_Format(PyExc_ValueError, "object %u is closed",
                             (unsigned int)i);
                goto failed;
            }
            object->pins++;
            set->items[i].handle = object->handle;
        }
        set->pinned = i + 1;
    }
    if (waits_check_distinct(set) == 0) {
        return 0;
    }
failed:
    waits_clear(set);
    return -1;
}

/* ---------------------------------------------------------------- results */

/* AbandonedError about mutexes that are known by number only: `mutex` is the
 * number, or None where it may be any of them. */
static int
waits_raise_abandoned(wi_state *state, PyObject *label, PyObject *number)
{
    if (label != NULL && number != NULL) {
        wi_raise_abandoned(state, "WaitForMultipleObjects", label, number);
    }
    Py_XDECREF(label);
    Py_XDECREF(number);
    return -1;
}

/* Book what the wait took for the calling thread; -1 with AbandonedError. */
static int
waits_took(wi_state *state, waits_item *item, int abandoned)
{
    if (item->object == NULL && abandoned) {
        return waits_raise_abandoned(
            state, PyUnicode_FromFormat("handle %zu", (size_t)item->handle),
            PyLong_FromSize_t((size_t)item->handle));
    }
    if (item->object == NULL || item->object->kind != SYNC_MUTEX) {
        return 0;
    }
    sync_taken(item->object, abandoned);
    if (abandoned) {
        sync_raise_abandoned(item->object, "WaitForMultipleObjects");
        return -1;
    }
    return 0;
}

/* Find out how each item can be given back. */
static void
waits_classify(waits_set *set)
{
    for (DWORD i = 0; i < set->count; i++) {
        set->items[i].undo = sync_undo_of(set->items[i].handle);
    }
}

static int
waits_raise(DWORD err, const char *api, DWORD count)
{
    PyObject *label = PyUnicode_FromFormat("%u handles", (unsigned int)count);
    if (label != NULL) {
        wi_raise(err, api, label);
        Py_DECREF(label);
    }
    return -1;
}

/* --------------------------------------------------------------- wait_any */

#define FANOUT_NONE (-1L)   /* nobody has won */
#define FANOUT_CALLER (-2L) /* the calling thread has */
#define FANOUT_FAILED (-3L) /* a helper's wait failed */

/* What the calling thread and its helpers share. */
typedef struct {
    waits_item *items;
    HANDLE stop; /* manual: helpers end */
    HANDLE done; /* manual: winner has been set by a helper */
    volatile LONG winner;
    volatile LONG error; /* of a helper's wait that failed */
} fanout;

typedef struct {
    fanout *shared;
    HANDLE thread;
    DWORD count;
    DWORD index[WAITS_LOT - 1];
} fanout_helper;

static DWORD WINAPI
fanout_main(LPVOID arg)
{
    fanout_helper *helper = arg;
    fanout *shared = helper->shared;
    HANDLE handles[WAITS_LOT];
    /* First, so that it goes before any other: nothing is taken once the
     * calling thread has said stop. */
    handles[0] = shared->stop;
    for (DWORD i = 0; i < helper->count; i++) {
        handles[i + 1] = shared->items[helper->index[i]].handle;
    }
    DWORD result =
        WaitForMultipleObjects(helper->count + 1, handles, FALSE, INFINITE);
    if (result == WAIT_FAILED) {
        DWORD err = GetLastError();
        if (InterlockedCompareExchange(&shared->winner, FANOUT_FAILED,
                                       FANOUT_NONE) == FANOUT_NONE) {
            InterlockedExchange(&shared->error, (LONG)err);
            SetEvent(shared->done);
        }
        return 0;
    }
    DWORD at = result - WAIT_OBJECT_0;
    if (at == 0 || at > helper->count) {
        return 0;
    }
    DWORD index = helper->index[at - 1];
    if (InterlockedCompareExchange(&shared->winner, (LONG)index,
                                   FANOUT_NONE) == FANOUT_NONE) {
        SetEvent(shared->done);
    }
    else {
        sync_give_back(shared->items[index].handle, shared->items[index].undo);
    }
    return 0;
}

/* End the helpers and wait for them; none of them can block by then. */
static void
fanout_join(fanout *shared, fanout_helper *helpers, DWORD count)
{
    Py_BEGIN_ALLOW_THREADS
    SetEvent(shared->stop);
    for (DWORD i = 0; i < count; i++) {
        WaitForSingleObject(helpers[i].thread, INFINITE);
        CloseHandle(helpers[i].thread);
    }
    Py_END_ALLOW_THREADS
}

/* wait_any over more than 64. 1 and *index, 0 for a timeout, -1. */
static int
waits_any_fanout(waits_set *set, uint64_t timeout_ms, DWORD *index,
                 int *abandoned)
{
    fanout shared = {.items = set->items, .winner = FANOUT_NONE};
    DWORD own[WAITS_LOT], own_count = 0, helper_count = 0, started = 0;
    HANDLE handles[WAITS_LOT];
    fanout_helper *helpers = NULL;
    int outcome = -1;

    waits_classify(set);
    for (DWORD i = 0; i < set->count; i++) {
        if (set->items[i].undo == SYNC_UNDO_FINAL) {
            if (own_count == WAITS_LOT - 1) {
                PyErr_Format(PyExc_ValueError,
                             "at most %d mutexes (and other handles that "
                             "only their waiter can own) fit in a wait for "
                             "more than %d objects",
                             WAITS_LOT - 1, WAITS_LOT);
                return -1;
            }
            own[own_count++] = i;
        }
    }
    DWORD others = set->count - own_count;
    DWORD own_others = WAITS_LOT - 1 - own_count;
    helper_count = (others - own_others + WAITS_LOT - 2) / (WAITS_LOT - 1);
    helpers = PyMem_Calloc(helper_count, sizeof(*helpers));
    shared.stop = CreateEventW(NULL, TRUE, FALSE, NULL);
    shared.done = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (helpers == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    if (shared.stop == NULL || shared.done == NULL) {
        waits_raise(GetLastError(), "CreateEventW", set->count);
        goto done;
    }
    DWORD placed = 0;
    for (DWORD i = 0; i < set->count; i++) {
        if (set->items[i].undo == SYNC_UNDO_FINAL) {
            continue;
        }
        if (own_others > 0) {
            own_others--;
            own[own_count++] = i;
            continue;
        }
        fanout_helper *helper = &helpers[placed++ / (WAITS_LOT - 1)];
        helper->index[helper->count++] = i;
    }
    for (; started < helper_count; started++) {
        fanout_helper *helper = &helpers[started];
        helper->shared = &shared;
        helper->thread = CreateThread(NULL, 65536, fanout_main, helper,
                                      STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
        if (helper->thread == NULL) {
            waits_raise(GetLastError(), "CreateThread", set->count);
            break;
        }
    }
    DWORD result = WAIT_FAILED;
    if (started == helper_count) {
        for (DWORD i = 0; i < own_count; i++) {
            handles[i] = set->items[own[i]].handle;
        }
        handles[own_count] = shared.done;
        result = wi_wait(handles, own_count + 1, FALSE, timeout_ms);
    }
    LONG winner =
        InterlockedCompareExchange(&shared.winner, FANOUT_CALLER, FANOUT_NONE);
    fanout_join(&shared, helpers, started);
    if (winner >= 0) {
        *index = (DWORD)winner;
    }
    *abandoned = 0;
    if (result < WAIT_OBJECT_0 + own_count ||
        (result >= WAIT_ABANDONED_0 &&
         result < WAIT_ABANDONED_0 + own_count)) {
        /* What this thread took may be a mutex: it wins, and what a helper
         * took goes back. */
        if (winner >= 0) {
            sync_give_back(set->items[*index].handle, set->items[*index].undo);
        }
        *abandoned = result >= WAIT_ABANDONED_0;
        *index = own[*abandoned ? result - WAIT_ABANDONED_0 : result];
        outcome = 1;
    }
    else if (result == WAIT_FAILED) {
        if (winner >= 0) {
            sync_give_back(set->items[*index].handle, set->items[*index].undo);
        }
    }
    else if (winner >= 0) {
        outcome = 1; /* in time, if only just */
    }
    else if (winner == FANOUT_FAILED) {
        waits_raise((DWORD)shared.error, "WaitForMultipleObjects", set->count);
    }
    else {
        outcome = 0;
    }
done:
    if (shared.done != NULL) {
        CloseHandle(shared.done);
    }
    if (shared.stop != NULL) {
        CloseHandle(shared.stop);
    }
    PyMem_Free(helpers);
    return outcome;
}

/* Look once, in order, without waiting. 1 and *index, 0 for none, -1. */
static int
waits_any_now(waits_set *set, DWORD *index, int *abandoned)
{
    HANDLE handles[WAITS_LOT];
    for (DWORD first = 0; first < set->count; first += WAITS_LOT) {
        DWORD count = min(set->count - first, (DWORD)WAITS_LOT);
        for (DWORD i = 0; i < count; i++) {
            handles[i] = set->items[first + i].handle;
        }
        DWORD result = WaitForMultipleObjects(count, handles, FALSE, 0);
        if (result == WAIT_FAILED) {
            return waits_raise(GetLastError(), "WaitForMultipleObjects",
                               count);
        }
        if (result != WAIT_TIMEOUT) {
            *abandoned = result >= WAIT_ABANDONED_0;
            *index = first + (result -
                              (*abandoned ? WAIT_ABANDONED_0 : WAIT_OBJECT_0));
            return 1;
        }
    }
    return 0;
}

PyDoc_STRVAR(waits_any_doc,
             "_wait_any($module, /, objects, timeout=None, slices=True)\n"
             "--\n\n"
             "Index of the object that ended the wait, or -1 for a timeout.\n"
             "slices=False is for a thread that needs no Ctrl+C: it sleeps\n"
             "through, where others look for signals ten times a second.\n\n"
             "Win32: WaitForMultipleObjects");

static PyObject *
waits_any(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"objects", "timeout", "slices", NULL};
    PyObject *objects;
    uint64_t timeout_ms = WI_FOREVER;
    int slices = 1, abandoned = 0;
    waits_set set;
    DWORD index = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O&p:_wait_any", keywords,
                                     &objects, wi_timeout_converter,
                                     &timeout_ms, &slices) ||
        waits_init(&set, PyModule_GetState(module), objects) < 0) {
        return NULL;
    }
    int outcome = waits_any_now(&set, &index, &abandoned);
    if (outcome == 0 && timeout_ms > 0) {
        if (set.count > WAITS_LOT) {
            outcome = waits_any_fanout(&set, timeout_ms, &index, &abandoned);
        }
        else {
            HANDLE handles[WAITS_LOT];
            DWORD result, err;
            for (DWORD i = 0; i < set.count; i++) {
                handles[i] = set.items[i].handle;
            }
            if (slices) {
                result = wi_wait(handles, set.count, FALSE, timeout_ms);
            }
            else {
                DWORD ms =
                    timeout_ms < INFINITE ? (DWORD)timeout_ms : INFINITE;
                WI_CALL(err, result = WaitForMultipleObjects(
                                 set.count, handles, FALSE, ms));
                if (result == WAIT_FAILED) {
                    waits_raise(err, "WaitForMultipleObjects", set.count);
                }
            }
            abandoned = result >= WAIT_ABANDONED_0 && result != WAIT_TIMEOUT;
            index = result - (abandoned ? WAIT_ABANDONED_0 : WAIT_OBJECT_0);
            outcome = result == WAIT_FAILED ? -1 : result != WAIT_TIMEOUT;
        }
    }
    if (outcome > 0 && waits_took(PyModule_GetState(module), &set.items[index],
                                  abandoned) < 0) {
        outcome = -1;
    }
    waits_clear(&set);
    if (outcome < 0) {
        return NULL;
    }
    return PyLong_FromLong(outcome ? (long)index : -1);
}

/* --------------------------------------------------------------- wait_all */

/* Wait for one lot. 1 taken, 0 timeout, -1 error; *abandoned is added to. */
static int
waits_all_lot(waits_set *set, const DWORD *lot, DWORD count,
              uint64_t timeout_ms, int *abandoned)
{
    HANDLE handles[WAITS_LOT];
    for (DWORD i = 0; i < count; i++) {
        handles[i] = set->items[lot[i]].handle;
    }
    DWORD result = WaitForMultipleObjects(count, handles, TRUE, 0);
    if (result == WAIT_FAILED) {
        return waits_raise(GetLastError(), "WaitForMultipleObjects", count);
    }
    if (result == WAIT_TIMEOUT && timeout_ms > 0) {
        result = wi_wait(handles, count, TRUE, timeout_ms);
    }
    if (result == WAIT_FAILED) {
        return -1;
    }
    if (result == WAIT_TIMEOUT) {
        return 0;
    }
    *abandoned |= result >= WAIT_ABANDONED_0;
    return 1;
}

/* Book all mutexes; AbandonedError when one or more were abandoned. Which of
 * them it was Windows does not tell, so all are marked, but for those that
 * this thread held already. */
static int
waits_took_all(wi_state *state, waits_set *set, int abandoned)
{
    SyncObject *first = NULL;
    for (DWORD i = 0; i < set->count; i++) {
        SyncObject *object = set->items[i].object;
        if (object != NULL && object->kind == SYNC_MUTEX) {
            int mine =
                object->held > 0 && object->owner == GetCurrentThreadId();
            sync_taken(object, abandoned && !mine);
            if (first == NULL && !mine) {
                first = object;
            }
        }
    }
    if (abandoned && first != NULL) {
        sync_raise_abandoned(first, "WaitForMultipleObjects");
        return -1;
    }
    if (abandoned) {
        return waits_raise_abandoned(
            state,
            PyUnicode_FromFormat("one of %u handles",
                                 (unsigned int)set->count),
            Py_NewRef(Py_None));
    }
    return 0;
}

static int
waits_all_many(waits_set *set, uint64_t timeout_ms, int *abandoned)
{
    ULONGLONG start = GetTickCount64();
    DWORD *order = PyMem_Malloc(set->count * sizeof(*order));
    if (order == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    waits_classify(set);
    DWORD placed = 0, final = 0;
    for (DWORD i = 0; i < set->count; i++) {
        if (set->items[i].undo != SYNC_UNDO_FINAL) {
            order[placed++] = i;
        }
    }
    for (DWORD i = 0; i < set->count; i++) {
        if (set->items[i].undo == SYNC_UNDO_FINAL) {
            order[placed++] = i;
            final++;
        }
    }
    int outcome = -1;
    DWORD taken = 0;
    if (final > WAITS_LOT) {
        PyErr_Format(PyExc_ValueError,
                     "at most %d mutexes (and other handles that only their "
                     "waiter can own) fit in one wait",
                     WAITS_LOT);
        goto done;
    }
    while (taken < set->count) {
        uint64_t remaining = timeout_ms;
        if (timeout_ms != WI_FOREVER) {
            ULONGLONG waited = GetTickCount64() - start;
            remaining = waited >= timeout_ms ? 0 : timeout_ms - waited;
        }
        /* The first lot is the one that is not full, so that the final lot
         * holds all that cannot be given back. */
        DWORD count = (set->count - taken) % WAITS_LOT;
        count = count == 0 ? WAITS_LOT : count;
        outcome =
            waits_all_lot(set, order + taken, count, remaining, abandoned);
        if (outcome <= 0) {
            break;
        }
        taken += count;
    }
    if (outcome <= 0) {
        for (DWORD i = 0; i < taken; i++) {
            waits_item *item = &set->items[order[i]];
            sync_give_back(item->handle, item->undo);
        }
    }
done:
    PyMem_Free(order);
    return outcome;
}

PyDoc_STRVAR(waits_all_doc,
             "_wait_all($module, /, objects, timeout=None)\n--\n\n"
             "True when all were taken, False for a timeout.\n\n"
             "Win32: WaitForMultipleObjects");

static PyObject *
waits_all(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"objects", "timeout", NULL};
    PyObject *objects;
    uint64_t timeout_ms = WI_FOREVER;
    int abandoned = 0, outcome;
    waits_set set;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O&:_wait_all", keywords,
                                     &objects, wi_timeout_converter,
                                     &timeout_ms) ||
        waits_init(&set, PyModule_GetState(module), objects) < 0) {
        return NULL;
    }
    if (set.count > WAITS_LOT) {
        outcome = waits_all_many(&set, timeout_ms, &abandoned);
    }
    else {
        DWORD lot[WAITS_LOT];
        for (DWORD i = 0; i < set.count; i++) {
            lot[i] = i;
        }
        outcome = waits_all_lot(&set, lot, set.count, timeout_ms, &abandoned);
    }
    if (outcome > 0 &&
        waits_took_all(PyModule_GetState(module), &set, abandoned) < 0) {
        outcome = -1;
    }
    waits_clear(&set);
    return outcome < 0 ? NULL : PyBool_FromLong(outcome);
}

PyMethodDef wi_waits_methods[] = {
    {"_wait_any", (PyCFunction)(void (*)(void))waits_any,
     METH_VARARGS | METH_KEYWORDS, waits_any_doc},
    {"_wait_all", (PyCFunction)(void (*)(void))waits_all,
     METH_VARARGS | METH_KEYWORDS, waits_all_doc},
    {NULL, NULL, 0, NULL},
};
