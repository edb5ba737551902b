/* waitable.c: what Mutex, Event and Semaphore share, and _core.Waitable.
 *
 *     event = Event._create("Local\\ready", exist_ok, security, manual, set)
 *     event = Event._open("Local\\ready", access)  # or Mutex, Semaphore
 *     event.handle, event.name, event.created, event._access
 *     number = event._duplicate_to(pid)             # a handle in that process
 *     event = Event._from_handle(number, None)      # in that process
 *     event.close()
 *
 * Owner: each object owns one handle. Thread: any; but a mutex belongs to the
 * thread that took it. GIL: given up to wait; kept by calls that cannot block,
 * which take less time than giving it up.
 *
 * A wait pins the object, so no other thread can close the handle during the
 * wait. The number of a closed handle may become that of another object. */
#include "waitable.h"

#include "base/handles.h"

/* Windows' own text for this error does not give the reason. */
#define SYNC_WRONG_KIND "the name belongs to an object of another kind"

static const char *const sync_kind_names[] = {"mutex", "event", "semaphore"};
static const char *const sync_ask_names[] = {"NtQueryMutant", "NtQueryEvent",
                                             "NtQuerySemaphore"};

/* ------------------------------------------------------- about any handle */

/* The rights that a handle has; 0 if they are not known. */
static ACCESS_MASK
sync_granted_access(HANDLE handle)
{
    wi_object_basic_info info;
    memset(&info, 0, sizeof(info));
    return WI_NT_SUCCESS(NtQueryObject(handle, WI_OBJECT_BASIC, &info,
                                       sizeof(info), NULL))
               ? info.granted
               : 0;
}

wi_ntstatus
sync_ask(sync_kind kind, HANDLE handle, sync_info *info)
{
    switch (kind) {
    case SYNC_MUTEX:
        return NtQueryMutant(handle, 0, &info->mutex, sizeof(info->mutex),
                             NULL);
    case SYNC_EVENT:
        return NtQueryEvent(handle, 0, &info->event, sizeof(info->event),
                            NULL);
    default:
        return NtQuerySemaphore(handle, 0, &info->semaphore,
                                sizeof(info->semaphore), NULL);
    }
}

/* 1 for a manual-reset event, 0 for an auto-reset one. -1 if it is no event,
 * or the handle lacks the right to ask. */
static int
sync_event_is_manual(HANDLE handle)
{
    sync_info info;
    return WI_NT_SUCCESS(sync_ask(SYNC_EVENT, handle, &info))
               ? info.event.type == 0
               : -1;
}

