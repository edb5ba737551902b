/* process.c: RemoteProcess, the memory of another process.
 *
 *     with winipc.RemoteProcess.open("game.exe") as process:
 *         data = process.read(address, 16)
 *         some = process.read(address, 65536, partial=True)
 *         process.read_into(address, buffer)
 *         process.write(address, b"new")      # access=ProcessAccess.WRITE
 *         process.wait(timeout=5)             # until it exits
 *
 * Owner: the object owns the process handle. Thread: any; a call without the GIL
 * pins the object, and close() refuses until the call returns. GIL: kept for
 * small reads and writes, which take less time than giving it up and taking it
 * back. */
#include "base/bytes.h"
#include "base/handles.h"
#include "base/nt.h"
#include "base/number.h"
#include "cache.h"
#include "process.h"

/* ------------------------------------------------------ release, finalise */

static DWORD
process_release(wi_process *self)
{
    HANDLE handle = self->handle;
    wi_cache *cache = self->cache, *idle = self->idle;
    self->handle = NULL;
    self->cache = self->idle = NULL;
    wi_cache_free(cache);
    wi_cache_free(idle);
    if (handle == NULL) {
        return 0;
    }
    wi_wine_forget(); /* another process may get the handle's number */
    return CloseHandle(handle) ? 0 : GetLastError();
}

static void
process_finalize(PyObject *op)
{
    wi_process *self = (wi_process *)op;
    if (self->handle == NULL || self->pins > 0) { /* __del__() by hand */
        return;
    }
    WI_KEEP_ERROR
    wi_warn_unclosed(op);
    DWORD err = process_release(self);
    if (err != 0) {
        wi_raise_format(err, "CloseHandle", "pid %lu", self->pid);
        PyErr_WriteUnraisable(op);
    }
    WI_END_KEEP_ERROR
}

int
wi_process_address(wi_process *self, PyObject *value, uintptr_t *address)
{
    if (PyLong_CheckExact(value) || PyIndex_Check(value)) {
        return wi_address_converter(value, address);
    }
    PyObject *number =
        PyObject_CallMethod((PyObject *)self, "address", "(O)", value);
    int found = number != NULL && wi_address_converter(number, address);
    Py_XDECREF(number);
    return found;
}

/* ----------------------------------------------------------------- errors */

BOOL
wi_process_gone(wi_process *self, DWORD patience)
{
    BOOL gone;
    HANDLE target = wi_process_pin(self);
    Py_BEGIN_ALLOW_THREADS
    gone = wi_exits_within(target, patience);
    Py_END_ALLOW_THREADS
    wi_process_unpin(self);
    return gone;
}

static PyObject *
process_raise_gone(wi_process *self, const char *api)
{
    return wi_raise_format_as(PyExc_ProcessLookupError,
                              ERROR_INVALID_PARAMETER, api,
                              "pid %lu, which has exited", self->pid);
}

/* The lowest ProcessAccess that has these rights. */
static const char *
process_access_for(DWORD rights)
{
    if (rights & (PROCESS_VM_WRITE | PROCESS_VM_OPERATION)) {
        return "WRITE";
    }
    return rights & (PROCESS_VM_READ | PROCESS_QUERY_INFORMATION) ? "READ"
                                                                  : "QUERY";
}

static PyObject *
process_raise_rights(wi_process *self, const char *api, DWORD needed)
{
    DWORD missing = needed & ~self->access;
    return wi_raise_format(
        ERROR_ACCESS_DENIED, api,
        /* Python 3.11 has no %lx. */
        "pid %lu, whose access=0x%x lacks 0x%x: open it with "
        "access=ProcessAccess.%s",
        self->pid, (int)self->access, (int)missing,
        process_access_for(needed));
}

PyObject *
wi_process_raise(wi_process *self, DWORD err, const char *api, DWORD needed)
{
    BOOL denied = err == ERROR_ACCESS_DENIED;
    if (denied && (needed & ~self->access)) {
        return process_raise_rights(self, api, needed);
    }
    if (wi_process_gone(self, denied ? WI_DYING_MS : 0)) {
        return process_raise_gone(self, api);
    }
    return wi_raise_format(err, api, "pid %lu", self->pid);
}

/* Raise cls (PartialReadError or PartialWriteError) with one attribute; NULL.
 * Takes over the reference to value; value may be NULL with an exception. */
static PyObject *
process_raise_partial(wi_process *self, PyObject *cls, DWORD err,
                      const char *api, uintptr_t address, Py_ssize_t size,
                      const char *attribute, PyObject *value)
{
    if (value == NULL) {
        return NULL;
    }
    wi_raise_format_as(cls, err, api, "pid %lu, %zd bytes at %p", self->pid,
                       size, (void *)address);
    wi_error_attribute(attribute, value);
    Py_DECREF(value);
    return NULL;
}

