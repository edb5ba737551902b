/* shared_lock.c: SharedLock, a lock of 32 bytes in shared memory.
 *
 *     lock = SharedLock(mapping, 64)    # zeroed bytes are a free lock
 *     with lock:
 *         ...                           # no other thread or process is here
 *     if lock.acquire(timeout=0.5):
 *         lock.release()
 *     lock.close()                      # and now the mapping can be closed
 *
 * Owner: the object owns a buffer of the memory that the lock lies in, and the
 * handle of the event that its waits made. Thread: any. GIL: kept to take a
 * free lock; a wait gives it up and pins the object.
 *
 * The layout and the protocol are in include/winipc.h, which C peers include
 * too. Memory of a file is touched in a guard only. */
#include "base/bytes.h"
#include "channel/ring.h"

/* C peers have only include/winipc.h, so the number stands there too. */
#if WINIPC_SLICE_MS != WI_WAIT_SLICE_MS
#error "locks and channels have other slices than wi_wait()"
#endif

typedef struct {
    PyObject_HEAD
    Py_buffer buffer; /* obj is NULL when closed */
    PyObject *region; /* the mapping of a file that has the lock, or NULL */
    winipc_lock lock;
    wi_security security; /* of the event */
    wi_state *state;      /* borrowed: the type keeps the module alive */
    Py_ssize_t offset;
    Py_ssize_t pins; /* waits in flight */
    uint64_t holder; /* the thread that took it through this object, or 0 */
    Py_ssize_t held; /* how often */
    char abandoned;  /* it was so when it was taken; 0 on release */
} LockObject;

/* ----------------------------------------------------------------- errors */

static PyObject *
lock_raise(LockObject *self, int result, DWORD err)
{
    PyObject *label = PyUnicode_FromFormat("lock at offset %zd", self->offset);
    if (label == NULL) {
        return NULL;
    }
    switch (result) {
    case WINIPC_ABANDONED:
        wi_raise_abandoned(self->state, "SharedLock", label, (PyObject *)self);
        break;
    case WINIPC_NOT_OWNER:
        wi_raise_text(PyExc_OSError, ERROR_NOT_OWNER,
                      "this thread does not hold the lock", "SharedLock",
                      label);
        break;
    case WINIPC_CORRUPT:
        wi_raise_text(PyExc_OSError, ERROR_INVALID_DATA,
                      "the memory there holds no lock", "SharedLock", label);
        break;
    default:
        wi_raise(err, "SharedLock", label);
        break;
    }
    Py_DECREF(label);
    return NULL;
}

/* ------------------------------------------------------------- operations */

typedef enum { LOCK_TRY, LOCK_WAIT, LOCK_RELEASE, LOCK_LOOK } lock_what;

/* One operation, in plain C values: it may run in a guard. */
typedef struct {
    winipc_lock *lock;
    int *slept;
    lock_what what;
    uint32_t ms;
    int result;
    uint64_t word; /* LOCK_LOOK */
} lock_work;

static void
lock_work_now(void *arg)
{
    lock_work *work = arg;
    switch (work->what) {
    case LOCK_TRY:
        work->result = winipc_lock_try(work->lock);
        break;
    case LOCK_WAIT:
        work->result = winipc_lock_wait(work->lock, work->slept, work->ms);
        break;
    case LOCK_RELEASE:
        work->result = winipc_lock_release(work->lock);
        break;
    default:
        work->word = WINIPC_LOAD(&work->lock->shared->word);
        break;
    }
}

/* Do the work, in a guard if the memory is of a file. The caller may have
 * given the GIL up. */
static DWORD
lock_do_waiting(wi_bytes *bytes, lock_work *work)
{
    if (bytes != NULL) {
        return wi_guarded(lock_work_now, work, bytes->base,
                          bytes->base + bytes->size);
    }
    lock_work_now(work);
    return ERROR_SUCCESS;
}

/* Do the work with the GIL held, since the word and `holder` change together.
 * If a file has the lock, a look at it comes first, without the GIL, so that
 * the page is there. OSError if the page did not come in. */
