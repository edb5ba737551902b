/* waitable.c: Mutex, Event and Semaphore.
 *
 * CreateMutexExW, OpenMutexW, ReleaseMutex and their likes. Each object owns
 * one handle with the least rights that its methods need. Any thread may call
 * anything, except that Windows ties a mutex to the thread that took it.
 *
 * One struct serves the three types; they derive from _core.Waitable, which
 * has what they share. A wait pins the object, so that no other thread closes
 * the handle under it (its number could be another object's at once). Calls
 * that cannot block keep the GIL: they are shorter than giving it up. */
#include "waitable.h"

#include "base/bytes.h"
#include "base/nt.h"

/* QUERY_STATE of mutants, events and semaphores is the same bit. */
#define SYNC_QUERY_STATE 0x0001u
#define SYNC_MODIFY_STATE 0x0002u

/* Texts for errors of which Windows' own text does not tell the reason. */
#define SYNC_WRONG_KIND "the name belongs to an object of another kind"

static const char *const sync_kind_names[] = {"mutex", "event", "semaphore"};

/* ---------------------------------------------------------------- helpers */

PyObject *
sync_label(SyncObject *self)
{
    if (self->name != NULL) {
        Py_INCREF(self->name);
        return self->name;
    }
    return PyUnicode_FromFormat("unnamed %s", sync_kind_names[self->kind]);
}

/* Raise err about self; text NULL takes the text of Windows. NULL. */
static PyObject *
sync_raise(SyncObject *self, DWORD err, const char *text, const char *api)
{
    PyObject *label = sync_label(self);
    if (label != NULL) {
        if (text != NULL) {
            wi_raise_text(PyExc_OSError, err, text, api, label);
        }
        else {
            wi_raise(err, api, label);
        }
        Py_DECREF(label);
    }
    return NULL;
}

void
sync_raise_abandoned(SyncObject *self, const char *api)
{
    PyObject *label = sync_label(self);
    if (label == NULL) {
        return;
    }
    wi_raise_abandoned(self->state, api, label, (PyObject *)self);
    Py_DECREF(label);
}

void
sync_taken(SyncObject *self, int abandoned)
{
    DWORD me = GetCurrentThreadId();
    if (self->owner == me && !abandoned) {
        self->held++;
    }
    else {
        self->owner = me;
        self->held = 1;
        self->abandoned = 0;
    }
    if (abandoned) {
        self->abandoned = 1;
    }
}

ACCESS_MASK
sync_granted_access(HANDLE handle)
{
    wi_object_basic_info info;
    memset(&info, 0, sizeof(info));
    return WI_NT_SUCCESS(NtQueryObject(handle, 0, &info, sizeof(info), NULL))
               ? info.granted
               : 0;
}

int
sync_event_is_manual(HANDLE handle)
{
    wi_event_info info;
    if (!WI_NT_SUCCESS(NtQueryEvent(handle, 0, &info, sizeof(info), NULL))) {
        return -1;
    }
    return info.type == 0;
}

sync_undo
sync_undo_of(HANDLE handle)
{
    wi_semaphore_info semaphore;
    DWORD code;
    int manual = sync_event_is_manual(handle);
    if (manual == 1) {
        return SYNC_UNDO_NOTHING;
    }
    /* EVENT_MODIFY_STATE and SEMAPHORE_MODIFY_STATE are one bit. */
    int semaphored =
        manual < 0 && WI_NT_SUCCESS(NtQuerySemaphore(handle, 0, &semaphore,
                                                     sizeof(semaphore), NULL));
    if (manual == 0 || semaphored) {
        return !(sync_granted_access(handle) & EVENT_MODIFY_STATE)
                   ? SYNC_UNDO_FINAL
               : semaphored ? SYNC_UNDO_SEMAPHORE
                            : SYNC_UNDO_EVENT;
    }
    /* ACCESS_DENIED still proves the type: the kernel checks the type before
     * the rights. */
    if (GetExitCodeProcess(handle, &code) ||
        GetLastError() == ERROR_ACCESS_DENIED ||
        GetExitCodeThread(handle, &code) ||
        GetLastError() == ERROR_ACCESS_DENIED) {
        return SYNC_UNDO_NOTHING;
    }
    return SYNC_UNDO_FINAL;
}

void
sync_give_back(HANDLE handle, sync_undo undo)
{
    if (undo == SYNC_UNDO_EVENT) {
        SetEvent(handle);
    }
    else if (undo == SYNC_UNDO_SEMAPHORE) {
        ReleaseSemaphore(handle, 1, NULL);
    }
}

static int
sync_check_open(SyncObject *self)
{
    if (self->handle == NULL) {
        PyErr_Format(PyExc_ValueError, "%s is closed",
                     sync_kind_names[self->kind]);
        return -1;
    }
    return 0;
}

/* --------------------------------------------------- release and finalise */

/* Whether a live thread holds the mutex through this object. */
static int
mutex_is_held(SyncObject *self)
{
    if (self->kind != SYNC_MUTEX || self->held == 0) {
        return 0;
    }
    /* It may have been released through another handle, or its thread may
     * be gone: the kernel knows, where the handle may ask it. */
    wi_mutant_info info;
    if (WI_NT_SUCCESS(
            NtQueryMutant(self->handle, 0, &info, sizeof(info), NULL))) {
        if (info.count > 0 || info.abandoned) {
            return 0;
        }
        if (self->owner == GetCurrentThreadId()) {
            return info.owned_by_caller;
        }
    }
    if (self->owner == GetCurrentThreadId()) {
        return 1;
    }
    HANDLE thread = OpenThread(SYNCHRONIZE, FALSE, self->owner);
    if (thread == NULL) {
        return 0;
    }
    int alive = WaitForSingleObject(thread, 0) == WAIT_TIMEOUT;
    CloseHandle(thread);
    return alive;
}