/* ------------------------------------------------------------ constructor */

static PyObject *
process_open(PyObject *cls, PyObject *args)
{
    DWORD pid, access;
    if (!PyArg_ParseTuple(args, "O&O&:_open", wi_u32_converter, &pid,
                          wi_u32_converter, &access)) {
        return NULL;
    }
    wi_process *self = wi_alloc((PyTypeObject *)cls);
    if (self == NULL) {
        return NULL;
    }
    self->pid = pid;
    self->access = access;
    self->handle = wi_open_process(access, pid);
    /* Windows ignores the low two bits of a pid: 4001 opens 4000. */
    BOOL rounded = self->handle != NULL && pid % 4 != 0;
    DWORD real = rounded ? GetProcessId(self->handle) : 0;
    if (real != 0 && real != pid) {
        process_release(self);
        wi_raise_format_as(PyExc_ProcessLookupError, ERROR_INVALID_PARAMETER,
                           "OpenProcess", "pid %lu", pid);
    }
    if (self->handle == NULL) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

static PyObject *
process_duplicate(PyObject *op, PyObject *Py_UNUSED(unused))
{
    wi_process *self = (wi_process *)op;
    wi_process *copy = wi_alloc(Py_TYPE(op));
    if (copy == NULL || wi_check_open(self, self->handle) < 0) {
        Py_XDECREF((PyObject *)copy);
        return NULL;
    }
    copy->pid = self->pid;
    copy->access = self->access;
    copy->pointer_size = self->pointer_size;
    if (!DuplicateHandle(GetCurrentProcess(), self->handle,
                         GetCurrentProcess(), &copy->handle, 0, FALSE,
                         DUPLICATE_SAME_ACCESS)) {
        copy->handle = NULL;
        wi_process_raise(self, GetLastError(), "DuplicateHandle", 0);
        Py_DECREF(copy);
        return NULL;
    }
    return (PyObject *)copy;
}

PyDoc_STRVAR(process_close_doc,
             "close($self, /)\n--\n\n"
             "Close the handle; more calls do nothing.\n\n"
             "Raises:\n"
             "    BufferError: A call of another thread runs.\n\n"
             "Win32: CloseHandle");

static PyObject *
process_close(PyObject *op, PyObject *Py_UNUSED(unused))
{
    wi_process *self = (wi_process *)op;
    if (self->pins > 0) {
        PyErr_Format(PyExc_BufferError,
                     "cannot close %R: %zd call(s) of other threads use it",
                     op, self->pins);
        return NULL;
    }
    DWORD err = process_release(self);
    if (err) {
        return wi_raise_format(err, "CloseHandle", "pid %lu", self->pid);
    }
    Py_RETURN_NONE;
}

/* ---------------------------------------------------------------- reading */

/* Read what can be read, after a read of the whole has failed or for
 * `partial`. A PartialRead, or PartialReadError without `partial`; or data, if
 * all could be read after all. data is the object whose memory buffer is. file
 * is wi_bytes_guarded_source(data). Both are borrowed. */
static PyObject *
process_read_part(wi_process *self, uintptr_t address, PyObject *data,
                  PyObject *file, char *buffer, Py_ssize_t size, int partial)
{
    char *into = buffer;
    size_t pages = wi_page_count(address, (size_t)size), got;
    DWORD err;
    PyObject *result = NULL;
    wi_state *state = wi_state_of(Py_TYPE((PyObject *)self));
    PyObject *mask = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)pages);
    if (file != NULL && (into = PyMem_Malloc((size_t)size + 1)) == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    if (state == NULL || mask == NULL ||
        wi_check_open(self, self->handle) < 0) {
        goto done;
    }
    unsigned char *marks = (unsigned char *)PyBytes_AsString(mask);
    HANDLE target = wi_process_pin(self);
    Py_BEGIN_ALLOW_THREADS
    got =
        wi_remote_read_mask(target, address, into, (size_t)size, marks, &err);
    Py_END_ALLOW_THREADS
    BOOL missing = got == 0 && size > 0;
    BOOL denied = missing && err == ERROR_ACCESS_DENIED;
    BOOL gone = missing && wi_process_gone(self, denied ? WI_DYING_MS : 0);
    wi_process_unpin(self);
    if (gone) {
        process_raise_gone(self, "ReadProcessMemory");
        goto done;
    }
    if (missing && !(self->access & PROCESS_VM_READ)) {
        process_raise_rights(self, "ReadProcessMemory", PROCESS_VM_READ);
        goto done;
    }
    if (file != NULL && wi_bytes_copy(file, buffer, into, size) < 0) {
        goto done;
    }
    if (got == (size_t)size && !partial) {
        result = Py_NewRef(data); /* it could be read after all */
        goto done;
    }
    result = PyObject_CallMethod((PyObject *)self, "_make_partial", "KOO",
                                 (unsigned long long)address, data, mask);
    if (!partial) {
        result = process_raise_partial(
            self, state->PartialReadError,
            got ? ERROR_PARTIAL_COPY : ERROR_NOACCESS, "ReadProcessMemory",
            address, size, "partial", result);
    }
done:
    if (into != buffer) {
        PyMem_Free(into);
    }
    Py_XDECREF(mask);
    return result;
}

