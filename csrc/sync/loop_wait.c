/* loop_wait.c: waits for any number of handles; each wait can be ended.
 *
 *     set = _core.WaitSet()                # one thread serves it:
 *     wait, notify = set.take(5.0)         # sleeps without the GIL
 *     notify()                             # loop.call_soon_threadsafe(...)
 *     set.add(event, notify, waits, False)     # any thread; False: no room
 *     taken = _core._end_waits(waits, keep)    # what was taken, or None
 *
 * Owner: the thread of winipc.base.loop_wait serves a set. Thread: any may add
 * waits and end them. GIL: the set's thread needs it only to deliver.
 *
 * Why not RegisterWaitForSingleObject or CreateThreadpoolWait: such a wait
 * takes an auto-reset event, or one of a semaphore, in the pool, and
 * UnregisterWait does not tell whether it has. So a signal that arrives while
 * the wait is being ended is lost, since no callback follows that could tell
 * of it. (SetThreadpoolWaitEx and NtCancelWaitCompletionPacket would tell, but
 * only newer systems have them.) WaitForMultipleObjects is exact: it takes
 * what it returns and nothing else. So a set has one thread, which sleeps in
 * WaitForMultipleObjects with up to 63 handles and an event that wakes it when
 * the set changes. 1,000 handles take 16 threads, as many as the thread pool
 * would use.
 *
 * The lock guards `phase`. The set's thread changes it to TAKEN when its sleep
 * has returned the handle. The end of a wait changes it to OVER. If it is the
 * last wait for its handle, and the thread sleeps with that handle, the end
 * first wakes the thread and waits until the thread sleeps without it. That
 * takes two switches of threads and nothing else, since the thread needs
 * neither the GIL nor a Python lock for it. So after the end the handle may be
 * closed. A handle that was taken is kept, or given back. Giving back fails
 * only if the object is signalled to its limit already (ERROR_TOO_MANY_POSTS,
 * 298); then the next waiter finds it signalled, so there is nothing to
 * report. */
#include "waitable.h"

/* How long the thread pauses if its sleep failed and no handle is the cause. */
#define SET_PAUSE_MS 10

/* The most handles in one sleep, beside the set's own event. */
#define WAIT_SET_ROOM (MAXIMUM_WAIT_OBJECTS - 1)

typedef enum {
    PHASE_PENDING, /* linked in its set */
    PHASE_TAKEN,   /* the handle was taken for it, or the sleep failed (err) */
    PHASE_OVER,    /* ended */
} wait_phase;

typedef struct LoopWaitObject LoopWaitObject;

typedef struct {
    PyObject_HEAD
    HANDLE wake;                /* auto reset: the set has changed */
    SRWLOCK lock;               /* guards all below; no Python code under it */
    CONDITION_VARIABLE settled; /* woken when the thread leaves its sleep */
    LoopWaitObject *pending;    /* in the order they came */
    LoopWaitObject *ready;      /* TAKEN, and not yet returned by take() */
    HANDLE asleep[MAXIMUM_WAIT_OBJECTS]; /* what the thread sleeps on */
    DWORD count;                         /* of these, without `wake` */
    int stopped;
    Py_ssize_t turns; /* how often the thread left its sleep */
} WaitSetObject;

struct LoopWaitObject {
    PyObject_HEAD
    WaitSetObject *set;
    PyObject *notify;   /* NULL after take(), and after the end */
    SyncObject *object; /* pinned until the end; NULL for a number */
    HANDLE handle;
    sync_undo undo;
    wait_phase phase;
    int leaving;          /* the thread must not sleep with it any more */
    int unlinked;         /* wait_finish() drops the set's reference */
    DWORD err;            /* of the sleep, if that failed */
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

/* Put each handle of the pending waits into handles once; their number. */
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

/* The sleep took the handle, or failed because of it. Make its first wait
 * ready, or all its waits if one signal is for all. */
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

/* The sleep failed: wait for each handle alone, to find those that fail. FALSE
 * if none does, as when the system lacks memory. */
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

/* Sleep until a wait is ready, the set is stopped, or the set was empty for
 * idle_ms. The first wait that is ready, or NULL. The caller has given up the
 * GIL. */
static LoopWaitObject *
set_sleep(WaitSetObject *set, DWORD idle_ms)
{
    DWORD result = WAIT_OBJECT_0;
    AcquireSRWLockExclusive(&set->lock);
    while (set->ready == NULL && !set->stopped &&
           (result != WAIT_TIMEOUT || set->pending != NULL)) {
        DWORD count = set_handles(set, FALSE, set->asleep);
        set->count = count;
        /* `wake` comes last, so that many changes do not starve the handles. */
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

/* Whether the end of this wait has to wait until the thread sleeps without its
 * handle: the thread sleeps with it now, and no other wait needs it. Wakes the
 * thread then. */
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

/* Announce the end of a wait. If many waits end, all are announced first, so
 * the thread leaves its sleep only once. */
static void
wait_announce(LoopWaitObject *wait)
{
    AcquireSRWLockExclusive(&wait->set->lock);
    set_must_settle(wait->set, wait);
    ReleaseSRWLockExclusive(&wait->set->lock);
}

/* Remove a wait from its set, unless the handle has been taken for it. The
 * caller has given up the GIL. */
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

/* Drop all references but the one to the set. */
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

/* End a wait that has left its set. Whether the handle was taken for it;
 * unless `keep` is set, it is given back. The caller holds the GIL. */
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
    "End these waits; Ctrl+C cannot come in between. With `keep` the first\n"
    "handle that was taken stays taken: its number, or None. All others are\n"
    "given back. After the call the handles may be closed. OSError for a\n"
    "wait that failed.\n\n"
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

/* A dealloc and no finaliser: it runs no Python code, and every wait that
 * still needs the set holds a reference to it. */
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
    "Append a new wait for an object, or for the number of a handle, to the\n"
    "list `waits`. The handle has to stay open until the end of the wait.\n\n"
    "take() returns the wait and `notify`, once, when the handle was taken.\n"
    "False, and no wait, if the set is stopped or full, or if `known` is set\n"
    "and the set has no wait for the handle.\n\n"
    "Raises:\n"
    "    PermissionError: The wait could not be undone.");

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
    /* The GIL was held, so there was no other add() or stop() in between. */
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
             "Sleep until a handle is taken: (its LoopWait, `notify`).\n\n"
             "None when the set was stopped, or had nothing to wait for\n"
             "during `idle` seconds. Only one thread may call this.\n\n"
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
    PyObject *notify = wait->notify; /* NULL if the wait ended meanwhile */
    wait->notify = NULL;
    /* The caller gets the set's reference to the wait. */
    return Py_BuildValue("NN", wait, notify ? notify : Py_NewRef(Py_None));
}

PyDoc_STRVAR(
    wait_set_stop_doc,
    "stop($self, only_idle=False, /)\n--\n\n"
    "Take no more waits, and let take() return. True if the set is stopped.\n"
    "\nWith only_idle a set that has waits is not stopped.");

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
     "How often the thread left its sleep."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(wait_set_doc, "WaitSet()\n--\n\n"
                           "Handles that one thread waits for, for all\n"
                           "others.");

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

/* Not a finaliser: a task that is collected in the same cycle ends its waits
 * in its own finaliser, which may run later than this one would. */
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