WI_INLINE int
lock_do(LockObject *self, lock_work *work)
{
    if (self->region == NULL) {
        lock_work_now(work);
        return 0;
    }
    lock_work look = {.lock = &self->lock, .what = LOCK_LOOK};
    self->pins++;
    int failed = wi_bytes_guarded(self->region, lock_work_now, &look);
    self->pins--;
    return failed < 0
               ? -1
               : wi_bytes_page_error(
                     self->region,
                     lock_do_waiting(&((wi_bytes_object *)self->region)->bytes,
                                     work));
}

/* Read the lock's word, without the flag that others wait. */
static int
lock_look(LockObject *self, uint64_t *word)
{
    lock_work work = {.lock = &self->lock, .what = LOCK_LOOK};
    if (lock_do(self, &work) < 0) {
        return -1;
    }
    *word = work.word & ~WINIPC_LOCK_WANTED;
    return 0;
}

/* Wait for a lock that another thread holds. */
static int
lock_wait(LockObject *self, uint64_t timeout_ms, int *result)
{
    int slept = 0;
    lock_work work = {.lock = &self->lock, .slept = &slept, .what = LOCK_WAIT};
    wi_bytes *bytes = self->region == NULL
                          ? NULL
                          : &((wi_bytes_object *)self->region)->bytes;
    ULONGLONG start = GetTickCount64();
    unsigned int woken = 0;
    int failed = 0;
    DWORD err, fault;
    self->pins++;
    do {
        ULONGLONG gone = GetTickCount64() - start;
        uint64_t left = gone >= timeout_ms ? 0 : timeout_ms - gone;
        work.ms = (uint32_t)Py_MIN(left, WINIPC_SLICE_MS);
        Py_BEGIN_ALLOW_THREADS
        fault = lock_do_waiting(bytes, &work);
        err = GetLastError();
        Py_END_ALLOW_THREADS
        if (fault != ERROR_SUCCESS) {
            failed = wi_bytes_page_error(self->region, fault);
        }
        /* A waiter that was woken tries again before it checks for signals, or
         * the wake-up would be lost. Every 16th time it checks nevertheless: a
         * hostile peer may set the event forever. */
        else if ((work.result == WINIPC_TIMEOUT && work.ms != 0) ||
                 (work.result == WINIPC_FULL && ++woken % 16 == 0)) {
            failed = PyErr_CheckSignals();
        }
    } while (failed == 0 && (work.result == WINIPC_FULL ||
                             (work.result == WINIPC_TIMEOUT && work.ms != 0)));
    self->pins--;
    *result = work.result;
    if (failed == 0 && work.result == WINIPC_FAILED) {
        lock_raise(self, WINIPC_FAILED, err);
        failed = -1;
    }
    return failed;
}

/* Take the lock: WINIPC_OK, _ABANDONED or _TIMEOUT in *result. */
WI_INLINE int
lock_take(LockObject *self, uint64_t timeout_ms, int *result)
{
    if (wi_check_open(self, self->buffer.obj) < 0) {
        return -1;
    }
    lock_work work = {.lock = &self->lock, .what = LOCK_TRY};
    if (self->region == NULL) {
        work.result = winipc_lock_try(&self->lock);
    }
    else if (lock_do(self, &work) < 0) {
        return -1;
    }
    if (work.result == WINIPC_FULL &&
        lock_wait(self, timeout_ms, &work.result) < 0) {
        return -1;
    }
    *result = work.result;
    if (work.result == WINIPC_OK || work.result == WINIPC_ABANDONED) {
        uint64_t me = winipc_lock_os_me();
        if (self->holder == me && work.result == WINIPC_OK) {
            self->held++;
        }
        else {
            self->holder = me;
            self->held = 1;
            self->abandoned = work.result == WINIPC_ABANDONED;
        }
        return 0;
    }
    if (work.result == WINIPC_TIMEOUT) {
        return 0;
    }
    lock_raise(self, work.result, GetLastError());
    return -1;
}

static PyObject *
lock_give(LockObject *self)
{
    if (wi_check_open(self, self->buffer.obj) < 0) {
        return NULL;
    }
    lock_work work = {.lock = &self->lock, .what = LOCK_RELEASE};
    if (self->region == NULL) {
        work.result = winipc_lock_release(&self->lock);
    }
    else if (lock_do(self, &work) < 0) {
        return NULL;
    }
    if (work.result != WINIPC_OK) {
        return lock_raise(self, work.result, GetLastError());
    }
    if (self->held > 0 && --self->held == 0) {
        self->holder = 0;
        self->abandoned = 0;
    }
    Py_RETURN_NONE;
}

