/* loop_wait.c: waits for any number of handles, each of which can be ended.
 *
 *     set = _core.WaitSet()                # one thread serves it:
 *     wait, notify = set.take(5.0)         # sleeps without the GIL
 *     notify()                             # loop.call_soon_threadsafe(...)
 *     set.add(event, notify, waits, False)     # any thread; False: no room
 *     taken = _core._end_waits(waits, keep)    # what was taken, or None
 *
 * Owner: the thread of winipc.base.loop_wait. Any thread may add and end. The
 * GIL is needed for nothing but delivery.
 *
 * Why not RegisterWaitForSingleObject or CreateThreadpoolWait: their wait
 * *takes* an auto-reset event or one of a semaphore, in the pool, and
 * UnregisterWait does not tell whether it did. A signal that arrives while
 * the wait is being ended is lost: no state word of ours can see it, because
 * no callback follows. (SetThreadpoolWaitEx and
 * NtCancelWaitCompletionPacket would tell, but only on newer systems.)
 * WaitForMultipleObjects is exact: what it returns is what it took, all else
 * is untouched. So a set has one thread, which sleeps in it over up to 63
 * handles and an event that wakes it when the set changes: 1,000 handles are
 * 16 threads, the number that the thread pool would use.
 *
 * Who wins: `phase` changes under the lock. The thread sets TAKEN for what its
 * sleep returned. The end of a wait sets OVER, but for the last wait for a
 * handle only when the thread's sleep does not include it: the ender wakes
 * the thread and lets it settle. That takes two switches of threads and
 * depends on nothing else, since a thread that sleeps here needs neither the
 * GIL nor a Python lock to settle. So after the end the handle may be closed.
 * What was taken is kept, or given back. Giving back fails only if the object
 * is signalled to its limit already (ERROR_TOO_MANY_POSTS, 298), and then the
 * next waiter finds it signalled all the same: nothing to report. */
#include "waitable.h"

/* Rest of a thread whose sleep failed with no handle to blame. */
#define SET_PAUSE_MS 10

/* Handles in one sleep, beside the set's own event. */
#define WAIT_SET_ROOM (MAXIMUM_WAIT_OBJECTS - 1)

typedef enum {
    PHASE_PENDING, /* linked in its set */
    PHASE_TAKEN,   /* the handle was taken for it, or `err` says why not */
    PHASE_OVER,    /* ended */
} wait_phase;

typedef struct LoopWaitObject LoopWaitObject;

typedef struct {
    PyObject_HEAD
    HANDLE wake;                /* auto reset: the set has changed */
    SRWLOCK lock;               /* guards all below; no Python code under it */
    CONDITION_VARIABLE settled; /* the thread has come out of its sleep */
    LoopWaitObject *pending;    /* in the order they came */
    LoopWaitObject *ready;      /* TAKEN, and not yet returned by take() */
    HANDLE asleep[MAXIMUM_WAIT_OBJECTS]; /* what the thread sleeps on */
    DWORD count;                         /* of these, without `wake` */
    int stopped;
    Py_ssize_t turns; /* how often the thread came out of its sleep */
} WaitSetObject;

struct LoopWaitObject {
    PyObject_HEAD
    WaitSetObject *set;
    PyObject *notify;   /* NULL after take(), and after the end */
    SyncObject *object; /* pinned until the end; NULL for a number */
    HANDLE handle;
    sync_undo undo;
    wait_phase phase;
    int leaving;          /* the thread is to sleep without it */
    int unlinked;         /* the set's reference is to be given up */
    DWORD err;            /* of the sleep, where that failed */
    LoopWaitObject *next; /* among the pending, or the ready */
};

/* --------------------------------------------------- the set, under its lock */

static BOOL
handles_have(const HANDLE *handles, DWORD count, HANDLE handle)
{
    DWORD i = 0;
    while (i < count && handles[i] != handle) {
        i++;
    }
    return i < count;
}