DWORD
wi_process_read_raw(wi_process *self, uintptr_t address, void *buffer,
                    size_t size)
{
    DWORD err;
    HANDLE target = wi_process_pin(self);
    if (self->cache != NULL && size <= WI_CACHE_BLOCK) {
        err = wi_cache_fetch(self->cache, target, address, buffer, size);
    }
    else if (size <= WI_KEEP_GIL_UP_TO &&
             !wi_remote_asks(target, address, size, FALSE)) {
        err = wi_remote_read_unasked(target, address, buffer, size);
    }
    else {
        Py_BEGIN_ALLOW_THREADS
        err = wi_remote_read(target, address, buffer, size);
        Py_END_ALLOW_THREADS
    }
    wi_process_unpin(self);
    return err;
}

void
wi_process_changed(wi_process *self, uintptr_t address, size_t size)
{
    if (self->cache != NULL) {
        wi_cache_forget(self->cache, address, size);
    }
}

PyDoc_STRVAR(
    process_read_doc,
    "read($self, /, address, size, partial=False)\n--\n\n"
    "Return `size` bytes from `address` of the target.\n\n"
    "::\n\n"
    "    print(process.read(address, 4))  # b'\\x03\\x00\\x00\\x00'\n"
    "    print(process.read(0x10, 4, partial=True).complete)  # False\n\n"
    "With `partial`, return a `PartialRead` instead: the data, with zeros\n"
    "for each page that could not be read, and which pages those are.\n"
    "Reads of up to 4 KiB keep the GIL. Any thread may call it.\n\n"
    "Raises:\n"
    "    PartialReadError: Some of it cannot be read (winerror 299,\n"
    "        ERROR_PARTIAL_COPY), or nothing (998, ERROR_NOACCESS).\n"
    "        `partial` is such a PartialRead.\n"
    "    ProcessLookupError: The target has exited.\n"
    "    PermissionError: The object was opened without the right to read.\n\n"
    "Win32: ReadProcessMemory, VirtualQueryEx");

