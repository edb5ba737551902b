/* loop_wait.c: waits for any number of handles, each of which can be ended.
 *
 *     waits = _core.WaitSet()              # one thread serves it:
 *     while wait := waits.take(5.0):       # sleeps without the GIL
 *         wait.notify()                    # loop.call_soon_threadsafe(...)
 *     wait = waits.add(handle, name, notify)    # any thread; None: no room
 *     wait.cancel() or wait.give_back()    # not taken; or taken, and undone
 *
 * Owner: the thread of winipc.base.loop_wait. Any thread may add and cancel.
 * The GIL is needed for nothing but delivery.
 *
 * Why not RegisterWaitForSingleObject or CreateThreadpoolWait: their wait
 * *takes* an auto-reset event or one of a semaphore, in the pool, and
 * UnregisterWait does not tell whether it did. A signal that arrives while
 * the wait is being ended is gone, and nobody has it: no state word of ours
 * can see it, because no callback follows. (SetThreadpoolWaitEx and
 * NtCancelWaitCompletionPacket would tell, but only on newer systems.)
 * WaitForMultipleObjects is exact: what it returns is what it took, all else
 * is untouched. So a set has one thread, which sleeps in it over up to 63
 * handles and an event that wakes it when the set changes: 1,000 handles are
 * 16 threads, the number that the thread pool would use.
 *
 * Who wins: `phase` changes under the lock, once. The thread sets TAKEN for
 * what its wait returned. cancel() sets OVER, but the last wait for a handle
 * only when the thread's sleep no longer includes it: the canceller wakes
 * the thread and lets it settle. That takes two switches of threads and
 * depends on nothing else, since a thread that sleeps here needs neither the
 * GIL nor a Python lock to settle. So after cancel() the handle may be closed,
 * and True means that nothing was taken. False means that it was taken:
 * its owner keeps it, or gives it back. Giving back fails only if the object
 * is signalled to its limit already (ERROR_TOO_MANY_POSTS, 298), and then the
 * next waiter finds it signalled all the same: nothing to report. */
#include "waitable.h"

/* Handles in one sleep, beside the set's own event. */
/* Rest of a thread whose sleep failed with no handle to blame. */
#define SET_PAUSE_MS 10

#define WAIT_SET_ROOM (MAXIMUM_WAIT_OBJECTS - 1)

typedef enum {
    PHASE_PENDING, /* linked in its set */
    PHASE_TAKEN,   /* the handle was taken for it, or `err` says why not */
    PHASE_OVER,    /* cancelled, or given back */
} wait_phase;

typedef struct LoopWaitObject LoopWaitObject;

/* A handle that the thread sleeps on, and the waits for it in their order. */
typedef struct {
    HANDLE handle;
    sync_undo undo;
    LoopWaitObject *first;
    int waited;  /* the thread's present sleep includes it */
    int leaving; /* cancellers that wait until it does not */
} wait_entry;

typedef struct {
    PyObject_HEAD
    HANDLE wake;                /* auto reset: the set has changed */
    SRWLOCK lock;               /* guards all below; no Python code under it */
    CONDITION_VARIABLE settled; /* the thread has come out of its sleep */
    wait_entry entries[WAIT_SET_ROOM];
    DWORD count;
    LoopWaitObject *ready; /* TAKEN, and not yet returned by take() */
    int stopped;
    Py_ssize_t turns; /* how often the thread came out of its sleep */
} WaitSetObject;

struct LoopWaitObject {
    PyObject_HEAD
    WaitSetObject *set;
    PyObject *notify;
    HANDLE handle; /* the caller's; open until the wait is over */
    sync_undo undo;
    wait_phase phase;
    int leaving;          /* counted in its entry */
    DWORD err;            /* of the sleep, where that failed */
    LoopWaitObject *next; /* in its entry, or among the ready */
};

/* --------------------------------------------------- the set, under its lock */