/* The handles of the pending waits, each once; their number. */
static DWORD
set_handles(const WaitSetObject *set, BOOL leaving_too, HANDLE *handles)
{
    DWORD count = 0;
    for (LoopWaitObject *wait = set->pending; wait; wait = wait->next) {
        if ((leaving_too || !wait->leaving) &&
            !handles_have(handles, count, wait->handle)) {
            handles[count++] = wait->handle;
        }
    }
    return count;
}

static void
list_append(LoopWaitObject **list, LoopWaitObject *wait)
{
    while (*list != NULL) {
        list = &(*list)->next;
    }
    wait->next = NULL;
    *list = wait;
}

/* The sleep took the handle, or failed on it: make its first wait ready, or
 * all of them where one signal is for all. */
static void
set_took(WaitSetObject *set, HANDLE handle, DWORD err)
{
    LoopWaitObject *wait, **at = &set->pending;
    while ((wait = *at) != NULL) {
        if (wait->handle != handle) {
            at = &wait->next;
            continue;
        }
        *at = wait->next;
        wait->phase = PHASE_TAKEN;
        wait->err = err;
        list_append(&set->ready, wait);
        if (err == 0 && wait->undo != SYNC_UNDO_NOTHING) {
            break;
        }
    }
}

/* The sleep failed: find the handles that are to blame, one by one, by the
 * same function. FALSE when there is none, as when the system lacks memory. */
static BOOL
set_probe(WaitSetObject *set, DWORD count)
{
    BOOL found = FALSE;
    for (DWORD i = 0; i < count; i++) {
        DWORD result = WaitForMultipleObjects(1, &set->asleep[i], FALSE, 0);
        if (result != WAIT_TIMEOUT) {
            set_took(set, set->asleep[i],
                     result == WAIT_FAILED ? GetLastError() : 0);
            found = TRUE;
        }
    }
    return found;
}

/* Sleep until a wait is ready, the set is stopped, or it was empty for
 * idle_ms. The first ready wait, or NULL. Without the GIL. */
static LoopWaitObject *
set_sleep(WaitSetObject *set, DWORD idle_ms)
{
    DWORD result = WAIT_OBJECT_0;
    AcquireSRWLockExclusive(&set->lock);
    while (set->ready == NULL && !set->stopped &&
           (result != WAIT_TIMEOUT || set->pending != NULL)) {
        DWORD count = set_handles(set, FALSE, set->asleep);
        set->count = count;
        /* Last: a flood of changes is not to starve the handles. */
        set->asleep[count] = set->wake;
        ReleaseSRWLockExclusive(&set->lock);
        result = WaitForMultipleObjects(count + 1, set->asleep, FALSE,
                                        count == 0 ? idle_ms : INFINITE);
        AcquireSRWLockExclusive(&set->lock);
        set->turns++;
        set->count = 0;
        if (result == WAIT_FAILED && !set_probe(set, count)) {
            ReleaseSRWLockExclusive(&set->lock);
            Sleep(SET_PAUSE_MS);
            AcquireSRWLockExclusive(&set->lock);
        }
        else if (result - WAIT_OBJECT_0 < count) {
            set_took(set, set->asleep[result - WAIT_OBJECT_0], 0);
        }
        WakeAllConditionVariable(&set->settled);
    }
    LoopWaitObject *wait = set->ready;
    if (wait != NULL) {
        set->ready = wait->next;
    }
    ReleaseSRWLockExclusive(&set->lock);
    return wait;
}

/* Whether the end of this wait has to wait until the thread sleeps without
 * its handle, since no other wait needs that; then the thread is told. */
static BOOL
set_must_settle(WaitSetObject *set, LoopWaitObject *wait)
{
    if (wait->phase != PHASE_PENDING ||
        !handles_have(set->asleep, set->count, wait->handle)) {
        return FALSE;
    }
    for (LoopWaitObject *one = set->pending; one; one = one->next) {
        if (one != wait && one->handle == wait->handle && !one->leaving) {
            return FALSE;
        }
    }
    if (!wait->leaving) {
        wait->leaving = 1;
        SetEvent(set->wake);
    }
    return TRUE;
}

/* --------------------------------------------------------- the end of a wait */

/* Announce the end: of many waits, all are announced first, so that the thread
 * settles once for all. */