static PyObject *
process_read(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames)
{
    static const char *const names[] = {"address", "size", "partial", NULL};
    wi_process *self = (wi_process *)op;
    PyObject *given[3] = {NULL, NULL, NULL};
    uintptr_t address;
    Py_ssize_t size;
    int partial = 0;
    if (nargs == 2 && kwnames == NULL) {
        given[0] = args[0];
        given[1] = args[1];
    }
    else if (wi_fast_args("read", names, 2, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    if (!wi_process_address(self, given[0], &address) ||
        !wi_size_converter(given[1], &size)) {
        return NULL;
    }
    if (given[2] != NULL && (partial = PyObject_IsTrue(given[2])) < 0) {
        return NULL;
    }
    PyObject *data = PyBytes_FromStringAndSize(NULL, size);
    if (data == NULL || wi_check_open(self, self->handle) < 0) {
        Py_XDECREF(data);
        return NULL;
    }
    char *buffer = PyBytes_AsString(data);
    if (!partial &&
        wi_process_read_raw(self, address, buffer, (size_t)size) == 0) {
        return data;
    }
    PyObject *result =
        process_read_part(self, address, data, NULL, buffer, size, partial);
    Py_DECREF(data);
    return result;
}

PyDoc_STRVAR(
    process_read_into_doc,
    "read_into($self, /, address, buffer, partial=False)\n--\n\n"
    "Fill a writable buffer from `address`; return its size in bytes.\n\n"
    "The fastest way for 1 MiB and more, as it makes no new memory. With\n"
    "`partial`, return a `PartialRead` whose data is `buffer`.\n\n"
    "The errors are those of `read`.\n\n"
    "Win32: ReadProcessMemory, VirtualQueryEx");

static PyObject *
process_read_into(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames)
{
    static const char *const names[] = {"address", "buffer", "partial", NULL};
    wi_process *self = (wi_process *)op;
    PyObject *given[3];
    PyObject *result = NULL;
    Py_buffer view;
    uintptr_t address;
    int partial = 0;
    if (wi_fast_args("read_into", names, 2, args, nargs, kwnames, given) < 0 ||
        !wi_process_address(self, given[0], &address) ||
        (given[2] != NULL && (partial = PyObject_IsTrue(given[2])) < 0) ||
        PyObject_GetBuffer(given[1], &view, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    if (wi_check_open(self, self->handle) < 0) {
        goto done;
    }
    /* If buffer is memory of a file, a page of it may fail. The kernel reports
     * that when it fills the buffer itself. A copy from the cache, and a read
     * that would keep the GIL until the page is there, go through the guard. */
    PyObject *file = self->cache == NULL && view.len > WI_KEEP_GIL_UP_TO
                         ? NULL
                         : wi_bytes_guarded_source(given[1]);
    if (!partial && file == NULL &&
        wi_process_read_raw(self, address, view.buf, (size_t)view.len) == 0) {
        result = PyLong_FromSsize_t(view.len);
        goto done;
    }
    file = wi_bytes_guarded_source(given[1]);
    result = process_read_part(self, address, given[1], file, view.buf,
                               view.len, partial);
    if (result == given[1]) {
        Py_DECREF(result);
        result = PyLong_FromSsize_t(view.len);
    }
done:
    PyBuffer_Release(&view);
    return result;
}

/* ---------------------------------------------------------------- writing */

PyDoc_STRVAR(
    process_write_doc,
    "write($self, /, address, data, verify=False)\n--\n\n"
    "Write the bytes-like `data` to `address`; return its size in bytes.\n\n"
    "Data that crosses a page is written only if every page can be\n"
    "written. With `verify`, the data is read back and compared. Writes of\n"
    "up to 4 KiB in one page keep the GIL. Any thread may call it.\n\n"
    "Raises:\n"
    "    PartialWriteError: `written` says how many bytes were written,\n"
    "        usually 0. With winerror 29, ERROR_WRITE_FAULT, `verify`\n"
    "        found other bytes.\n"
    "    ProcessLookupError: The target has exited.\n"
    "    PermissionError: The object was opened without the right to\n"
    "        write.\n\n"
    "Win32: WriteProcessMemory, VirtualQueryEx");

static PyObject *
process_write_failed(wi_process *self, DWORD err, const char *api,
                     uintptr_t address, Py_ssize_t size, size_t written)
{
    DWORD needed = PROCESS_VM_WRITE | PROCESS_VM_OPERATION;
    wi_state *state = wi_state_of(Py_TYPE((PyObject *)self));
    if (state == NULL) {
        return NULL;
    }
    if (err == ERROR_ACCESS_DENIED && (needed & ~self->access)) {
        return process_raise_rights(self, api, needed);
    }
    BOOL gone =
        written == 0 &&
        wi_process_gone(self, err == ERROR_ACCESS_DENIED ? WI_DYING_MS : 0);
    if (gone) {
        return process_raise_gone(self, api);
    }
    return process_raise_partial(self, state->PartialWriteError, err, api,
                                 address, size, "written",
                                 PyLong_FromSize_t(written));
}

static PyObject *
process_verify(wi_process *self, uintptr_t address, PyObject *object)
{
    wi_source data;
    PyObject *result = NULL;
    char *back = NULL;
    if (wi_source_take(&data, object, WI_COPY_OF_FILE) < 0) {
        return NULL;
    }
    const size_t size = (size_t)data.size;
    if (wi_check_open(self, self->handle) < 0) {
        goto done;
    }
    back = PyMem_Malloc(size + 1);
    if (back == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    DWORD err = wi_process_read_raw(self, address, back, size);
    if (err) {
        process_write_failed(self, err, "ReadProcessMemory", address,
                             data.size, size);
        goto done;
    }
    size_t same = 0;
    Py_BEGIN_ALLOW_THREADS /* it may be much */
    while (same < size && back[same] == data.bytes[same]) {
        same++;
    }
    Py_END_ALLOW_THREADS
    if (same < size) {
        process_write_failed(self, ERROR_WRITE_FAULT, "WriteProcessMemory",
                             address, data.size, same);
        goto done;
    }
    result = PyLong_FromSize_t(size);
done:
    PyMem_Free(back);
    wi_source_release(&data);
    return result;
}

/* 0, or a Win32 error and in *written how much was written. object is whose
 * memory data is: pages of a file may take long to come in, so then the GIL is
 * given up. */
static DWORD
process_write_raw(wi_process *self, uintptr_t address, const void *data,
                  size_t size, PyObject *object, size_t *written)
{
    DWORD err;
    HANDLE target = wi_process_pin(self);
    if (size <= WI_KEEP_GIL_UP_TO && wi_bytes_guarded_source(object) == NULL &&
        !wi_remote_asks(target, address, size, TRUE)) {
        err = wi_remote_write_unasked(target, address, data, size, written);
    }
    else {
        Py_BEGIN_ALLOW_THREADS
        err = wi_remote_write(target, address, data, size, written);
        Py_END_ALLOW_THREADS
    }
    wi_process_unpin(self);
    wi_process_changed(self, address, size);
    return err;
}

static PyObject *
process_write(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    static const char *const names[] = {"address", "data", "verify", NULL};
    wi_process *self = (wi_process *)op;
    PyObject *given[3];
    PyObject *result = NULL;
    Py_buffer data;
    uintptr_t address;
    size_t written;
    DWORD err;
    int verify = 0;
    if (wi_fast_args("write", names, 2, args, nargs, kwnames, given) < 0 ||
        !wi_process_address(self, given[0], &address) ||
        (given[2] != NULL && (verify = PyObject_IsTrue(given[2])) < 0) ||
        wi_bytes_take(given[1], &data, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if (wi_check_open(self, self->handle) < 0) {
        goto done;
    }
    err = process_write_raw(self, address, data.buf, (size_t)data.len,
                            given[1], &written);
    if (err) {
        result = process_write_failed(self, err, "WriteProcessMemory", address,
                                      data.len, written);
        goto done;
    }
    result = verify ? process_verify(self, address, given[1])
                    : PyLong_FromSsize_t(data.len);
done:
    PyBuffer_Release(&data);
    return result;
}

/* ---------------------------------------------------------------- numbers */

static PyObject *
process_get_number(PyObject *op, const wi_number *kind, PyObject *where)
{
    wi_process *self = (wi_process *)op;
    uintptr_t address;
    uint64_t bits = 0;
    if (!wi_process_address(self, where, &address) ||
        wi_check_open(self, self->handle) < 0) {
        return NULL;
    }
    if (wi_process_read_raw(self, address, &bits, kind->size) != 0) {
        /* This raises the exception, or can read it by now. */
        PyObject *data = PyBytes_FromStringAndSize(NULL, kind->size);
        if (data == NULL) {
            return NULL;
        }
        char *buffer = PyBytes_AsString(data);
        PyObject *read = process_read_part(self, address, data, NULL, buffer,
                                           kind->size, 0);
        if (read != NULL) {
            memcpy(&bits, buffer, kind->size);
        }
        Py_DECREF(data);
        if (read == NULL) {
            return NULL;
        }
        Py_DECREF(read);
    }
    return wi_number_to_python(kind, bits);
}

static PyObject *
process_set_number(PyObject *op, const wi_number *kind, PyObject *where,
                   PyObject *value)
{
    wi_process *self = (wi_process *)op;
    uintptr_t address;
    uint64_t bits;
    size_t written;
    if (wi_number_from(kind, value, 0, &bits) < 0 ||
        !wi_process_address(self, where, &address) ||
        wi_check_open(self, self->handle) < 0) {
        return NULL;
    }
    DWORD err =
        process_write_raw(self, address, &bits, kind->size, Py_None, &written);
    if (err) {
        return process_write_failed(self, err, "WriteProcessMemory", address,
                                    kind->size, written);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    process_get_doc,
    "get($self, address, type, /)\n--\n\n"
    "Read the number of this type at `address`, which is little-endian.\n\n"
    "::\n\n"
    "    lives = process.get(address, \"i32\")\n"
    "    process.set(address, \"i32\", lives + 1)\n"
    "    print(process.get(address, \"i32\"))  # 4\n\n"
    "Types are i8 i16 i32 i64 u8 u16 u32 u64 f32 f64, or their codes of the\n"
    "struct module. Windows promises no atomic copy: a number that the\n"
    "target writes meanwhile may be half old and half new. Any thread may\n"
    "call it.\n\n"
    "Raises:\n"
    "    ValueError: The type is unknown.\n\n"
    "The other errors are those of `read`.\n\n"
    "Win32: ReadProcessMemory, VirtualQueryEx");

static PyObject *
process_get(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "get() takes an address and a type");
        return NULL;
    }
    const wi_number *kind = wi_number_named(args[1], "get(address, type)");
    return kind == NULL ? NULL : process_get_number(self, kind, args[0]);
}

PyDoc_STRVAR(
    process_set_doc,
    "set($self, address, type, value, /)\n--\n\n"
    "Write a number as get() reads it.\n\n"
    "The target may see half of it, as with get(). Any thread may call it.\n\n"
    "Raises:\n"
    "    OverflowError: `value` does not fit in the type.\n\n"
    "The other errors are those of `write`.\n\n"
    "Win32: WriteProcessMemory, VirtualQueryEx");

static PyObject *
process_set(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 3) {
        PyErr_SetString(PyExc_TypeError,
                        "set() takes an address, a type and a value");
        return NULL;
    }
    const wi_number *kind =
        wi_number_named(args[1], "set(address, type, value)");
    return kind == NULL ? NULL
                        : process_set_number(self, kind, args[0], args[2]);
}

/* ------------------------------------------------------------- its life */

static PyObject *
process_suspend(PyObject *op, PyObject *on)
{
    wi_process *self = (wi_process *)op;
    int suspend = PyObject_IsTrue(on);
    if (suspend < 0 || wi_check_open(self, self->handle) < 0) {
        return NULL;
    }
    wi_ntstatus status;
    HANDLE target = wi_process_pin(self);
    Py_BEGIN_ALLOW_THREADS
    status = suspend ? NtSuspendProcess(target) : NtResumeProcess(target);
    Py_END_ALLOW_THREADS
    wi_process_unpin(self);
    if (!WI_NT_SUCCESS(status)) {
        return wi_process_raise(self, RtlNtStatusToDosError(status),
                                suspend ? "NtSuspendProcess"
                                        : "NtResumeProcess",
                                PROCESS_SUSPEND_RESUME);
    }
    if (suspend && wi_has_exited(self->handle)) { /* Wine reports no error */
        return process_raise_gone(self, "NtSuspendProcess");
    }
    self->suspends += suspend ? 1 : -1;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    process_wait_doc,
    "wait($self, /, timeout=None)\n--\n\n"
    "Wait until the target has exited; return its exit code.\n\n"
    "`timeout` is in seconds, None for forever. Ctrl+C ends the wait. Any\n"
    "thread; waits without the GIL.\n\n"
    "Raises:\n"
    "    TimeoutError: The target did not exit in time (winerror 1460,\n"
    "        ERROR_TIMEOUT).\n"
    "    PermissionError: The object was opened without SYNCHRONIZE.\n\n"
    "Win32: WaitForMultipleObjects, GetExitCodeProcess");

static PyObject *
process_exit_code(wi_process *self)
{
    DWORD code;
    if (!GetExitCodeProcess(self->handle, &code)) {
        return wi_process_raise(self, GetLastError(), "GetExitCodeProcess",
                                PROCESS_QUERY_LIMITED_INFORMATION);
    }
    return PyLong_FromUnsignedLong(code);
}

static PyObject *
process_wait(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"timeout", NULL};
    wi_process *self = (wi_process *)op;
    uint64_t timeout = WI_FOREVER;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O&:wait", names,
                                     wi_timeout_converter, &timeout) ||
        wi_check_open(self, self->handle) < 0) {
        return NULL;
    }
    if (!(self->access & SYNCHRONIZE)) {
        return process_raise_rights(self, "WaitForMultipleObjects",
                                    SYNCHRONIZE);
    }
    PyObject *result = NULL;
    self->pins++;
    DWORD wait =
        wi_wait(&self->handle, 1, WI_WAIT_ANY, timeout, WI_WAIT_SLICE_MS);
    if (wait == WAIT_OBJECT_0) {
        result = process_exit_code(self);
    }
    else if (wait != WAIT_FAILED) {
        wi_raise_format_as(PyExc_TimeoutError, ERROR_TIMEOUT,
                           "WaitForMultipleObjects",
                           "pid %lu, which still runs", self->pid);
    }
    self->pins--;
    return result;
}

PyDoc_STRVAR(
    process_wait_input_idle_doc,
    "wait_input_idle($self, /, timeout=None)\n--\n\n"
    "Wait until the target has made its first windows and waits for input.\n\n"
    "`timeout` is in seconds, None for forever. Ctrl+C ends the wait. A\n"
    "target that was idle once counts as idle from then on. Any thread;\n"
    "waits without the GIL.\n\n"
    "Raises:\n"
    "    TimeoutError: It was not idle in time (winerror 1460,\n"
    "        ERROR_TIMEOUT).\n"
    "    OSError: It is a console program (winerror 1471,\n"
    "        ERROR_NOT_GUI_PROCESS).\n"
    "    ProcessLookupError: It has exited.\n"
    "    PermissionError: The object was opened without QUERY_INFORMATION.\n\n"
    "Win32: WaitForInputIdle");

static PyObject *
process_wait_input_idle(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"timeout", NULL};
    wi_process *self = (wi_process *)op;
    uint64_t timeout = WI_FOREVER;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O&:wait_input_idle",
                                     names, wi_timeout_converter, &timeout) ||
        wi_check_open(self, self->handle) < 0) {
        return NULL;
    }
    if (!(self->access & PROCESS_QUERY_INFORMATION)) {
        return process_raise_rights(self, "WaitForInputIdle",
                                    PROCESS_QUERY_INFORMATION);
    }
    HANDLE target = wi_process_pin(self);
    PyObject *result = NULL;
    ULONGLONG start = GetTickCount64(), gone = 0;
    DWORD err, waited;
    do {
        uint64_t left = timeout - gone;
        WI_CALL(err, waited = WaitForInputIdle(
                         target, (DWORD)Py_MIN(left, WI_WAIT_SLICE_MS)));
        if (timeout != WI_FOREVER) {
            gone = GetTickCount64() - start;
        }
    } while (waited == WAIT_TIMEOUT && gone < timeout &&
             PyErr_CheckSignals() == 0);
    if (PyErr_Occurred()) {
        /* Ctrl+C */
    }
    else if (wi_has_exited(target)) {
        process_raise_gone(self, "WaitForInputIdle");
    }
    else if (waited == WAIT_TIMEOUT) {
        wi_raise_format_as(PyExc_TimeoutError, ERROR_TIMEOUT,
                           "WaitForInputIdle", "pid %lu", self->pid);
    }
    else if (waited != 0) {
        wi_raise_format(err ? err : ERROR_NOT_GUI_PROCESS, "WaitForInputIdle",
                        "pid %lu", self->pid);
    }
    else {
        result = Py_NewRef(Py_None);
    }
    wi_process_unpin(self);
    return result;
}

