/* waitable.c: what Mutex, Event and Semaphore share, and _core.Waitable.
 *
 *     event = Event._create("Local\\ready")         # or mutex, semaphore
 *     event = Event._open("Local\\ready", access)
 *     event.handle, event.name, event.created, event._access
 *     number = event._duplicate_to(pid)             # a handle over there
 *     event = Event._from_handle(number)            # over there
 *     event.close()
 *
 * Each object owns one handle. Any thread may call anything, except that
 * Windows ties a mutex to the thread that took it. Waits run without the GIL;
 * calls that cannot block keep it: they are shorter than giving it up.
 *
 * A wait pins the object, so that no other thread closes the handle under it
 * (its number could be another object's at once). */
#include "waitable.h"

#include "base/bytes.h"
#include "base/handles.h"
#include "base/nt.h"

/* For errors of which Windows' own text does not tell the reason. */
#define SYNC_WRONG_KIND "the name belongs to an object of another kind"

static const char *const sync_kind_names[] = {"mutex", "event", "semaphore"};

/* ------------------------------------------------------- about any handle */

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
    wi_semaphore_info info;
    DWORD code;
    sync_undo undo = SYNC_UNDO_FINAL;
    int manual = sync_event_is_manual(handle);
    if (manual == 1) {
        return SYNC_UNDO_NOTHING;
    }
    if (manual == 0) {
        undo = SYNC_UNDO_EVENT;
    }
    else if (WI_NT_SUCCESS(
                 NtQuerySemaphore(handle, 0, &info, sizeof(info), NULL))) {
        undo = SYNC_UNDO_SEMAPHORE;
    }
    /* ACCESS_DENIED still proves the type: the kernel checks the type before
     * the rights. */
    else if (GetExitCodeProcess(handle, &code) ||
             GetLastError() == ERROR_ACCESS_DENIED ||
             GetExitCodeThread(handle, &code) ||
             GetLastError() == ERROR_ACCESS_DENIED) {
        return SYNC_UNDO_NOTHING;
    }
    return sync_granted_access(handle) & SYNC_MODIFY_STATE ? undo
                                                           : SYNC_UNDO_FINAL;
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

/* ---------------------------------------------------------------- helpers */

PyObject *
sync_label(SyncObject *self)
{
    if (self->name != NULL) {
        return Py_NewRef(self->name);
    }
    return PyUnicode_FromFormat("unnamed %s", sync_kind_names[self->kind]);
}

PyObject *
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

/* --------------------------------------------------- release and finalise */

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
    WI_KEEP_ERROR
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
    WI_END_KEEP_ERROR
}

/* ----------------------------------------------------------- construction */

/* The state of one of the three classes, and which of them it is. */
static wi_state *
sync_kind_of(PyObject *cls, sync_kind *kind)
{
    wi_state *state = wi_state_of((PyTypeObject *)cls);
    if (state != NULL) {
        PyTypeObject *types[] = {state->mutex_type, state->event_type,
                                 state->semaphore_type};
        for (size_t i = 0; i < Py_ARRAY_LENGTH(types); i++) {
            if (PyType_IsSubtype((PyTypeObject *)cls, types[i])) {
                *kind = (sync_kind)i;
                return state;
            }
        }
        PyErr_SetString(PyExc_TypeError,
                        "use the class methods of Mutex, Event or Semaphore");
    }
    return NULL;
}

/* A new object that owns handle; closes handle on failure. */
static PyObject *
sync_adopt(PyObject *cls, HANDLE handle, PyObject *name, int created)
{
    sync_kind kind = SYNC_MUTEX;
    wi_state *state = sync_kind_of(cls, &kind);
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
        self->name = Py_NewRef(name);
    }
    return (PyObject *)self;
}

int
sync_create_begin(sync_creation *c)
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

PyObject *
sync_create_end(sync_creation *c, PyObject *cls, HANDLE handle, DWORD err,
                const char *api)
{
    wi_security_clear(&c->security);
    PyMem_Free(c->wname);
    int found = handle != NULL && err == ERROR_ALREADY_EXISTS;
    if (handle != NULL && (!found || c->exist_ok || c->name == Py_None)) {
        return sync_adopt(cls, handle, c->name, !found);
    }
    if (handle != NULL) {
        CloseHandle(handle);
    }
    if (c->name == Py_None) {
        return wi_raise_format(err, api, "an unnamed object");
    }
    if (err == ERROR_INVALID_HANDLE) {
        return wi_raise_text(PyExc_OSError, err, SYNC_WRONG_KIND, api,
                             c->name);
    }
    return wi_raise(err, api, c->name);
}