static wait_entry *
set_find(WaitSetObject *set, HANDLE handle)
{
    for (DWORD i = 0; i < set->count; i++) {
        if (set->entries[i].handle == handle) {
            return &set->entries[i];
        }
    }
    return NULL;
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

/* Move the entry to the end, so that no handle starves those after it; or
 * remove it when nothing needs it. */
static void
set_move(WaitSetObject *set, wait_entry *entry)
{
    wait_entry moved = *entry;
    set->count--;
    memmove(entry, entry + 1,
            (char *)&set->entries[set->count] - (char *)entry);
    if (moved.first != NULL || moved.leaving > 0) {
        set->entries[set->count++] = moved;
    }
}

/* The sleep took the handle, or failed on it: make its first wait ready, or
 * all of them where one signal is for all. */
static void
set_took(WaitSetObject *set, HANDLE handle, DWORD err)
{
    wait_entry *entry = set_find(set, handle);
    do {
        LoopWaitObject *wait = entry->first;
        entry->first = wait->next;
        wait->phase = PHASE_TAKEN;
        wait->err = err;
        list_append(&set->ready, wait);
    } while (entry->first != NULL &&
             (err != 0 || entry->undo == SYNC_UNDO_NOTHING));
    set_move(set, entry);
}

/* The sleep failed: find the handles that are to blame, one by one, by the
 * same function. FALSE when there is none, as when the system lacks memory. */
static BOOL
set_probe(WaitSetObject *set, const HANDLE *handles, DWORD count)
{
    BOOL found = FALSE;
    for (DWORD i = 0; i < count; i++) {
        DWORD result = WaitForMultipleObjects(1, &handles[i], FALSE, 0);
        if (result != WAIT_TIMEOUT) {
            set_took(set, handles[i],
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
    HANDLE handles[MAXIMUM_WAIT_OBJECTS];
    DWORD result = WAIT_OBJECT_0;
    AcquireSRWLockExclusive(&set->lock);
    while (set->ready == NULL && !set->stopped &&
           (result != WAIT_TIMEOUT || set->count > 0)) {
        DWORD count = 0;
        for (DWORD i = 0; i < set->count; i++) {
            wait_entry *entry = &set->entries[i];
            entry->waited = entry->leaving == 0;
            if (entry->waited) {
                handles[count++] = entry->handle;
            }
        }
        /* Last: a flood of changes is not to starve the handles. */
        handles[count] = set->wake;
        ReleaseSRWLockExclusive(&set->lock);
        result = WaitForMultipleObjects(count + 1, handles, FALSE,
                                        count == 0 ? idle_ms : INFINITE);
        AcquireSRWLockExclusive(&set->lock);
        set->turns++;
        for (DWORD i = 0; i < set->count; i++) {
            set->entries[i].waited = 0;
        }
        if (result == WAIT_FAILED && !set_probe(set, handles, count)) {
            ReleaseSRWLockExclusive(&set->lock);
            Sleep(SET_PAUSE_MS);
            AcquireSRWLockExclusive(&set->lock);
        }
        else if (result != WAIT_FAILED && result - WAIT_OBJECT_0 < count) {
            set_took(set, handles[result - WAIT_OBJECT_0], 0);
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

/* Let the thread sleep without the handle, if this is the last wait for it. */
static void
set_leave(WaitSetObject *set, LoopWaitObject *wait)
{
    wait_entry *entry = set_find(set, wait->handle);
    if (wait->phase == PHASE_PENDING && !wait->leaving && entry->waited &&
        entry->first == wait && wait->next == NULL) {
        wait->leaving = 1;
        entry->leaving++;
        SetEvent(set->wake);
    }
}

/* End a wait that is pending; whether nothing was taken for it. *unlinked:
 * the set's reference is the caller's now. */
static BOOL
set_discard(WaitSetObject *set, LoopWaitObject *wait, BOOL *unlinked)
{
    AcquireSRWLockExclusive(&set->lock);
    set_leave(set, wait);
    wait_entry *entry = set_find(set, wait->handle);
    while (wait->leaving && entry->waited) {
        SleepConditionVariableSRW(&set->settled, &set->lock, INFINITE, 0);
        entry = set_find(set, wait->handle);
    }
    *unlinked = wait->phase == PHASE_PENDING;
    if (*unlinked) {
        LoopWaitObject **at = &entry->first;
        while (*at != wait) {
            at = &(*at)->next;
        }
        *at = wait->next;
        wait->phase = PHASE_OVER;
    }
    if (wait->leaving) {
        wait->leaving = 0;
        entry->leaving--;
        if (entry->first != NULL) { /* others came meanwhile */
            SetEvent(set->wake);
        }
    }
    if (entry != NULL && entry->first == NULL && entry->leaving == 0) {
        set_move(set, entry);
    }
    BOOL free = wait->phase == PHASE_OVER;
    ReleaseSRWLockExclusive(&set->lock);
    return free;
}

/* ----------------------------------------------------------------- WaitSet */

static PyObject *
wait_set_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":WaitSet", keywords)) {
        return NULL;
    }
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
    "add($self, handle, name, notify, /)\n--\n\n"
    "Wait for a handle that stays open until the wait is over; `name`\n"
    "is for errors.\n\n"
    "The thread of the set takes the handle and returns the LoopWait\n"
    "from take(), once. None: the set is full, or stopped.\n\n"
    "Raises PermissionError (winerror 5) where a wait could not be\n"
    "undone: for a mutex, and for a handle without the rights to ask\n"
    "for and to set its state.");

static PyObject *
wait_set_add(PyObject *op, PyObject *args)
{
    WaitSetObject *set = (WaitSetObject *)op;
    wi_state *state = wi_state_of(Py_TYPE(op));
    HANDLE handle;
    PyObject *name, *notify;
    if (state == NULL ||
        !PyArg_ParseTuple(args, "O&OO:add", wi_handle_converter, &handle,
                          &name, &notify)) {
        return NULL;
    }
    sync_undo undo = sync_undo_of(handle);
    if (undo == SYNC_UNDO_FINAL) {
        return wi_raise_text(
            PyExc_PermissionError, ERROR_ACCESS_DENIED,
            "a wait that can be cancelled needs QUERY_STATE and MODIFY_STATE, "
            "and is not for a mutex",
            "WaitForMultipleObjects", name);
    }
    LoopWaitObject *wait = wi_alloc(state->loop_wait_type);
    if (wait == NULL) {
        return NULL;
    }
    wait->set = (WaitSetObject *)Py_NewRef(op);
    wait->notify = Py_NewRef(notify);
    wait->handle = handle;
    wait->undo = undo;
    wait->phase = PHASE_OVER;

    AcquireSRWLockExclusive(&set->lock);
    wait_entry *entry = set_find(set, handle);
    if (entry == NULL && set->count < WAIT_SET_ROOM) {
        entry = &set->entries[set->count++];
        *entry = (wait_entry){.handle = handle, .undo = undo};
    }
    if (set->stopped) {
        entry = NULL;
    }
    if (entry != NULL) {
        wait->phase = PHASE_PENDING;
        list_append(&entry->first,
                    (LoopWaitObject *)Py_NewRef((PyObject *)wait));
        if (!entry->waited) {
            SetEvent(set->wake);
        }
    }
    ReleaseSRWLockExclusive(&set->lock);
    if (entry == NULL) {
        Py_DECREF(wait);
        Py_RETURN_NONE;
    }
    return (PyObject *)wait;
}

PyDoc_STRVAR(wait_set_holds_doc,
             "holds($self, handle, /)\n--\n\n"
             "Whether a wait for this handle is pending here.");

static PyObject *
wait_set_holds(PyObject *op, PyObject *value)
{
    WaitSetObject *set = (WaitSetObject *)op;
    HANDLE handle;
    if (!wi_handle_converter(value, &handle)) {
        return NULL;
    }
    AcquireSRWLockExclusive(&set->lock);
    BOOL found = set_find(set, handle) != NULL;
    ReleaseSRWLockExclusive(&set->lock);
    return PyBool_FromLong(found);
}

PyDoc_STRVAR(wait_set_take_doc,
             "take($self, idle, /)\n--\n\n"
             "Sleep until a handle is taken; its LoopWait.\n\n"
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
    /* The set's reference to it is the caller's now. */
    return wait != NULL ? (PyObject *)wait : Py_NewRef(Py_None);
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
    if (!only_idle || (set->count == 0 && set->ready == NULL)) {
        set->stopped = 1;
    }
    BOOL stopped = set->stopped;
    ReleaseSRWLockExclusive(&set->lock);
    SetEvent(set->wake);
    return PyBool_FromLong(stopped);
}

static PyMethodDef wait_set_methods[] = {
    {"add", wait_set_add, METH_VARARGS, wait_set_add_doc},
    {"holds", wait_set_holds, METH_O, wait_set_holds_doc},
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

static int
loop_wait_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((LoopWaitObject *)op)->notify);
    return 0;
}

static int
loop_wait_clear(PyObject *op)
{
    Py_CLEAR(((LoopWaitObject *)op)->notify);
    return 0;
}

/* Not a finaliser: a task that is collected in the same cycle still calls
 * cancel() and give_back() from its own, in whatever order they run. */
static void
loop_wait_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    loop_wait_clear(op);
    Py_XDECREF((PyObject *)((LoopWaitObject *)op)->set);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(op);
    Py_DECREF(type);
}

PyDoc_STRVAR(
    loop_wait_cancel_doc,
    "cancel($self, /)\n--\n\n"
    "End the wait. True: nothing was taken, and nothing will be.\n\n"
    "False: the handle has been taken for this wait; its owner keeps\n"
    "it or calls give_back(). The handle may be closed after either.");

static PyObject *
loop_wait_cancel(PyObject *op, PyObject *Py_UNUSED(unused))
{
    LoopWaitObject *wait = (LoopWaitObject *)op;
    BOOL free, unlinked;
    Py_BEGIN_ALLOW_THREADS
    free = set_discard(wait->set, wait, &unlinked);
    Py_END_ALLOW_THREADS
    if (unlinked) {
        Py_DECREF(op); /* the set's; the caller has another */
    }
    return PyBool_FromLong(free);
}

PyDoc_STRVAR(loop_wait_leave_doc,
             "leave($self, /)\n--\n\n"
             "Announce cancel(), which has to follow: of many waits, all are\n"
             "announced first, so that the thread settles once for all.");

static PyObject *
loop_wait_leave(PyObject *op, PyObject *Py_UNUSED(unused))
{
    LoopWaitObject *wait = (LoopWaitObject *)op;
    AcquireSRWLockExclusive(&wait->set->lock);
    set_leave(wait->set, wait);
    ReleaseSRWLockExclusive(&wait->set->lock);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(loop_wait_give_back_doc,
             "give_back($self, /)\n--\n\n"
             "Undo what was taken for this wait, if anything; once.\n\n"
             "An object that is signalled to its limit stays as it is.\n\n"
             "Win32: SetEvent, ReleaseSemaphore");

static PyObject *
loop_wait_give_back(PyObject *op, PyObject *Py_UNUSED(unused))
{
    LoopWaitObject *wait = (LoopWaitObject *)op;
    AcquireSRWLockExclusive(&wait->set->lock);
    BOOL taken = wait->phase == PHASE_TAKEN && wait->err == 0;
    if (wait->phase == PHASE_TAKEN) {
        wait->phase = PHASE_OVER;
    }
    ReleaseSRWLockExclusive(&wait->set->lock);
    if (taken) {
        sync_give_back(wait->handle, wait->undo);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(loop_wait_check_doc, "check($self, /)\n--\n\n"
                                  "Raise the error of a wait that failed.");

static PyObject *
loop_wait_check(PyObject *op, PyObject *Py_UNUSED(unused))
{
    LoopWaitObject *wait = (LoopWaitObject *)op;
    if (wait->err != 0) {
        return wi_raise_format(wait->err, "WaitForMultipleObjects",
                               "handle %zu", (size_t)wait->handle);
    }
    Py_RETURN_NONE;
}

static PyMethodDef loop_wait_methods[] = {
    {"leave", loop_wait_leave, METH_NOARGS, loop_wait_leave_doc},
    {"cancel", loop_wait_cancel, METH_NOARGS, loop_wait_cancel_doc},
    {"give_back", loop_wait_give_back, METH_NOARGS, loop_wait_give_back_doc},
    {"check", loop_wait_check, METH_NOARGS, loop_wait_check_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef loop_wait_members[] = {
    {"notify", T_OBJECT_EX, offsetof(LoopWaitObject, notify), Py_READONLY,
     "What the thread of the set calls, once, when the handle was taken."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(loop_wait_doc, "One wait in a WaitSet, made by WaitSet.add().");

static PyType_Slot loop_wait_slots[] = {
    {Py_tp_doc, (void *)loop_wait_doc}, {Py_tp_new, wi_no_new},
    {Py_tp_dealloc, loop_wait_dealloc}, {Py_tp_traverse, loop_wait_traverse},
    {Py_tp_clear, loop_wait_clear},     {Py_tp_methods, loop_wait_methods},
    {Py_tp_members, loop_wait_members}, {0, NULL},
};

static PyType_Spec loop_wait_spec = {
    .name = "winipc._core.LoopWait",
    .basicsize = sizeof(LoopWaitObject),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = loop_wait_slots,
};

int
wi_loop_wait_init(PyObject *module, wi_state *state)
{
    PyTypeObject *set_type;
    if (wi_add_type(module, &wait_set_spec, &set_type) < 0) {
        return -1;
    }
    Py_DECREF(set_type); /* the module has it */
    return wi_add_type(module, &loop_wait_spec, &state->loop_wait_type);
}