static PyObject *
process_get_exit_code(PyObject *op, void *Py_UNUSED(closure))
{
    wi_process *self = (wi_process *)op;
    if (wi_check_open(self, self->handle) < 0) {
        return NULL;
    }
    if (!wi_has_exited(self->handle)) {
        Py_RETURN_NONE;
    }
    return process_exit_code(self);
}

static PyObject *
process_get_alive(PyObject *op, void *Py_UNUSED(closure))
{
    wi_process *self = (wi_process *)op;
    if (wi_check_open(self, self->handle) < 0) {
        return NULL;
    }
    return PyBool_FromLong(!wi_has_exited(self->handle));
}

static PyObject *
process_get_pointer_size(PyObject *op, void *Py_UNUSED(closure))
{
    wi_process *self = (wi_process *)op;
    if (wi_check_open(self, self->handle) < 0) {
        return NULL;
    }
    if (self->pointer_size == 0) {
        SYSTEM_INFO system;
        BOOL wow64 = FALSE;
        GetNativeSystemInfo(&system);
        if (!IsWow64Process(self->handle, &wow64)) {
            return wi_process_raise(self, GetLastError(), "IsWow64Process",
                                    PROCESS_QUERY_LIMITED_INFORMATION);
        }
        BOOL narrow = wow64 || system.wProcessorArchitecture ==
                                   PROCESSOR_ARCHITECTURE_INTEL;
        self->pointer_size = narrow ? 4 : 8;
    }
    return PyLong_FromLong(self->pointer_size);
}