static void
wait_announce(LoopWaitObject *wait)
{
    AcquireSRWLockExclusive(&wait->set->lock);
    set_must_settle(wait->set, wait);
    ReleaseSRWLockExclusive(&wait->set->lock);
}

/* Take it from its set, unless the handle has been taken for it. Without the
 * GIL. */
static void
wait_leave(LoopWaitObject *wait)
{
    WaitSetObject *set = wait->set;
    AcquireSRWLockExclusive(&set->lock);
    while (set_must_settle(set, wait)) {
        SleepConditionVariableSRW(&set->settled, &set->lock, INFINITE, 0);
    }
    if (wait->phase == PHASE_PENDING) {
        LoopWaitObject **at = &set->pending;
        while (*at != wait) {
            at = &(*at)->next;
        }
        *at = wait->next;
        wait->phase = PHASE_OVER;
        wait->unlinked = 1;
    }
    ReleaseSRWLockExclusive(&set->lock);
}

/* Let go of all but the set. */
static void
wait_clear(LoopWaitObject *wait)
{
    SyncObject *object = wait->object;
    wait->object = NULL;
    if (object != NULL) {
        object->pins--;
        Py_DECREF((PyObject *)object);
    }
    Py_CLEAR(wait->notify);
}

/* Whether the handle was taken for it; that is given back, unless it is to be
 * kept. With the GIL. */
static BOOL
wait_finish(LoopWaitObject *wait, BOOL keep)
{
    AcquireSRWLockExclusive(&wait->set->lock);
    BOOL taken = wait->phase == PHASE_TAKEN;
    wait->phase = PHASE_OVER;
    ReleaseSRWLockExclusive(&wait->set->lock);
    if (taken && !keep && wait->err == 0) {
        sync_give_back(wait->handle, wait->undo);
    }
    wait_clear(wait);
    if (wait->unlinked) {
        wait->unlinked = 0;
        Py_DECREF((PyObject *)wait);
    }
    return taken;
}

PyDoc_STRVAR(
    loop_wait_end_doc,
    "_end_waits($module, waits, keep, /)\n--\n\n"
    "End these waits, in one step for Ctrl+C. With `keep` the first handle\n"
    "that was taken stays so: its number, or None. All others are given\n"
    "back. The handles may be closed then. OSError for a wait that failed.\n\n"
    "Win32: SetEvent, ReleaseSemaphore");

static PyObject *
loop_wait_end(PyObject *module, PyObject *args)
{
    wi_state *state = PyModule_GetState(module);
    PyObject *list;
    int keep;
    if (!PyArg_ParseTuple(args, "O!p:_end_waits", &PyList_Type, &list,
                          &keep)) {
        return NULL;
    }
    Py_ssize_t count = PyList_Size(list), known = 0;
    LoopWaitObject **waits = PyMem_Calloc((size_t)count + 1, sizeof(*waits));
    if (waits == NULL) {
        return PyErr_NoMemory();
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *wait = PyList_GetItem(list, i);
        if (Py_TYPE(wait) == state->loop_wait_type) {
            waits[known++] = (LoopWaitObject *)Py_NewRef(wait);
        }
    }
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < known; i++) {
        wait_announce(waits[i]);
    }
    for (Py_ssize_t i = 0; i < known; i++) {
        wait_leave(waits[i]);
    }
    Py_END_ALLOW_THREADS
    HANDLE kept = NULL;
    DWORD err = 0;
    for (Py_ssize_t i = 0; i < known; i++) {
        LoopWaitObject *wait = waits[i];
        if (wait_finish(wait, keep) && keep) {
            keep = 0;
            err = wait->err;
            kept = wait->handle;
        }
        Py_DECREF((PyObject *)wait);
    }
    PyMem_Free(waits);
    if (err != 0) {
        return wi_raise_format(err, "WaitForMultipleObjects", "handle %zu",
                               (size_t)(uintptr_t)kept);
    }
    return kept != NULL ? PyLong_FromVoidPtr(kept) : Py_NewRef(Py_None);
}

/* ----------------------------------------------------------------- WaitSet */