PyDoc_STRVAR(sync_open_doc, "_open($type, /, name, access)\n--\n\n"
                            "Win32: OpenMutexW, OpenEventW, OpenSemaphoreW");

static PyObject *
sync_open(PyObject *cls, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"name", "access", NULL};
    static const char *const apis[] = {"OpenMutexW", "OpenEventW",
                                       "OpenSemaphoreW"};
    HANDLE(WINAPI * opens[])(DWORD, BOOL, LPCWSTR) = {OpenMutexW, OpenEventW,
                                                      OpenSemaphoreW};
    sync_kind kind;
    PyObject *name;
    DWORD access, err;
    wchar_t *wname;
    HANDLE handle;
    if (sync_kind_of(cls, &kind) == NULL ||
        !PyArg_ParseTupleAndKeywords(args, kwargs, "OO&:_open", keywords,
                                     &name, wi_u32_converter, &access) ||
        sync_check_name(name, 1) < 0 || wi_wide_name(name, &wname) < 0) {
        return NULL;
    }
    WI_CALL(err, handle = opens[kind](access, FALSE, wname));
    PyMem_Free(wname);
    if (handle != NULL) {
        return sync_adopt(cls, handle, name, 0);
    }
    if (err == ERROR_INVALID_HANDLE) {
        return wi_raise_text(PyExc_OSError, err, SYNC_WRONG_KIND, apis[kind],
                             name);
    }
    return wi_raise(err, apis[kind], name);
}

PyDoc_STRVAR(sync_from_handle_doc,
             "_from_handle($type, /, handle, name=None)\n--\n\n"
             "Own a handle of this process.\n\n"
             "Win32: NtQueryMutant, NtQueryEvent, NtQuerySemaphore");

static PyObject *
sync_from_handle(PyObject *cls, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"handle", "name", NULL};
    sync_kind kind;
    HANDLE handle;
    PyObject *name = Py_None;
    if (sync_kind_of(cls, &kind) == NULL ||
        !PyArg_ParseTupleAndKeywords(args, kwargs, "O&|O:_from_handle",
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
    if (status == WI_STATUS_OBJECT_TYPE_MISMATCH) {
        return PyErr_Format(PyExc_TypeError, "handle %zu is not that of a %s",
                            (size_t)(uintptr_t)handle, sync_kind_names[kind]);
    }
    /* ACCESS_DENIED still proves the type: the kernel checks the type before
     * the rights. */
    if (!WI_NT_SUCCESS(status) && err != ERROR_ACCESS_DENIED) {
        return wi_raise_format(err, "NtQueryObject", "handle %zu",
                               (size_t)(uintptr_t)handle);
    }
    return sync_adopt(cls, handle, name, 0);
}

/* ---------------------------------------------------------------- waiting */

int
sync_wait(SyncObject *self, uint64_t timeout_ms, DWORD *result)
{
    if (wi_check_open(self, self->handle) < 0) {
        return -1;
    }
    DWORD err;
    WI_CALL_GIL(err, *result = WaitForSingleObject(self->handle, 0));
    if (*result == WAIT_FAILED) {
        sync_raise(self, err, NULL, "WaitForSingleObject");
        return -1;
    }
    if (*result == WAIT_TIMEOUT && timeout_ms > 0) {
        self->pins++;
        *result = wi_wait(&self->handle, 1, FALSE, timeout_ms);
        self->pins--;
        if (*result == WAIT_FAILED) {
            return -1;
        }
    }
    if (self->kind == SYNC_MUTEX && *result != WAIT_TIMEOUT) {
        sync_taken(self, *result == WAIT_ABANDONED_0);
    }
    return 0;
}

PyObject *
sync_wait_method(SyncObject *self, const char *name, PyObject *const *args,
                 Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"timeout", NULL};
    PyObject *timeout;
    uint64_t timeout_ms;
    DWORD result;
    if (wi_fast_args(name, names, 0, args, nargs, kwnames, &timeout) < 0 ||
        !wi_timeout_converter(timeout == NULL ? Py_None : timeout,
                              &timeout_ms) ||
        sync_wait(self, timeout_ms, &result) < 0) {
        return NULL;
    }
    return PyBool_FromLong(result != WAIT_TIMEOUT);
}

/* ----------------------------------------------- methods of all the three */