/* 1 if a live thread holds the lock through this object, else 0; -1 with an
 * exception. */
static int
lock_is_held(LockObject *self)
{
    uint64_t word;
    if (self->holder == 0) {
        return 0;
    }
    if (lock_look(self, &word) < 0) {
        return -1;
    }
    if (word != self->holder) {
        return 0; /* released through another object, or taken over */
    }
    return word == winipc_lock_os_me() || !winipc_lock_os_dead(word);
}

/* --------------------------------------------------- release and finalise */

/* Giving a buffer back may run Python code, which must find it closed. */
static int
lock_clear(PyObject *op)
{
    LockObject *self = (LockObject *)op;
    Py_buffer buffer = self->buffer;
    memset(&self->buffer, 0, sizeof(self->buffer));
    self->holder = 0;
    self->held = 0;
    self->abandoned = 0;
    winipc_lock_detach(&self->lock);
    wi_security_clear(&self->security);
    PyBuffer_Release(&buffer); /* harmless when there is none */
    Py_CLEAR(self->region);
    return 0;
}

static void
lock_finalize(PyObject *op)
{
    LockObject *self = (LockObject *)op;
    if (self->pins > 0) {
        return; /* __del__() is callable */
    }
    WI_KEEP_ERROR
    if (self->buffer.obj != NULL) {
        int held = lock_is_held(self);
        if (held < 0) {
            PyErr_Clear(); /* the memory is gone */
        }
        if (held > 0) {
            wi_warn_unclosed(op);
        }
        /* Closing alone does not release it: this thread would hold it until
         * the thread ends. */
        if (held > 0 && self->holder == winipc_lock_os_me()) {
            for (Py_ssize_t i = self->held; i > 0; i--) {
                lock_work work = {.lock = &self->lock, .what = LOCK_RELEASE};
                if (lock_do(self, &work) < 0) {
                    PyErr_WriteUnraisable(op);
                    break;
                }
            }
        }
    }
    lock_clear(op);
    WI_END_KEEP_ERROR
}

static int
lock_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((LockObject *)op)->buffer.obj);
    Py_VISIT(((LockObject *)op)->region);
    return 0;
}

static PyObject *
lock_close(PyObject *op, PyObject *Py_UNUSED(unused))
{
    LockObject *self = (LockObject *)op;
    if (self->buffer.obj == NULL) {
        Py_RETURN_NONE;
    }
    int held = self->pins > 0 ? 0 : lock_is_held(self);
    if (held > 0) {
        PyErr_SetString(PyExc_BufferError,
                        "SharedLock is held: release it first");
    }
    if (held != 0) {
        return NULL;
    }
    /* Checked last: lock_is_held() may let another thread begin a wait. */
    if (self->pins > 0) {
        return PyErr_Format(PyExc_BufferError,
                            "SharedLock is in use by %zd wait(s): end them "
                            "first",
                            self->pins);
    }
    lock_clear(op);
    Py_RETURN_NONE;
}

/* ----------------------------------------------------------- construction */

static PyObject *
lock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"buffer", "offset", "security", NULL};
    PyObject *source, *offset_arg = NULL, *spec = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O$O:SharedLock", names,
                                     &source, &offset_arg, &spec)) {
        return NULL;
    }
    Py_ssize_t offset =
        offset_arg == NULL ? 0 : wi_bytes_offset(offset_arg, PY_SSIZE_T_MAX);
    wi_state *state = offset < 0 ? NULL : wi_state_of(type);
    LockObject *self = state == NULL ? NULL : wi_alloc(type);
    if (self == NULL) {
        return NULL;
    }
    self->state = state;
    self->offset = offset;
    if (wi_security_init(&self->security, spec) < 0 ||
        PyObject_GetBuffer(source, &self->buffer, PyBUF_WRITABLE) < 0) {
        goto failed;
    }
    Py_ssize_t size = self->buffer.len;
    if (offset > size ||
        (Py_ssize_t)sizeof(winipc_lock_word) > size - offset) {
        PyErr_Format(PyExc_ValueError,
                     "a lock of %zu bytes at offset %zd is not within %zd "
                     "bytes",
                     sizeof(winipc_lock_word), offset, size);
        goto failed;
    }
    self->region = Py_XNewRef(wi_bytes_guarded_source(source));
    char *at = (char *)self->buffer.buf + offset;
    if (winipc_lock_attach(&self->lock, at,
                           wi_security_attributes(&self->security)) !=
        WINIPC_OK) {
        PyErr_Format(PyExc_ValueError,
                     "a lock needs an address that is a multiple of 8, not %p",
                     at);
        goto failed;
    }
    return (PyObject *)self;