static PyObject *
wait_set_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
             PyObject *Py_UNUSED(kwargs))
{
    HANDLE wake = CreateEventW(NULL, FALSE, FALSE, NULL);
    if (wake == NULL) {
        return wi_raise_format(GetLastError(), "CreateEventW", "a wait set");
    }
    WaitSetObject *set = wi_alloc(type);
    if (set == NULL) {
        CloseHandle(wake);
        return NULL;
    }
    set->wake = wake;
    InitializeSRWLock(&set->lock);
    InitializeConditionVariable(&set->settled);
    return (PyObject *)set;
}

/* It has no finaliser: nothing of Python's sees it go, and every wait that
 * still needs it holds a reference. */
static void
wait_set_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    CloseHandle(((WaitSetObject *)op)->wake);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(op);
    Py_DECREF(type);
}

PyDoc_STRVAR(
    wait_set_add_doc,
    "add($self, object, notify, waits, known, /)\n--\n\n"
    "Wait for an object, or for the number of a handle that stays open\n"
    "until the end of the wait, which is appended to the list `waits`.\n\n"
    "take() returns it and `notify`, once, when the handle was taken. False:\n"
    "the set is stopped, full, or with `known` has no wait for the handle.\n\n"
    "Raises PermissionError where a wait could not be undone.");

static PyObject *
wait_set_add(PyObject *op, PyObject *args)
{
    WaitSetObject *set = (WaitSetObject *)op;
    wi_state *state = wi_state_of(Py_TYPE(op));
    PyObject *value, *notify, *waits, *result = NULL;
    HANDLE handles[MAXIMUM_WAIT_OBJECTS];
    int known;
    LoopWaitObject *wait =
        state == NULL ? NULL : wi_alloc(state->loop_wait_type);
    if (wait == NULL) {
        return NULL;
    }
    wait->phase = PHASE_OVER;
    wait->set = (WaitSetObject *)Py_NewRef(op);
    if (!PyArg_ParseTuple(args, "OOO!p:add", &value, &notify, &PyList_Type,
                          &waits, &known) ||
        sync_target(state, value, &wait->object, &wait->handle) < 0) {
        goto done;
    }
    Py_XINCREF((PyObject *)wait->object);
    wait->notify = Py_NewRef(notify);
    AcquireSRWLockExclusive(&set->lock);
    DWORD count = set_handles(set, TRUE, handles);
    BOOL room = handles_have(handles, count, wait->handle) ||
                (!known && count < WAIT_SET_ROOM);
    room = room && !set->stopped;
    ReleaseSRWLockExclusive(&set->lock);
    if (!room) {
        result = Py_NewRef(Py_False);
        goto done;
    }
    wait->undo = sync_undo_of(wait->object, wait->handle);
    if (wait->undo == SYNC_UNDO_FINAL) {
        wi_raise_format(ERROR_ACCESS_DENIED, "WaitForMultipleObjects",
                        "handle %zu", (size_t)(uintptr_t)wait->handle);
        goto done;
    }
    if (PyList_Append(waits, (PyObject *)wait) < 0) {
        goto done;
    }
    /* The GIL was kept: no other add() or stop() came between. */
    AcquireSRWLockExclusive(&set->lock);
    wait->phase = PHASE_PENDING;
    list_append(&set->pending, (LoopWaitObject *)Py_NewRef((PyObject *)wait));
    if (!handles_have(set->asleep, set->count, wait->handle)) {
        SetEvent(set->wake);
    }
    ReleaseSRWLockExclusive(&set->lock);
    result = Py_NewRef(Py_True);
done:
    Py_DECREF((PyObject *)wait);
    return result;
}

PyDoc_STRVAR(wait_set_take_doc,
             "take($self, idle, /)\n--\n\n"
             "Sleep until a handle is taken; its LoopWait and `notify`.\n\n"
             "None when the set was stopped, or had nothing to wait for\n"
             "during `idle` seconds. Only one thread calls this.\n\n"
             "Win32: WaitForMultipleObjects");