PyDoc_STRVAR(sync_close_doc,
             "close($self, /)\n--\n\n"
             "Close the handle. Once more does nothing.\n\n"
             "Raises BufferError while another thread or task waits for the\n"
             "object, and for a mutex while a thread holds it through this\n"
             "object.\n\nWin32: CloseHandle");

static PyObject *
sync_close(PyObject *op, PyObject *Py_UNUSED(unused))
{
    SyncObject *self = (SyncObject *)op;
    if (self->handle == NULL) {
        Py_RETURN_NONE;
    }
    if (self->pins > 0) {
        return PyErr_Format(PyExc_BufferError,
                            "%s is in use by %zd wait(s): end them first",
                            sync_kind_names[self->kind], self->pins);
    }
    if (self->held > 0 && sync_is_held(self)) {
        return PyErr_Format(PyExc_BufferError,
                            "mutex is held by thread %lu: release it first",
                            (unsigned long)self->owner);
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
sync_pin(PyObject *op, PyObject *Py_UNUSED(unused))
{
    SyncObject *self = (SyncObject *)op;
    if (wi_check_open(self, self->handle) < 0) {
        return NULL;
    }
    self->pins++;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(sync_unpin_doc, "_unpin($self, /)\n--\n\nTake one _pin() back.");

static PyObject *
sync_unpin(PyObject *op, PyObject *Py_UNUSED(unused))
{
    SyncObject *self = (SyncObject *)op;
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
    DWORD pid;
    HANDLE copy;
    if (!wi_u32_converter(value, &pid) ||
        wi_check_open(self, self->handle) < 0) {
        return NULL;
    }
    self->pins++;
    PyObject *label = sync_label(self);
    int failed = label == NULL ||
                 wi_duplicate_to(pid, self->handle, 0, label, &copy) < 0;
    Py_XDECREF(label);
    self->pins--;
    return failed ? NULL : PyLong_FromSize_t((size_t)(uintptr_t)copy);
}

static PyObject *
sync_get_name(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *name = ((SyncObject *)op)->name;
    return Py_NewRef(name == NULL ? Py_None : name);
}

static PyObject *
sync_get_created(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((SyncObject *)op)->created);
}

static PyObject *
sync_get_access(PyObject *op, void *Py_UNUSED(closure))
{
    SyncObject *self = (SyncObject *)op;
    if (wi_check_open(self, self->handle) < 0) {
        return NULL;
    }
    return PyLong_FromUnsignedLong(sync_granted_access(self->handle));
}

static PyMethodDef sync_methods[] = {
    {"_open", WI_WORDS(sync_open) | METH_CLASS, sync_open_doc},
    {"_from_handle", WI_WORDS(sync_from_handle) | METH_CLASS,
     sync_from_handle_doc},
    {"close", sync_close, METH_NOARGS, sync_close_doc},
    {"_pin", sync_pin, METH_NOARGS, sync_pin_doc},
    {"_unpin", sync_unpin, METH_NOARGS, sync_unpin_doc},
    {"_duplicate_to", sync_duplicate, METH_O, sync_duplicate_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef sync_getset[] = {
    {"handle", wi_get_handle, NULL,
     "The handle's number in this process; the object stays its owner.",
     (void *)offsetof(SyncObject, handle)},
    {"_access", sync_get_access, NULL, "The rights that the handle has.",
     NULL},
    {"closed", wi_get_closed, NULL, "Whether close() has been called.",
     (void *)offsetof(SyncObject, handle)},
    {"name", sync_get_name, NULL, "The name, or None.", NULL},
    {"created", sync_get_created, NULL,
     "Whether this call made the kernel object, or found it.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef sync_members[] = {
    {"_pins", Py_T_PYSSIZET, offsetof(SyncObject, pins), Py_READONLY,
     "How many waits and tasks keep close() from closing."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(waitable_doc,
             "What Mutex, Event and Semaphore share: one owned handle.");

static PyType_Slot waitable_slots[] = {
    {Py_tp_doc, (void *)waitable_doc}, {Py_tp_new, wi_no_new},
    {Py_tp_finalize, sync_finalize},   {Py_tp_traverse, wi_traverse},
    {Py_tp_methods, sync_methods},     {Py_tp_getset, sync_getset},
    {Py_tp_members, sync_members},     {0, NULL},
};

static PyType_Spec waitable_spec = {
    .name = "winipc._core.Waitable",
    .basicsize = sizeof(SyncObject),
    .flags = WI_TYPE_FLAGS,
    .slots = waitable_slots,
};

int
wi_waitable_init(PyObject *module, wi_state *state)
{
    return wi_add_type(module, &waitable_spec, &state->waitable_type);
}