/* Give the handle back; the error of CloseHandle, or 0. */
static DWORD
sync_release(SyncObject *self)
{
    HANDLE handle = self->handle;
    self->handle = NULL;
    self->held = 0;
    self->owner = 0;
    if (handle == NULL || CloseHandle(handle)) {
        return 0;
    }
    return GetLastError();
}

static void
sync_finalize(PyObject *op)
{
    SyncObject *self = (SyncObject *)op;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (self->handle != NULL) {
        wi_warn_unclosed(op);
        /* Left held, it would stay taken until this thread ends. */
        if (self->held > 0 && self->owner == GetCurrentThreadId()) {
            while (self->held-- > 0 && ReleaseMutex(self->handle)) {
            }
        }
        DWORD err = sync_release(self);
        if (err != 0) {
            sync_raise(self, err, NULL, "CloseHandle");
            PyErr_WriteUnraisable(op);
        }
    }
    Py_CLEAR(self->name);
    PyErr_Restore(type, value, traceback);
}

static int
sync_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    return 0;
}

/* ----------------------------------------------------------- construction */

/* A new object that owns handle; closes handle on failure. */
static PyObject *
sync_adopt(PyObject *cls, sync_kind kind, HANDLE handle, PyObject *name,
           int created)
{
    wi_state *state = wi_state_of((PyTypeObject *)cls);
    SyncObject *self = state == NULL ? NULL : wi_alloc((PyTypeObject *)cls);
    if (self == NULL) {
        CloseHandle(handle);
        return NULL;
    }
    self->handle = handle;
    self->state = state;
    self->kind = kind;
    self->created = (char)created;
    self->manual = -1;
    if (kind == SYNC_EVENT) {
        self->manual = (signed char)sync_event_is_manual(handle);
    }
    if (name != Py_None) {
        Py_INCREF(name);
        self->name = name;
    }
    return (PyObject *)self;
}

/* What a create call needs beside its own numbers. */
typedef struct {
    PyObject *name;
    PyObject *spec;
    int exist_ok;
    DWORD access;
    wchar_t *wname;
    wi_security security;
} sync_creation;

static int
sync_check_name(PyObject *name, int needed)
{
    if (name == Py_None && !needed) {
        return 0;
    }
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, "name must be str%s, not %R",
                     needed ? "" : " or None", (PyObject *)Py_TYPE(name));
        return -1;
    }
    if (PyUnicode_GetLength(name) == 0) {
        PyErr_SetString(PyExc_ValueError, "name must not be empty");
        return -1;
    }
    return 0;
}

static int
creation_begin(sync_creation *c)
{
    c->wname = NULL;
    if (sync_check_name(c->name, 0) < 0 ||
        wi_wide_name(c->name, &c->wname) < 0) {
        return -1;
    }
    if (wi_security_init(&c->security, c->spec) < 0) {
        PyMem_Free(c->wname);
        return -1;
    }
    return 0;
}

/* Make the object of what the create call gave, and clean up. */
static PyObject *
creation_end(sync_creation *c, PyObject *cls, sync_kind kind, HANDLE handle,
             DWORD err, const char *api)
{
    wi_security_clear(&c->security);
    PyMem_Free(c->wname);
    PyObject *label = c->name;
    if (handle != NULL &&
        (err != ERROR_ALREADY_EXISTS || c->exist_ok || label == Py_None)) {
        return sync_adopt(cls, kind, handle, c->name,
                          err != ERROR_ALREADY_EXISTS);
    }
    if (handle != NULL) {
        CloseHandle(handle);
        return wi_raise(ERROR_ALREADY_EXISTS, api, label);
    }
    if (label == Py_None) {
        label = PyUnicode_FromFormat("unnamed %s", sync_kind_names[kind]);
        if (label == NULL) {
            return NULL;
        }
    }
    else {
        Py_INCREF(label);
    }
    if (err == ERROR_INVALID_HANDLE) {
        wi_raise_text(PyExc_OSError, err, SYNC_WRONG_KIND, api, label);
    }
    else {
        wi_raise(err, api, label);
    }
    Py_DECREF(label);
    return NULL;
}

typedef HANDLE(WINAPI *open_fn)(DWORD access, BOOL inherit, LPCWSTR name);

static PyObject *
sync_open(PyObject *cls, PyObject *args, PyObject *kwargs, sync_kind kind)
{
    static char *keywords[] = {"name", "access", NULL};
    static const char *const apis[] = {"OpenMutexW", "OpenEventW",
                                       "OpenSemaphoreW"};
    PyObject *name;
    DWORD access, err;
    wchar_t *wname;
    HANDLE handle;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO&:_open", keywords,
                                     &name, wi_u32_converter, &access) ||
        sync_check_name(name, 1) < 0 || wi_wide_name(name, &wname) < 0) {
        return NULL;
    }
    open_fn open = kind == SYNC_MUTEX   ? OpenMutexW
                   : kind == SYNC_EVENT ? OpenEventW
                                        : OpenSemaphoreW;
    WI_CALL(err, handle = open(access, FALSE, wname));
    PyMem_Free(wname);
    if (handle != NULL) {
        return sync_adopt(cls, kind, handle, name, 0);
    }
    if (err == ERROR_INVALID_HANDLE) {
        return wi_raise_text(PyExc_OSError, err, SYNC_WRONG_KIND, apis[kind],
                             name);
    }
    return wi_raise(err, apis[kind], name);
}