failed:
    Py_DECREF(self);
    return NULL;
}

/* ---------------------------------------------------------------- methods */

PyDoc_STRVAR(
    lock_acquire_doc,
    "acquire($self, timeout=None, abandoned='raise')\n--\n\n"
    "Take the lock for the calling thread: True, or False after `timeout`.\n\n"
    "`timeout` is in seconds, None for forever. Ctrl+C ends the wait. A\n"
    "thread that holds the lock may take it again, and has to release it as\n"
    "often. A wait gives up the GIL.\n\n"
    "With abandoned='accept', AbandonedError becomes the result True, and "
    "the\n"
    "attribute `abandoned` says so.\n\n"
    "Raises:\n"
    "    AbandonedError: The thread that held the lock ended without\n"
    "        releasing it. Then the caller holds the lock: check what it\n"
    "        protects, and release it.\n"
    "    OSError: The memory holds no lock (winerror 13,\n"
    "        ERROR_INVALID_DATA).\n\n"
    "Win32: none; to wait, CreateEventExW, OpenEventW,\n"
    "WaitForSingleObject");

static PyObject *
lock_acquire(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames)
{
    uint64_t timeout_ms = WI_FOREVER;
    int accept = 0, result;
    if ((nargs != 0 || kwnames != NULL) &&
        wi_acquire_args(args, nargs, kwnames, &timeout_ms, &accept) < 0) {
        return NULL;
    }
    if (lock_take((LockObject *)op, timeout_ms, &result) < 0) {
        return NULL;
    }
    if (result == WINIPC_ABANDONED && !accept) {
        return lock_raise((LockObject *)op, WINIPC_ABANDONED, 0);
    }
    return PyBool_FromLong(result != WINIPC_TIMEOUT);
}

PyDoc_STRVAR(
    lock_release_doc,
    "release($self, /)\n--\n\n"
    "Release the lock once; each acquire() needs one release().\n\n"
    "Call it on the object that took the lock: if the thread that holds\n"
    "the lock collects that object, the lock is released too.\n\n"
    "Raises:\n"
    "    OSError: The calling thread does not hold the lock (winerror 288,\n"
    "        ERROR_NOT_OWNER).\n\n"
    "Win32: none; SetEvent when others wait");

static PyObject *
lock_release(PyObject *op, PyObject *Py_UNUSED(unused))
{
    return lock_give((LockObject *)op);
}

PyDoc_STRVAR(lock_enter_doc,
             "__enter__($self, /)\n--\n\n"
             "acquire(), and return the lock. When that raises\n"
             "AbandonedError, the lock is released first.");

static PyObject *
lock_enter(PyObject *op, PyObject *Py_UNUSED(unused))
{
    int result;
    if (lock_take((LockObject *)op, WI_FOREVER, &result) < 0) {
        return NULL;
    }
    if (result != WINIPC_ABANDONED) {
        /* As for a Mutex. */
        if (PyErr_CheckSignals() == 0) {
            return Py_NewRef(op);
        }
        WI_KEEP_ERROR
        Py_XDECREF(lock_give((LockObject *)op));
        WI_END_KEEP_ERROR
        return NULL;
    }
    /* No __exit__ follows. */
    Py_XDECREF(lock_give((LockObject *)op));
    PyErr_Clear(); /* AbandonedError matters more */
    return lock_raise((LockObject *)op, WINIPC_ABANDONED, 0);
}

PyDoc_STRVAR(lock_exit_doc, "__exit__($self, /, *exc)\n--\n\nrelease().");

static PyObject *
lock_exit(PyObject *op, PyObject *const *Py_UNUSED(args),
          Py_ssize_t Py_UNUSED(nargs))
{
    return lock_give((LockObject *)op);
}