static sync_undo
sync_ask_undo(HANDLE handle)
{
    sync_info info;
    DWORD code;
    sync_undo undo = SYNC_UNDO_FINAL;
    int manual = sync_event_is_manual(handle);
    if (manual == 1) {
        return SYNC_UNDO_NOTHING;
    }
    if (manual == 0) {
        undo = SYNC_UNDO_EVENT;
    }
    else if (WI_NT_SUCCESS(sync_ask(SYNC_SEMAPHORE, handle, &info))) {
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

sync_undo
sync_undo_of(SyncObject *object, HANDLE handle)
{
    if (object == NULL) {
        return sync_ask_undo(handle);
    }
    if (object->undo == 0) {
        object->undo = 1 + (int)sync_ask_undo(handle);
    }
    return (sync_undo)(object->undo - 1);
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

int
sync_query(SyncObject *self, sync_info *info)
{
    if (wi_check_open(self, self->handle) < 0) {
        return -1;
    }
    wi_ntstatus status = sync_ask(self->kind, self->handle, info);
    if (!WI_NT_SUCCESS(status)) {
        sync_raise(self, RtlNtStatusToDosError(status), NULL,
                   sync_ask_names[self->kind]);
        return -1;
    }
    return 0;
}

/* Check a name and make it wide; free *wname with PyMem_Free. NULL for None. */
static int
sync_name(PyObject *name, int needed, wchar_t **wname)
{
    if (needed && name == Py_None) {
        PyErr_SetString(PyExc_TypeError, "name must be str, not None");
        return -1;
    }
    if (wi_wide_name(name, wname) < 0) {
        return -1;
    }
    if (*wname != NULL && **wname == 0) {
        PyMem_Free(*wname);
        PyErr_SetString(PyExc_ValueError, "name must not be empty");
        return -1;
    }
    return 0;
}

/* --------------------------------------------------- release and finalise */

/* Close the handle: 0, or the error of CloseHandle. */
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
    if (self->handle != NULL && self->pins == 0) { /* __del__() is callable */
        wi_warn_unclosed(op);
        /* Closing alone does not release it: this thread would hold it until
         * the thread ends. */
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

/* The module state, and in *kind which of the three classes cls is. */
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

enum { SYNC_ASK = -1 };

/* A new object that owns handle; closes handle on failure. manual is for
 * events: 1, 0, or SYNC_ASK to ask the handle. */
static PyObject *
sync_adopt(PyObject *cls, HANDLE handle, PyObject *name, int created,
           int manual)
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
        self->manual =
            (signed char)(manual != SYNC_ASK ? manual
                                             : sync_event_is_manual(handle));
    }
    if (name != Py_None) {
        self->name = Py_NewRef(name);
    }
    return (PyObject *)self;
}

/* OSError of a call that did not open or create an object; NULL. */
static PyObject *
sync_raise_name(DWORD err, const char *api, PyObject *name)
{
    if (name == Py_None) {
        return wi_raise_format(err, api, "an unnamed object");
    }
    return err == ERROR_INVALID_HANDLE
               ? wi_raise_text(PyExc_OSError, err, SYNC_WRONG_KIND, api, name)
               : wi_raise(err, api, name);
}

PyDoc_STRVAR(
    sync_create_doc,
    "_create($type, name, exist_ok, security, first, second, /)\n--\n\n"
    "Win32: CreateMutexExW (first: owned), CreateEventExW (manual, initial),\n"
    "CreateSemaphoreExW (initial, maximum)");

static PyObject *
sync_create(PyObject *cls, PyObject *args)
{
    static const char *const apis[] = {"CreateMutexExW", "CreateEventExW",
                                       "CreateSemaphoreExW"};
    const DWORD access = SYNCHRONIZE | SYNC_MODIFY_STATE | SYNC_QUERY_STATE;
    sync_kind kind;
    PyObject *name, *spec;
    wchar_t *wname;
    wi_security security;
    int exist_ok, first, second;
    DWORD err;
    HANDLE handle;
    if (sync_kind_of(cls, &kind) == NULL ||
        !PyArg_ParseTuple(args, "OpOii:_create", &name, &exist_ok, &spec,
                          &first, &second) ||
        sync_name(name, 0, &wname) < 0) {
        return NULL;
    }
    if (wi_security_init(&security, spec) < 0) {
        PyMem_Free(wname);
        return NULL;
    }
    /* The GIL is kept, as these calls are short. */
    SECURITY_ATTRIBUTES *attributes = wi_security_attributes(&security);
    if (kind == SYNC_MUTEX) {
        WI_CALL_GIL(err, handle = CreateMutexExW(
                             attributes, wname,
                             first ? CREATE_MUTEX_INITIAL_OWNER : 0, access));
    }
    else if (kind == SYNC_EVENT) {
        WI_CALL_GIL(err, handle = CreateEventExW(
                             attributes, wname,
                             (first ? CREATE_EVENT_MANUAL_RESET : 0u) |
                                 (second ? CREATE_EVENT_INITIAL_SET : 0u),
                             access));
    }
    else {
        WI_CALL_GIL(err, handle = CreateSemaphoreExW(attributes, first, second,
                                                     wname, 0, access));
    }
    wi_security_clear(&security);
    PyMem_Free(wname);
    int found = handle != NULL && err == ERROR_ALREADY_EXISTS;
    if (handle == NULL || (found && !exist_ok)) {
        if (handle != NULL) {
            CloseHandle(handle);
        }
        return sync_raise_name(err, apis[kind], name);
    }
    PyObject *self =
        sync_adopt(cls, handle, name, !found, found ? SYNC_ASK : first != 0);
    if (self != NULL && kind == SYNC_MUTEX && first && !found) {
        sync_taken((SyncObject *)self, 0);
    }
    return self;
}

PyDoc_STRVAR(sync_open_doc, "_open($type, name, access, /)\n--\n\n"
                            "Win32: OpenMutexW, OpenEventW, OpenSemaphoreW");

static PyObject *
sync_open(PyObject *cls, PyObject *args)
{
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
        !PyArg_ParseTuple(args, "OO&:_open", &name, wi_u32_converter,
                          &access) ||
        sync_name(name, 1, &wname) < 0) {
        return NULL;
    }
    WI_CALL(err, handle = opens[kind](access, FALSE, wname));
    PyMem_Free(wname);
    return handle == NULL ? sync_raise_name(err, apis[kind], name)
                          : sync_adopt(cls, handle, name, 0, SYNC_ASK);
}

PyDoc_STRVAR(sync_from_handle_doc,
             "_from_handle($type, handle, name, /)\n--\n\n"
             "A new object that owns this handle of this process.\n\n"
             "Raises:\n"
             "    TypeError: The handle is of another kind.\n"
             "    OSError: It is no handle.\n\n"
             "Win32: NtQueryMutant, NtQueryEvent, NtQuerySemaphore");

static PyObject *
sync_from_handle(PyObject *cls, PyObject *args)
{
    sync_kind kind;
    HANDLE handle;
    PyObject *name;
    wchar_t *wname;
    if (sync_kind_of(cls, &kind) == NULL ||
        !PyArg_ParseTuple(args, "O&O:_from_handle", wi_handle_converter,
                          &handle, &name) ||
        sync_name(name, 0, &wname) < 0) {
        return NULL;
    }
    PyMem_Free(wname);
    sync_info info;
    wi_ntstatus status = sync_ask(kind, handle, &info);
    DWORD err = RtlNtStatusToDosError(status);
    if (status == WI_STATUS_OBJECT_TYPE_MISMATCH) {
        return PyErr_Format(PyExc_TypeError, "handle %zu is not that of a %s",
                            (size_t)(uintptr_t)handle, sync_kind_names[kind]);
    }
    /* ACCESS_DENIED still proves the type: the kernel checks the type before
     * the rights. */
    if (!WI_NT_SUCCESS(status) && err != ERROR_ACCESS_DENIED) {
        return wi_raise_format(err, sync_ask_names[kind], "handle %zu",
                               (size_t)(uintptr_t)handle);
    }
    return sync_adopt(cls, handle, name, 0, SYNC_ASK);
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
        *result = wi_wait(&self->handle, 1, WI_WAIT_ANY, timeout_ms,
                          WI_WAIT_SLICE_MS);
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

/* -------------------------------------------------- methods of all three */

PyDoc_STRVAR(sync_close_doc,
             "close($self, /)\n--\n\n"
             "Close the handle; twice is harmless.\n\n"
             "Any thread may call it.\n\n"
             "Raises:\n"
             "    BufferError: Another thread or task waits for the\n"
             "        object, or, for a mutex, a thread holds it through\n"
             "        this object.\n\n"
             "Win32: CloseHandle");

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

PyDoc_STRVAR(sync_duplicate_doc,
             "_duplicate_to($self, pid, /)\n--\n\n"
             "Duplicate the handle into the process pid; its number there.\n\n"
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
sync_get_access(PyObject *op, void *Py_UNUSED(closure))
{
    SyncObject *self = (SyncObject *)op;
    if (wi_check_open(self, self->handle) < 0) {
        return NULL;
    }
    return PyLong_FromUnsignedLong(sync_granted_access(self->handle));
}

static PyMethodDef sync_methods[] = {
    {"_create", sync_create, METH_CLASS | METH_VARARGS, sync_create_doc},
    {"_open", sync_open, METH_CLASS | METH_VARARGS, sync_open_doc},
    {"_from_handle", sync_from_handle, METH_CLASS | METH_VARARGS,
     sync_from_handle_doc},
    {"close", sync_close, METH_NOARGS, sync_close_doc},
    {"_duplicate_to", sync_duplicate, METH_O, sync_duplicate_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef sync_getset[] = {
    {"handle", wi_get_handle, NULL,
     "The handle's number in this process; the object still owns it.",
     (void *)offsetof(SyncObject, handle)},
    {"_access", sync_get_access, NULL, "The rights that the handle has.",
     NULL},
    {"closed", wi_get_closed, NULL, "Whether close() has been called.",
     (void *)offsetof(SyncObject, handle)},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef sync_members[] = {
    {"name", T_OBJECT, offsetof(SyncObject, name), Py_READONLY,
     "The name, or None."},
    {"created", T_BOOL, offsetof(SyncObject, created), Py_READONLY,
     "True if this object made the kernel object, False if it found one."},
    {"_pins", Py_T_PYSSIZET, offsetof(SyncObject, pins), Py_READONLY,
     "How many waits and tasks use the handle: close() refuses then."},
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