/* Adopt a handle that is already this process's own. */
static PyObject *
sync_from_handle(PyObject *cls, PyObject *args, PyObject *kwargs,
                 sync_kind kind)
{
    static char *keywords[] = {"handle", "name", NULL};
    HANDLE handle;
    PyObject *name = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O&|O:_from_handle",
                                     keywords, wi_handle_converter, &handle,
                                     &name) ||
        sync_check_name(name, 0) < 0) {
        return NULL;
    }
    union {
        wi_mutant_info mutant;
        wi_event_info event;
        wi_semaphore_info semaphore;
    } info;
    wi_ntstatus status =
        kind == SYNC_MUTEX
            ? NtQueryMutant(handle, 0, &info.mutant, sizeof(info.mutant), NULL)
        : kind == SYNC_EVENT
            ? NtQueryEvent(handle, 0, &info.event, sizeof(info.event), NULL)
            : NtQuerySemaphore(handle, 0, &info.semaphore,
                               sizeof(info.semaphore), NULL);
    DWORD err = RtlNtStatusToDosError(status);
    /* A handle without the right to ask is of the right type all the same:
     * the type is looked at first. */
    if (!WI_NT_SUCCESS(status) && err != ERROR_ACCESS_DENIED) {
        PyObject *label =
            PyUnicode_FromFormat("handle %zu", (size_t)(uintptr_t)handle);
        if (label != NULL) {
            if (status == WI_STATUS_OBJECT_TYPE_MISMATCH) {
                PyErr_Format(PyExc_TypeError, "%U is not that of a %s", label,
                             sync_kind_names[kind]);
            }
            else {
                wi_raise(err, "NtQueryObject", label);
            }
            Py_DECREF(label);
        }
        return NULL;
    }
    return sync_adopt(cls, kind, handle, name, 0);
}

/* ---------------------------------------------------------------- waiting */

/* Wait for this one object. 0 and *result, or -1 with an exception. */
static int
sync_wait(SyncObject *self, uint64_t timeout_ms, DWORD *result)
{
    if (sync_check_open(self) < 0) {
        return -1;
    }
    DWORD err;
    WI_CALL_GIL(err, *result = WaitForSingleObject(self->handle, 0));
    if (*result == WAIT_TIMEOUT && timeout_ms > 0) {
        self->pins++;
        *result = wi_wait(&self->handle, 1, FALSE, timeout_ms);
        self->pins--;
        if (*result == WAIT_FAILED) {
            return -1;
        }
    }
    if (*result == WAIT_FAILED) {
        sync_raise(self, err, NULL, "WaitForSingleObject");
        return -1;
    }
    if (self->kind == SYNC_MUTEX && *result != WAIT_TIMEOUT) {
        sync_taken(self, *result == WAIT_ABANDONED_0);
    }
    return 0;
}

int
wi_acquire_args(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                uint64_t *timeout_ms, int *accept)
{
    static const char *const names[] = {"timeout", "abandoned", NULL};
    PyObject *given[2] = {NULL, NULL};
    if (wi_fast_args("acquire", names, 0, args, nargs, kwnames, given) < 0) {
        return -1;
    }
    if (given[1] != NULL) {
        int is_str = PyUnicode_Check(given[1]);
        *accept = is_str &&
                  PyUnicode_CompareWithASCIIString(given[1], "accept") == 0;
        if (!*accept && !(is_str && PyUnicode_CompareWithASCIIString(
                                        given[1], "raise") == 0)) {
            PyErr_Format(PyExc_ValueError,
                         "abandoned must be 'raise' or 'accept', not %R",
                         given[1]);
            return -1;
        }
    }
    return wi_timeout_converter(given[0] == NULL ? Py_None : given[0],
                                timeout_ms)
               ? 0
               : -1;
}

/* timeout=None, the one argument of the waits that are called often. */
static int
sync_parse_wait(const char *method, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames, uint64_t *timeout_ms)
{
    static const char *const names[] = {"timeout", NULL};
    PyObject *given[1] = {NULL};
    if (wi_fast_args(method, names, 0, args, nargs, kwnames, given) < 0) {
        return -1;
    }
    return wi_timeout_converter(given[0] == NULL ? Py_None : given[0],
                                timeout_ms)
               ? 0
               : -1;
}

/* ----------------------------------------------- methods of all the three */

PyDoc_STRVAR(sync_close_doc,
             "close($self, /)\n--\n\n"
             "Close the handle. Once more does nothing.\n\n"
             "Raises BufferError while another thread or task waits for the\n"
             "object, and for a mutex while a thread holds it through this\n"
             "object.\n\nWin32: CloseHandle");