static PyObject *
process_get_path(PyObject *op, void *Py_UNUSED(closure))
{
    wi_process *self = (wi_process *)op;
    if (wi_check_open(self, self->handle) < 0) {
        return NULL;
    }
    DWORD length, err;
    wchar_t *path;
    HANDLE handle = wi_process_pin(self);
    WI_CALL(err, path = wi_image_path(handle, &length));
    wi_process_unpin(self);
    if (path == NULL) {
        return wi_process_raise(self, err, "QueryFullProcessImageNameW",
                                PROCESS_QUERY_LIMITED_INFORMATION);
    }
    PyObject *result = PyUnicode_FromWideChar(path, (Py_ssize_t)length);
    wi_heap_free(path);
    return result;
}

/* ----------------------------------------------------------------- tables */

static PyMethodDef process_methods[] = {
    {"_open", process_open, METH_VARARGS | METH_CLASS,
     PyDoc_STR("_open($type, pid, access, /)\n--\n\nWin32: OpenProcess")},
    {"_duplicate", process_duplicate, METH_NOARGS,
     PyDoc_STR("_duplicate($self, /)\n--\n\nWin32: DuplicateHandle")},
    {"read", WI_FAST(process_read), process_read_doc},
    {"read_into", WI_FAST(process_read_into), process_read_into_doc},
    {"read_many", wi_process_read_many, METH_O,
     PyDoc_STR(
         "read_many($self, requests, /)\n--\n\n"
         "Read many `(address, size)` pairs in few calls.\n\n"
         "Returns a list with the bytes of each pair, in the given order,\n"
         "or None for a pair that cannot be read as a whole. Neighbours\n"
         "are read by one call. Any thread may call it.\n\n"
         "Raises:\n"
         "    ProcessLookupError: Nothing was read, since the target has\n"
         "        exited.\n"
         "    PermissionError: The object was opened without the right to\n"
         "        read.\n\n"
         "Win32: ReadProcessMemory, VirtualQueryEx")},
    {"_walk", wi_process_walk, METH_VARARGS,
     PyDoc_STR("_walk($self, node, offset, head, count, width, /)\n--\n\n"
               "Follow a linked list from node: (addresses of at most count\n"
               "nodes as bytes, the next node or 0, winerror or 0).")},
    {"_enter_cached", wi_process_enter_cached, METH_NOARGS,
     PyDoc_STR("_enter_cached($self, /)\n--\n\n"
               "From now on, small reads come from copies.")},
    {"_exit_cached", wi_process_exit_cached, METH_NOARGS,
     PyDoc_STR("_exit_cached($self, /)\n--\n\n"
               "Undo one _enter_cached.")},
    {"write", WI_FAST(process_write), process_write_doc},
    {"_change", wi_process_change, METH_VARARGS,
     PyDoc_STR(
         "_change($self, what, address, size, type, protection, /)\n--\n\n"
         "Win32: VirtualAllocEx, VirtualProtectEx, VirtualFreeEx")},
    {"_regions", wi_process_regions, METH_VARARGS,
     PyDoc_STR("_regions($self, start, stop, /)\n--\n\n"
               "At most 256 regions from start on.\n\n"
               "Win32: VirtualQueryEx")},
    {"_mapped_name", wi_process_mapped_name, METH_O,
     PyDoc_STR("_mapped_name($self, address, /)\n--\n\n"
               "The device path of the file that is mapped there, or None.\n\n"
               "Win32: NtQueryVirtualMemory")},
    {"_modules", wi_process_modules, METH_NOARGS,
     PyDoc_STR("_modules($self, /)\n--\n\n"
               "(path, base, size, entry point) of each module.\n\n"
               "Win32: EnumProcessModulesEx, GetModuleFileNameExW")},
    {"_threads", wi_process_threads, METH_NOARGS,
     PyDoc_STR("_threads($self, /)\n--\n\n"
               "(id, base priority) of each thread.\n\n"
               "Win32: CreateToolhelp32Snapshot, Thread32First")},
    {"get", WI_METHOD(process_get), METH_FASTCALL, process_get_doc},
    {"set", WI_METHOD(process_set), METH_FASTCALL, process_set_doc},
    {"_suspend", process_suspend, METH_O,
     PyDoc_STR("_suspend($self, on, /)\n--\n\n"
               "Win32: NtSuspendProcess, NtResumeProcess")},
    {"wait", WI_WORDS(process_wait), process_wait_doc},
    {"wait_input_idle", WI_WORDS(process_wait_input_idle),
     process_wait_input_idle_doc},
    {"close", process_close, METH_NOARGS, process_close_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef process_getset[] = {
    {"handle", wi_get_handle, NULL,
     PyDoc_STR("The process handle as an int; ValueError when closed."),
     (void *)offsetof(wi_process, handle)},
    {"closed", wi_get_closed, NULL,
     PyDoc_STR("Whether the handle has been closed."),
     (void *)offsetof(wi_process, handle)},
    {"alive", process_get_alive, NULL,
     PyDoc_STR("Whether the target still runs."), NULL},
    {"exit_code", process_get_exit_code, NULL,
     PyDoc_STR("The target's exit code, or None while it runs."), NULL},
    {"pointer_size", process_get_pointer_size, NULL,
     PyDoc_STR("Bytes of a pointer in the target: 4 or 8."), NULL},
    {"path", process_get_path, NULL, PyDoc_STR("The target's program file."),
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef process_members[] = {
    {"pid", T_ULONG, offsetof(wi_process, pid), Py_READONLY,
     PyDoc_STR("The target's process id.")},
    {"_access", T_ULONG, offsetof(wi_process, access), Py_READONLY, NULL},
    {"_suspends", T_PYSSIZET, offsetof(wi_process, suspends), Py_READONLY,
     NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(process_doc, "Another process, and the memory in it.");

static PyType_Slot process_slots[] = {
    {Py_tp_doc, (void *)process_doc},   {Py_tp_new, wi_no_new},
    {Py_tp_finalize, process_finalize}, {Py_tp_traverse, wi_traverse},
    {Py_tp_methods, process_methods},   {Py_tp_getset, process_getset},
    {Py_tp_members, process_members},   {0, NULL},
};

static PyType_Spec process_spec = {
    .name = "winipc._core.RemoteProcess",
    .basicsize = sizeof(wi_process),
    .flags = WI_TYPE_FLAGS,
    .slots = process_slots,
};

int
wi_process_init(PyObject *module, wi_state *state)
{
    return wi_add_type(module, &process_spec, &state->process_type);
}