PyDoc_STRVAR(lock_close_doc,
             "close($self, /)\n--\n\n"
             "Give the memory back; twice is harmless.\n\n"
             "Any thread may call it.\n\n"
             "Raises:\n"
             "    BufferError: A thread waits, or one holds the lock\n"
             "        through this object.\n\n"
             "Win32: CloseHandle");

static PyMethodDef lock_methods[] = {
    {"acquire", WI_FAST(lock_acquire), lock_acquire_doc},
    {"release", lock_release, METH_NOARGS, lock_release_doc},
    {"close", lock_close, METH_NOARGS, lock_close_doc},
    {"__enter__", lock_enter, METH_NOARGS, lock_enter_doc},
    {"__exit__", WI_METHOD(lock_exit), METH_FASTCALL, lock_exit_doc},
    {NULL, NULL, 0, NULL},
};

static PyObject *
lock_get_held(PyObject *op, void *Py_UNUSED(closure))
{
    uint64_t word;
    LockObject *self = (LockObject *)op;
    if (self->buffer.obj == NULL) {
        Py_RETURN_FALSE;
    }
    return lock_look(self, &word) < 0
               ? NULL
               : PyBool_FromLong(word != 0 && word == winipc_lock_os_me());
}

static PyObject *
lock_get_depth(PyObject *op, void *Py_UNUSED(closure))
{
    LockObject *self = (LockObject *)op;
    return PyLong_FromSsize_t(self->holder == winipc_lock_os_me() ? self->held
                                                                  : 0);
}

static PyObject *
lock_get_owner(PyObject *op, void *Py_UNUSED(closure))
{
    uint64_t word;
    LockObject *self = (LockObject *)op;
    if (wi_check_open(self, self->buffer.obj) < 0 ||
        lock_look(self, &word) < 0) {
        return NULL;
    }
    if (word == 0) {
        Py_RETURN_NONE;
    }
    return PyLong_FromUnsignedLong(WINIPC_LOCK_THREAD(word));
}

static PyObject *
lock_get_buffer(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *source = ((LockObject *)op)->buffer.obj;
    return wi_check_open(op, source) < 0 ? NULL : Py_NewRef(source);
}

static PyGetSetDef lock_getset[] = {
    {"held", lock_get_held, NULL, "Whether the calling thread holds it.",
     NULL},
    {"_depth", lock_get_depth, NULL,
     "How often the calling thread took it through this object.", NULL},
    {"owner", lock_get_owner, NULL,
     "The id of the thread, of any process, that holds it; None when free.",
     NULL},
    {"closed", wi_get_closed, NULL, "Whether close() was called.",
     (void *)offsetof(LockObject, buffer.obj)},
    {"buffer", lock_get_buffer, NULL, "The object that it lies in.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef lock_members[] = {
    {"offset", Py_T_PYSSIZET, offsetof(LockObject, offset), Py_READONLY,
     "Where in the buffer it lies."},
    {"abandoned", T_BOOL, offsetof(LockObject, abandoned), Py_READONLY,
     "Whether the lock was abandoned when it was taken. False again after\n"
     "its release."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(lock_doc, "SharedLock(buffer, offset=0, *, security=None)\n--\n\n"
                       "A lock in shared memory.");

static PyType_Slot lock_slots[] = {
    {Py_tp_doc, (void *)lock_doc},
    {Py_tp_new, lock_new},
    {Py_tp_finalize, lock_finalize},
    {Py_tp_traverse, lock_traverse},
    {Py_tp_clear, lock_clear},
    {Py_tp_methods, lock_methods},
    {Py_tp_members, lock_members},
    {Py_tp_getset, lock_getset},
    {0, NULL},
};

static PyType_Spec lock_spec = {
    .name = "winipc._core.SharedLock",
    .basicsize = sizeof(LockObject),
    .flags = WI_TYPE_FLAGS,
    .slots = lock_slots,
};

int
wi_lock_word_init(PyObject *module, wi_state *Py_UNUSED(state))
{
    if (wi_add_type(module, &lock_spec, NULL) < 0) {
        return -1;
    }
    return PyModule_AddIntConstant(module, "LOCK_SIZE",
                                   (long)sizeof(winipc_lock_word));
}