static PyObject *
sync_close(PyObject *op, PyObject *unused)
{
    SyncObject *self = (SyncObject *)op;
    WI_UNUSED(unused);
    if (self->handle == NULL) {
        Py_RETURN_NONE;
    }
    if (self->pins > 0) {
        return PyErr_Format(PyExc_BufferError,
                            "%s is in use by %zd wait(s): end them first",
                            sync_kind_names[self->kind], self->pins);
    }
    if (mutex_is_held(self)) {
        return PyErr_Format(PyExc_BufferError,
                            "mutex is held by thread %u: release it first",
                            (unsigned int)self->owner);
    }
    DWORD err = sync_release(self);
    if (err != 0) {
        return sync_raise(self, err, NULL, "CloseHandle");
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(sync_pin_doc, "_pin($self, /)\n--\n\n"
                           "Let close() refuse until _unpin().");

static PyObject *
sync_pin(PyObject *op, PyObject *unused)
{
    WI_UNUSED(unused);
    if (sync_check_open((SyncObject *)op) < 0) {
        return NULL;
    }
    ((SyncObject *)op)->pins++;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(sync_unpin_doc, "_unpin($self, /)\n--\n\nTake one _pin() back.");

static PyObject *
sync_unpin(PyObject *op, PyObject *unused)
{
    SyncObject *self = (SyncObject *)op;
    WI_UNUSED(unused);
    if (self->pins == 0) {
        PyErr_SetString(PyExc_RuntimeError, "_unpin() without _pin()");
        return NULL;
    }
    self->pins--;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(sync_duplicate_doc,
             "_duplicate_to($self, pid, /)\n--\n\n"
             "Duplicate the handle into the process pid; the number there.\n\n"
             "Win32: OpenProcess, DuplicateHandle");

static PyObject *
sync_duplicate(PyObject *op, PyObject *value)
{
    SyncObject *self = (SyncObject *)op;
    DWORD pid, err = 0;
    HANDLE process = NULL, copy = NULL;
    BOOL ok = FALSE;
    if (!wi_u32_converter(value, &pid) || sync_check_open(self) < 0) {
        return NULL;
    }
    self->pins++;
    WI_CALL(err, process = OpenProcess(PROCESS_DUP_HANDLE, FALSE, pid));
    if (process != NULL) {
        WI_CALL(err, ok = DuplicateHandle(GetCurrentProcess(), self->handle,
                                          process, &copy, 0, FALSE,
                                          DUPLICATE_SAME_ACCESS));
        CloseHandle(process);
    }
    self->pins--;
    if (ok) {
        return PyLong_FromSize_t((size_t)(uintptr_t)copy);
    }
    PyObject *label = PyUnicode_FromFormat("pid %u", (unsigned int)pid);
    if (label != NULL) {
        if (process != NULL) {
            wi_raise(err, "DuplicateHandle", label);
        }
        else if (err == ERROR_INVALID_PARAMETER) {
            wi_raise_as(PyExc_ProcessLookupError, err, "OpenProcess", label);
        }
        else {
            wi_raise(err, "OpenProcess", label);
        }
        Py_DECREF(label);
    }
    return NULL;
}

static PyObject *
sync_get_handle(PyObject *op, void *closure)
{
    WI_UNUSED(closure);
    if (sync_check_open((SyncObject *)op) < 0) {
        return NULL;
    }
    return PyLong_FromSize_t((size_t)(uintptr_t)((SyncObject *)op)->handle);
}

static PyObject *
sync_get_closed(PyObject *op, void *closure)
{
    WI_UNUSED(closure);
    return PyBool_FromLong(((SyncObject *)op)->handle == NULL);
}

static PyObject *
sync_get_name(PyObject *op, void *closure)
{
    WI_UNUSED(closure);
    PyObject *name = ((SyncObject *)op)->name;
    name = name == NULL ? Py_None : name;
    Py_INCREF(name);
    return name;
}

static PyObject *
sync_get_created(PyObject *op, void *closure)
{
    WI_UNUSED(closure);
    return PyBool_FromLong(((SyncObject *)op)->created);
}

static PyObject *
sync_get_access(PyObject *op, void *closure)
{
    WI_UNUSED(closure);
    if (sync_check_open((SyncObject *)op) < 0) {
        return NULL;
    }
    return PyLong_FromUnsignedLong(
        sync_granted_access(((SyncObject *)op)->handle));
}

static PyMethodDef sync_methods[] = {
    {"close", sync_close, METH_NOARGS, sync_close_doc},
    {"_pin", sync_pin, METH_NOARGS, sync_pin_doc},
    {"_unpin", sync_unpin, METH_NOARGS, sync_unpin_doc},
    {"_duplicate_to", sync_duplicate, METH_O, sync_duplicate_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef sync_getset[] = {
    {"handle", sync_get_handle, NULL,
     "The handle's number in this process; the object stays its owner.", NULL},
    {"_access", sync_get_access, NULL, "The rights that the handle has.",
     NULL},
    {"closed", sync_get_closed, NULL, "Whether close() has been called.",
     NULL},
    {"name", sync_get_name, NULL, "The name, or None.", NULL},
    {"created", sync_get_created, NULL,
     "Whether this call made the kernel object, or found it.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef sync_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(SyncObject, weakrefs),
     Py_READONLY, NULL},
    {"_pins", Py_T_PYSSIZET, offsetof(SyncObject, pins), Py_READONLY,
     "How many waits and tasks keep close() from closing."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(waitable_doc,
             "What Mutex, Event and Semaphore share: one owned handle.");

static PyType_Slot waitable_slots[] = {
    {Py_tp_doc, (void *)waitable_doc}, {Py_tp_new, wi_no_new},
    {Py_tp_finalize, sync_finalize},   {Py_tp_traverse, sync_traverse},
    {Py_tp_methods, sync_methods},     {Py_tp_getset, sync_getset},
    {Py_tp_members, sync_members},     {0, NULL},
};

#define SYNC_FLAGS                                                            \
    (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |          \
     Py_TPFLAGS_IMMUTABLETYPE)

static PyType_Spec waitable_spec = {
    .name = "winipc._core.Waitable",
    .basicsize = sizeof(SyncObject),
    .flags = SYNC_FLAGS,
    .slots = waitable_slots,
};

/* ------------------------------------------------------------------ Mutex */

PyDoc_STRVAR(mutex_create_doc,
             "_create($type, /, name, owned=False, exist_ok=False, "
             "security=None,\n        access=0x100003)\n--\n\n"
             "Win32: CreateMutexExW");

static PyObject *
mutex_create(PyObject *cls, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"name",     "owned",  "exist_ok",
                               "security", "access", NULL};
    sync_creation c = {.spec = Py_None,
                       .access =
                           SYNCHRONIZE | SYNC_MODIFY_STATE | SYNC_QUERY_STATE};
    int owned = 0;
    DWORD err;
    HANDLE handle;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|ppOO&:_create", keywords,
                                     &c.name, &owned, &c.exist_ok, &c.spec,
                                     wi_u32_converter, &c.access) ||
        creation_begin(&c) < 0) {
        return NULL;
    }
    /* The GIL is kept: a mutex belongs to the thread that makes it, and the
     * call is short. */
    WI_CALL_GIL(err, handle = CreateMutexExW(
                         wi_security_attributes(&c.security), c.wname,
                         owned ? CREATE_MUTEX_INITIAL_OWNER : 0, c.access));
    PyObject *self =
        creation_end(&c, cls, SYNC_MUTEX, handle, err, "CreateMutexExW");
    if (self != NULL && owned && ((SyncObject *)self)->created) {
        sync_taken((SyncObject *)self, 0);
    }
    return self;
}

PyDoc_STRVAR(mutex_open_doc, "_open($type, /, name, access)\n--\n\n"
                             "Win32: OpenMutexW");

static PyObject *
mutex_open(PyObject *cls, PyObject *args, PyObject *kwargs)
{
    return sync_open(cls, args, kwargs, SYNC_MUTEX);
}

PyDoc_STRVAR(sync_from_handle_doc,
             "_from_handle($type, /, handle, name=None)\n--\n\n"
             "Own a handle of this process.\n\nWin32: NtQueryObject");

static PyObject *
mutex_from_handle(PyObject *cls, PyObject *args, PyObject *kwargs)
{
    return sync_from_handle(cls, args, kwargs, SYNC_MUTEX);
}

PyDoc_STRVAR(
    mutex_acquire_doc,
    "acquire($self, timeout=None, abandoned='raise')\n--\n\n"
    "Take the mutex for the calling thread; False when timeout ran out.\n\n"
    "timeout is in seconds, None waits for ever; Ctrl+C gets in. The thread\n"
    "that holds it may take it again, and has to release it as often.\n\n"
    "Raises AbandonedError when the thread that held the mutex ended without\n"
    "releasing it: the caller holds the mutex now, should check what it\n"
    "protects, and has to release it. With abandoned='accept' the result is\n"
    "True and the attribute `abandoned` tells.\n\n"
    "Win32: WaitForSingleObject");

static PyObject *
mutex_acquire(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    uint64_t timeout_ms;
    DWORD result;
    int accept = 0;
    if (wi_acquire_args(args, nargs, kwnames, &timeout_ms, &accept) < 0 ||
        sync_wait((SyncObject *)op, timeout_ms, &result) < 0) {
        return NULL;
    }
    if (result == WAIT_ABANDONED_0 && !accept) {
        sync_raise_abandoned((SyncObject *)op, "WaitForSingleObject");
        return NULL;
    }
    return PyBool_FromLong(result != WAIT_TIMEOUT);
}

PyDoc_STRVAR(
    mutex_release_doc,
    "release($self, /)\n--\n\n"
    "Give the mutex up, once for each time it was taken, through the\n"
    "object that took it: a forgotten one gives back what it took.\n\n"
    "Raises OSError with winerror 288 when the calling thread does\n"
    "not hold it.\n\nWin32: ReleaseMutex");

static PyObject *
mutex_release(PyObject *op, PyObject *unused)
{
    SyncObject *self = (SyncObject *)op;
    DWORD err;
    BOOL ok;
    WI_UNUSED(unused);
    if (sync_check_open(self) < 0) {
        return NULL;
    }
    WI_CALL_GIL(err, ok = ReleaseMutex(self->handle));
    if (!ok) {
        return sync_raise(self, err,
                          err == ERROR_NOT_OWNER
                              ? "this thread does not hold the mutex"
                              : NULL,
                          "ReleaseMutex");
    }
    if (self->owner == GetCurrentThreadId() && self->held > 0 &&
        --self->held == 0) {
        self->owner = 0;
        self->abandoned = 0;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(mutex_enter_doc,
             "__enter__($self, /)\n--\n\nacquire(), and return the mutex.");

static PyObject *
mutex_enter(PyObject *op, PyObject *unused)
{
    DWORD result;
    WI_UNUSED(unused);
    if (sync_wait((SyncObject *)op, WI_FOREVER, &result) < 0) {
        return NULL;
    }
    if (result == WAIT_ABANDONED_0) {
        sync_raise_abandoned((SyncObject *)op, "WaitForSingleObject");
        return NULL;
    }
    Py_INCREF(op);
    return op;
}

PyDoc_STRVAR(mutex_exit_doc, "__exit__($self, /, *exc)\n--\n\nrelease().");

static PyObject *
mutex_exit(PyObject *op, PyObject *args)
{
    WI_UNUSED(args);
    return mutex_release(op, NULL);
}

static PyObject *
mutex_get_abandoned(PyObject *op, void *closure)
{
    WI_UNUSED(closure);
    return PyBool_FromLong(((SyncObject *)op)->abandoned);
}

static PyObject *
mutex_get_held(PyObject *op, void *closure)
{
    SyncObject *self = (SyncObject *)op;
    WI_UNUSED(closure);
    return PyBool_FromLong(self->held > 0 &&
                           self->owner == GetCurrentThreadId());
}

static PyObject *
mutex_get_held_by_any(PyObject *op, void *closure)
{
    SyncObject *self = (SyncObject *)op;
    WI_UNUSED(closure);
    return PyBool_FromLong(self->handle != NULL && mutex_is_held(self));
}

#define SYNC_KEYWORDS (METH_VARARGS | METH_KEYWORDS)

static PyMethodDef mutex_methods[] = {
    {"_create", (PyCFunction)(void (*)(void))mutex_create,
     METH_CLASS | SYNC_KEYWORDS, mutex_create_doc},
    {"_open", (PyCFunction)(void (*)(void))mutex_open,
     METH_CLASS | SYNC_KEYWORDS, mutex_open_doc},
    {"_from_handle", (PyCFunction)(void (*)(void))mutex_from_handle,
     METH_CLASS | SYNC_KEYWORDS, sync_from_handle_doc},
    {"acquire", (PyCFunction)(void (*)(void))mutex_acquire,
     METH_FASTCALL | METH_KEYWORDS, mutex_acquire_doc},
    {"release", mutex_release, METH_NOARGS, mutex_release_doc},
    {"__enter__", mutex_enter, METH_NOARGS, mutex_enter_doc},
    {"__exit__", mutex_exit, METH_VARARGS, mutex_exit_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef mutex_getset[] = {
    {"abandoned", mutex_get_abandoned, NULL,
     "Whether the mutex was found abandoned when it was taken; until it is\n"
     "released.",
     NULL},
    {"held", mutex_get_held, NULL,
     "Whether the calling thread took it through this object.", NULL},
    {"_held_by_any", mutex_get_held_by_any, NULL,
     "Whether a live thread took it through this object.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(mutex_doc, "A Win32 mutex.");

static PyType_Slot mutex_slots[] = {
    {Py_tp_doc, (void *)mutex_doc},
    {Py_tp_traverse, sync_traverse},
    {Py_tp_methods, mutex_methods},
    {Py_tp_getset, mutex_getset},
    {0, NULL},
};

static PyType_Spec mutex_spec = {
    .name = "winipc._core.Mutex",
    .basicsize = sizeof(SyncObject),
    .flags = SYNC_FLAGS,
    .slots = mutex_slots,
};

/* ------------------------------------------------------------------ Event */

PyDoc_STRVAR(event_create_doc,
             "_create($type, /, name, manual=False, initial=False, "
             "exist_ok=False,\n        security=None, access=0x100003)\n--\n\n"
             "Win32: CreateEventExW");

static PyObject *
event_create(PyObject *cls, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"name",     "manual", "initial", "exist_ok",
                               "security", "access", NULL};
    sync_creation c = {.spec = Py_None,
                       .access =
                           SYNCHRONIZE | SYNC_MODIFY_STATE | SYNC_QUERY_STATE};
    int manual = 0, initial = 0;
    DWORD err;
    HANDLE handle;
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "O|pppOO&:_create", keywords, &c.name, &manual,
            &initial, &c.exist_ok, &c.spec, wi_u32_converter, &c.access) ||
        creation_begin(&c) < 0) {
        return NULL;
    }
    WI_CALL_GIL(err, handle = CreateEventExW(
                         wi_security_attributes(&c.security), c.wname,
                         (manual ? CREATE_EVENT_MANUAL_RESET : 0u) |
                             (initial ? CREATE_EVENT_INITIAL_SET : 0u),
                         c.access));
    PyObject *self =
        creation_end(&c, cls, SYNC_EVENT, handle, err, "CreateEventExW");
    if (self != NULL && ((SyncObject *)self)->created) {
        ((SyncObject *)self)->manual = (signed char)manual;
    }
    return self;
}

PyDoc_STRVAR(event_open_doc, "_open($type, /, name, access)\n--\n\n"
                             "Win32: OpenEventW");

static PyObject *
event_open(PyObject *cls, PyObject *args, PyObject *kwargs)
{
    return sync_open(cls, args, kwargs, SYNC_EVENT);
}

static PyObject *
event_from_handle(PyObject *cls, PyObject *args, PyObject *kwargs)
{
    return sync_from_handle(cls, args, kwargs, SYNC_EVENT);
}

PyDoc_STRVAR(event_set_doc,
             "set($self, /)\n--\n\n"
             "Signal the event: a manual-reset one lets all waiters go until\n"
             "reset(), an auto-reset one lets exactly one go.\n\n"
             "Win32: SetEvent");

static PyObject *
event_set(PyObject *op, PyObject *unused)
{
    SyncObject *self = (SyncObject *)op;
    DWORD err;
    BOOL ok;
    WI_UNUSED(unused);
    if (sync_check_open(self) < 0) {
        return NULL;
    }
    WI_CALL_GIL(err, ok = SetEvent(self->handle));
    if (!ok) {
        return sync_raise(self, err, NULL, "SetEvent");
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(event_reset_doc,
             "reset($self, /)\n--\n\nTake the signal back.\n\n"
             "Win32: ResetEvent");

static PyObject *
event_reset(PyObject *op, PyObject *unused)
{
    SyncObject *self = (SyncObject *)op;
    DWORD err;
    BOOL ok;
    WI_UNUSED(unused);
    if (sync_check_open(self) < 0) {
        return NULL;
    }
    WI_CALL_GIL(err, ok = ResetEvent(self->handle));
    if (!ok) {
        return sync_raise(self, err, NULL, "ResetEvent");
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(event_wait_doc,
             "wait($self, timeout=None)\n--\n\n"
             "Wait until the event is set; False when timeout ran out.\n\n"
             "timeout is in seconds, None waits for ever; Ctrl+C gets in. An\n"
             "auto-reset event is reset by the wait that it ends.\n\n"
             "Win32: WaitForSingleObject");

static PyObject *
event_wait(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
           PyObject *kwnames)
{
    uint64_t timeout_ms;
    DWORD result;
    if (sync_parse_wait("wait", args, nargs, kwnames, &timeout_ms) < 0 ||
        sync_wait((SyncObject *)op, timeout_ms, &result) < 0) {
        return NULL;
    }
    return PyBool_FromLong(result != WAIT_TIMEOUT);
}

PyDoc_STRVAR(event_is_set_doc,
             "is_set($self, /)\n--\n\n"
             "Whether the event is set now; resets nothing.\n\n"
             "Raises PermissionError when it was opened without\n"
             "Access.QUERY_STATE.\n\nWin32: NtQueryEvent");

static PyObject *
event_is_set(PyObject *op, PyObject *unused)
{
    SyncObject *self = (SyncObject *)op;
    wi_event_info info;
    WI_UNUSED(unused);
    if (sync_check_open(self) < 0) {
        return NULL;
    }
    wi_ntstatus status =
        NtQueryEvent(self->handle, 0, &info, sizeof(info), NULL);
    if (!WI_NT_SUCCESS(status)) {
        return sync_raise(self, RtlNtStatusToDosError(status), NULL,
                          "NtQueryEvent");
    }
    return PyBool_FromLong(info.state != 0);
}

static PyObject *
event_get_manual(PyObject *op, void *closure)
{
    WI_UNUSED(closure);
    if (((SyncObject *)op)->manual < 0) {
        Py_RETURN_NONE;
    }
    return PyBool_FromLong(((SyncObject *)op)->manual);
}

static PyMethodDef event_methods[] = {
    {"_create", (PyCFunction)(void (*)(void))event_create,
     METH_CLASS | SYNC_KEYWORDS, event_create_doc},
    {"_open", (PyCFunction)(void (*)(void))event_open,
     METH_CLASS | SYNC_KEYWORDS, event_open_doc},
    {"_from_handle", (PyCFunction)(void (*)(void))event_from_handle,
     METH_CLASS | SYNC_KEYWORDS, sync_from_handle_doc},
    {"set", event_set, METH_NOARGS, event_set_doc},
    {"reset", event_reset, METH_NOARGS, event_reset_doc},
    {"wait", (PyCFunction)(void (*)(void))event_wait,
     METH_FASTCALL | METH_KEYWORDS, event_wait_doc},
    {"is_set", event_is_set, METH_NOARGS, event_is_set_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef event_getset[] = {
    {"manual", event_get_manual, NULL,
     "Whether only reset() resets it; None where the handle may not ask.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(event_doc, "A Win32 event.");

static PyType_Slot event_slots[] = {
    {Py_tp_doc, (void *)event_doc},
    {Py_tp_traverse, sync_traverse},
    {Py_tp_methods, event_methods},
    {Py_tp_getset, event_getset},
    {0, NULL},
};

static PyType_Spec event_spec = {
    .name = "winipc._core.Event",
    .basicsize = sizeof(SyncObject),
    .flags = SYNC_FLAGS,
    .slots = event_slots,
};

/* -------------------------------------------------------------- Semaphore */

/* O& converter: a count as Windows takes it, 0 to 2**31 - 1. */
static int
semaphore_count_converter(PyObject *value, void *out)
{
    uint64_t number;
    if (!wi_u64_converter(value, &number)) {
        return 0;
    }
    if (number > LONG_MAX) {
        PyErr_Format(PyExc_OverflowError, "%R is above 2**31 - 1", value);
        return 0;
    }
    *(LONG *)out = (LONG)number;
    return 1;
}

PyDoc_STRVAR(semaphore_create_doc,
             "_create($type, /, name, initial=1, maximum=0x7fffffff, "
             "exist_ok=False,\n        security=None, access=0x100003)\n--\n\n"
             "Win32: CreateSemaphoreExW");

static PyObject *
semaphore_create(PyObject *cls, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"name",     "initial", "maximum", "exist_ok",
                               "security", "access",  NULL};
    sync_creation c = {.spec = Py_None,
                       .access =
                           SYNCHRONIZE | SYNC_MODIFY_STATE | SYNC_QUERY_STATE};
    LONG initial = 1, maximum = LONG_MAX;
    DWORD err;
    HANDLE handle;
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "O|O&O&pOO&:_create", keywords, &c.name,
            semaphore_count_converter, &initial, semaphore_count_converter,
            &maximum, &c.exist_ok, &c.spec, wi_u32_converter, &c.access)) {
        return NULL;
    }
    if (maximum < 1 || initial > maximum) {
        PyErr_Format(PyExc_ValueError,
                     "a semaphore needs 0 <= initial <= maximum and "
                     "maximum >= 1, not initial %ld and maximum %ld",
                     initial, maximum);
        return NULL;
    }
    if (creation_begin(&c) < 0) {
        return NULL;
    }
    WI_CALL_GIL(err, handle = CreateSemaphoreExW(
                         wi_security_attributes(&c.security), initial, maximum,
                         c.wname, 0, c.access));
    return creation_end(&c, cls, SYNC_SEMAPHORE, handle, err,
                        "CreateSemaphoreExW");
}

PyDoc_STRVAR(semaphore_open_doc, "_open($type, /, name, access)\n--\n\n"
                                 "Win32: OpenSemaphoreW");

static PyObject *
semaphore_open(PyObject *cls, PyObject *args, PyObject *kwargs)
{
    return sync_open(cls, args, kwargs, SYNC_SEMAPHORE);
}

static PyObject *
semaphore_from_handle(PyObject *cls, PyObject *args, PyObject *kwargs)
{
    return sync_from_handle(cls, args, kwargs, SYNC_SEMAPHORE);
}

PyDoc_STRVAR(semaphore_acquire_doc,
             "acquire($self, timeout=None)\n--\n\n"
             "Take one from the count; False when timeout ran out.\n\n"
             "timeout is in seconds, None waits for ever; Ctrl+C gets in.\n\n"
             "Win32: WaitForSingleObject");

static PyObject *
semaphore_acquire(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames)
{
    uint64_t timeout_ms;
    DWORD result;
    if (sync_parse_wait("acquire", args, nargs, kwnames, &timeout_ms) < 0 ||
        sync_wait((SyncObject *)op, timeout_ms, &result) < 0) {
        return NULL;
    }
    return PyBool_FromLong(result != WAIT_TIMEOUT);
}

static PyObject *
semaphore_give(SyncObject *self, LONG count)
{
    LONG previous = 0;
    DWORD err;
    BOOL ok;
    if (sync_check_open(self) < 0) {
        return NULL;
    }
    WI_CALL_GIL(err, ok = ReleaseSemaphore(self->handle, count, &previous));
    if (!ok) {
        return sync_raise(self, err,
                          err == ERROR_TOO_MANY_POSTS
                              ? "the count would pass the maximum"
                              : NULL,
                          "ReleaseSemaphore");
    }
    return PyLong_FromLong(previous);
}

PyDoc_STRVAR(semaphore_release_doc,
             "release($self, count=1, /)\n--\n\n"
             "Add count to the semaphore; the count that it had before.\n\n"
             "Raises OSError with winerror 298, and adds nothing, when the\n"
             "count would pass the maximum.\n\nWin32: ReleaseSemaphore");

static PyObject *
semaphore_release(PyObject *op, PyObject *args)
{
    LONG count = 1;
    if (!PyArg_ParseTuple(args, "|O&:release", semaphore_count_converter,
                          &count)) {
        return NULL;
    }
    if (count == 0) {
        PyErr_SetString(PyExc_ValueError, "count must be at least 1");
        return NULL;
    }
    return semaphore_give((SyncObject *)op, count);
}

PyDoc_STRVAR(semaphore_enter_doc, "__enter__($self, /)\n--\n\n"
                                  "acquire(), and return the semaphore.");

static PyObject *
semaphore_enter(PyObject *op, PyObject *unused)
{
    DWORD result;
    WI_UNUSED(unused);
    if (sync_wait((SyncObject *)op, WI_FOREVER, &result) < 0) {
        return NULL;
    }
    Py_INCREF(op);
    return op;
}

PyDoc_STRVAR(semaphore_exit_doc, "__exit__($self, /, *exc)\n--\n\nrelease().");

static PyObject *
semaphore_exit(PyObject *op, PyObject *args)
{
    WI_UNUSED(args);
    PyObject *previous = semaphore_give((SyncObject *)op, 1);
    if (previous == NULL) {
        return NULL;
    }
    Py_DECREF(previous);
    Py_RETURN_NONE;
}

static int
semaphore_query(SyncObject *self, wi_semaphore_info *info)
{
    if (sync_check_open(self) < 0) {
        return -1;
    }
    wi_ntstatus status =
        NtQuerySemaphore(self->handle, 0, info, sizeof(*info), NULL);
    if (!WI_NT_SUCCESS(status)) {
        sync_raise(self, RtlNtStatusToDosError(status), NULL,
                   "NtQuerySemaphore");
        return -1;
    }
    return 0;
}

static PyObject *
semaphore_get_value(PyObject *op, void *closure)
{
    wi_semaphore_info info;
    WI_UNUSED(closure);
    if (semaphore_query((SyncObject *)op, &info) < 0) {
        return NULL;
    }
    return PyLong_FromLong(info.count);
}

static PyObject *
semaphore_get_maximum(PyObject *op, void *closure)
{
    wi_semaphore_info info;
    WI_UNUSED(closure);
    if (semaphore_query((SyncObject *)op, &info) < 0) {
        return NULL;
    }
    return PyLong_FromLong(info.maximum);
}

static PyMethodDef semaphore_methods[] = {
    {"_create", (PyCFunction)(void (*)(void))semaphore_create,
     METH_CLASS | SYNC_KEYWORDS, semaphore_create_doc},
    {"_open", (PyCFunction)(void (*)(void))semaphore_open,
     METH_CLASS | SYNC_KEYWORDS, semaphore_open_doc},
    {"_from_handle", (PyCFunction)(void (*)(void))semaphore_from_handle,
     METH_CLASS | SYNC_KEYWORDS, sync_from_handle_doc},
    {"acquire", (PyCFunction)(void (*)(void))semaphore_acquire,
     METH_FASTCALL | METH_KEYWORDS, semaphore_acquire_doc},
    {"release", semaphore_release, METH_VARARGS, semaphore_release_doc},
    {"__enter__", semaphore_enter, METH_NOARGS, semaphore_enter_doc},
    {"__exit__", semaphore_exit, METH_VARARGS, semaphore_exit_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef semaphore_getset[] = {
    {"value", semaphore_get_value, NULL,
     "The count now; it may change at once.", NULL},
    {"maximum", semaphore_get_maximum, NULL,
     "The largest count that it can have.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(semaphore_doc, "A Win32 semaphore.");

static PyType_Slot semaphore_slots[] = {
    {Py_tp_doc, (void *)semaphore_doc},
    {Py_tp_traverse, sync_traverse},
    {Py_tp_methods, semaphore_methods},
    {Py_tp_getset, semaphore_getset},
    {0, NULL},
};

static PyType_Spec semaphore_spec = {
    .name = "winipc._core.Semaphore",
    .basicsize = sizeof(SyncObject),
    .flags = SYNC_FLAGS,
    .slots = semaphore_slots,
};

/* ----------------------------------------------------------------- module */

/* A type that derives from Waitable. */
static int
sync_add_type(PyObject *module, PyType_Spec *spec, PyTypeObject *base,
              PyTypeObject **slot)
{
    PyObject *bases = PyTuple_Pack(1, (PyObject *)base);
    if (bases == NULL) {
        return -1;
    }
    *slot = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, bases);
    Py_DECREF(bases);
    return *slot == NULL ? -1 : PyModule_AddType(module, *slot);
}

int
wi_sync_init(PyObject *module, wi_state *state)
{
    if (wi_add_type(module, &waitable_spec, &state->waitable_type) < 0 ||
        sync_add_type(module, &mutex_spec, state->waitable_type,
                      &state->mutex_type) < 0 ||
        sync_add_type(module, &event_spec, state->waitable_type,
                      &state->event_type) < 0 ||
        sync_add_type(module, &semaphore_spec, state->waitable_type,
                      &state->semaphore_type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, wi_waits_methods);
}