static PyObject *
wait_set_take(PyObject *op, PyObject *idle)
{
    uint64_t idle_ms;
    if (!wi_timeout_converter(idle, &idle_ms)) {
        return NULL;
    }
    LoopWaitObject *wait;
    Py_BEGIN_ALLOW_THREADS
    wait = set_sleep((WaitSetObject *)op,
                     idle_ms < INFINITE ? (DWORD)idle_ms : INFINITE);
    Py_END_ALLOW_THREADS
    if (wait == NULL) {
        Py_RETURN_NONE;
    }
    PyObject *notify = wait->notify; /* NULL: ended meanwhile */
    wait->notify = NULL;
    /* The set's reference to the wait is the caller's now. */
    return Py_BuildValue("NN", wait, notify ? notify : Py_NewRef(Py_None));
}

PyDoc_STRVAR(
    wait_set_stop_doc,
    "stop($self, only_idle=False, /)\n--\n\n"
    "Take no more waits and let take() return; whether it was done.\n\n"
    "With only_idle a set that has waits goes on.");

static PyObject *
wait_set_stop(PyObject *op, PyObject *args)
{
    WaitSetObject *set = (WaitSetObject *)op;
    int only_idle = 0;
    if (!PyArg_ParseTuple(args, "|p:stop", &only_idle)) {
        return NULL;
    }
    AcquireSRWLockExclusive(&set->lock);
    if (!only_idle || (set->pending == NULL && set->ready == NULL)) {
        set->stopped = 1;
    }
    BOOL stopped = set->stopped;
    ReleaseSRWLockExclusive(&set->lock);
    SetEvent(set->wake);
    return PyBool_FromLong(stopped);
}

static PyMethodDef wait_set_methods[] = {
    {"add", wait_set_add, METH_VARARGS, wait_set_add_doc},
    {"take", wait_set_take, METH_O, wait_set_take_doc},
    {"stop", wait_set_stop, METH_VARARGS, wait_set_stop_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef wait_set_members[] = {
    {"turns", Py_T_PYSSIZET, offsetof(WaitSetObject, turns), Py_READONLY,
     "How often the thread came out of its sleep."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(wait_set_doc, "WaitSet()\n--\n\n"
                           "Handles that one thread waits for, for others.");

static PyType_Slot wait_set_slots[] = {
    {Py_tp_doc, (void *)wait_set_doc}, {Py_tp_new, wait_set_new},
    {Py_tp_dealloc, wait_set_dealloc}, {Py_tp_methods, wait_set_methods},
    {Py_tp_members, wait_set_members}, {0, NULL},
};

static PyType_Spec wait_set_spec = {
    .name = "winipc._core.WaitSet",
    .basicsize = sizeof(WaitSetObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = wait_set_slots,
};

/* ---------------------------------------------------------------- LoopWait */

/* Not a finaliser: a task that is collected in the same cycle still ends its
 * waits from its own, in whatever order they run. */
static void
loop_wait_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    wait_clear((LoopWaitObject *)op);
    Py_XDECREF((PyObject *)((LoopWaitObject *)op)->set);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(op);
    Py_DECREF(type);
}

PyDoc_STRVAR(loop_wait_doc, "One wait in a WaitSet, made by WaitSet.add().");

static PyType_Slot loop_wait_slots[] = {
    {Py_tp_doc, (void *)loop_wait_doc},
    {Py_tp_new, wi_no_new},
    {Py_tp_dealloc, loop_wait_dealloc},
    {0, NULL},
};

static PyType_Spec loop_wait_spec = {
    .name = "winipc._core.LoopWait",
    .basicsize = sizeof(LoopWaitObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = loop_wait_slots,
};

static PyMethodDef loop_wait_functions[] = {
    {"_end_waits", loop_wait_end, METH_VARARGS, loop_wait_end_doc},
    {NULL, NULL, 0, NULL},
};

int
wi_loop_wait_init(PyObject *module, wi_state *state)
{
    if (wi_add_type(module, &wait_set_spec, NULL) < 0 ||
        PyModule_AddFunctions(module, loop_wait_functions) < 0) {
        return -1;
    }
    return wi_add_type(module, &loop_wait_spec, &state->loop_wait_type);
}
