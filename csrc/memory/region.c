/* region.c: what a SharedMapping and a view of one have in common.
 *
 *     m.flush(0, 4096)              # to the file, now
 *     m.size, m.address, m.access   # once closed: 0, ValueError, unchanged
 *     with m:
 *         a = numpy.frombuffer(m)
 *     m.closed                      # True; the memory goes with `a`
 *     m.close()                     # BufferError while something uses it
 *
 * A region owns its view of a section and, if it is the mapping itself, the
 * handles of the section and of the file behind it. bytes.c reads and writes
 * the memory. Any thread may call anything; a flush drops the GIL. */
#include "region.h"

#include "base/guard.h"

PyObject *
wi_region_raise(RegionObject *self, DWORD err, const char *api)
{
    return wi_raise_format(err, api, "%V", WI_REGION_LABEL(self));
}

/* Moves everything into locals first, so that a second call finds nothing to
 * do; then frees in reverse order of acquisition. */
int
wi_region_release(PyObject *op)
{
    RegionObject *self = (RegionObject *)op;
    const char *api = NULL;
    char *start = self->start;
    HANDLE handles[] = {self->section, self->file};
    int guard = self->guard;
    DWORD err = ERROR_SUCCESS;
    self->start = NULL;
    self->bytes.base = NULL;
    self->bytes.size = 0;
    self->mapped = 0;
    self->total = 0;
    self->section = NULL;
    self->file = NULL;
    self->guard = 0;
    /* Closing a file may take as long as reading it. */
    PyThreadState *saved = guard ? PyEval_SaveThread() : NULL;
    if (start != NULL && !UnmapViewOfFile(start)) {
        err = GetLastError();
        api = "UnmapViewOfFile";
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(handles); i++) {
        if (handles[i] != NULL && !CloseHandle(handles[i]) && api == NULL) {
            err = GetLastError();
            api = "CloseHandle";
        }
    }
    if (guard) {
        PyEval_RestoreThread(saved);
        wi_guard_drop();
    }
    if (start != NULL && self->owner != NULL) {
        wi_bytes_unpin(self->owner);
    }
    if (api != NULL) {
        wi_region_raise(self, err, api);
    }
    if (self->bytes.finalised) { /* there is no tp_clear that would do it */
        Py_CLEAR(self->owner);
        Py_CLEAR(self->name);
        Py_CLEAR(self->described);
    }
    return api == NULL ? 0 : -1;
}

/* ------------------------------------------------------------------ flush */

PyDoc_STRVAR(
    region_flush_doc,
    "flush($self, /, offset=0, size=None)\n--\n\n"
    "Write the changed pages of `size` bytes from `offset` on (None: to the\n"
    "end) to the file, and wait until they are written.\n\n"
    "Other processes see changes without it, as they share the pages.\n"
    "Without a file it has no use. Any thread; runs without the GIL.\n\n"
    "Raises:\n"
    "    ValueError: The range is not inside.\n"
    "    OSError: Windows cannot write.\n\n"
    "Win32: FlushViewOfFile, FlushFileBuffers.");

static PyObject *
region_flush(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames)
{
    static const char *const names[] = {"offset", "size", NULL};
    RegionObject *self = (RegionObject *)op;
    PyObject *values[2];
    Py_ssize_t offset, size;
    if (wi_fast_args("flush", names, 0, args, nargs, kwnames, values) < 0 ||
        wi_bytes_optional(names[0], values[0], 0, &offset) < 0 ||
        wi_bytes_optional(names[1], values[1], -1, &size) < 0 ||
        wi_bytes_check_open(op) < 0) {
        return NULL;
    }
    if (size == -1 && offset >= 0 && offset <= self->bytes.size) {
        size = self->bytes.size - offset;
    }
    if (!wi_bytes_check_range(op, offset, size, "flush")) {
        return NULL;
    }
    if (size == 0) {
        Py_RETURN_NONE; /* 0 would mean all to Windows */
    }
    RegionObject *root =
        self->owner != NULL ? (RegionObject *)self->owner : self;
    HANDLE file = self->access == REGION_WRITE ? root->file : NULL;
    const char *api = "FlushViewOfFile";
    DWORD err;
    BOOL ok;
    self->bytes.pins++; /* a view's is its mapping's too */
    WI_CALL(err,
            ok = FlushViewOfFile(self->bytes.base + offset, (SIZE_T)size));
    if (ok && file != NULL) {
        api = "FlushFileBuffers";
        WI_CALL(err, ok = FlushFileBuffers(file));
    }
    wi_bytes_unpin(op);
    if (!ok) {
        return wi_region_raise(self, err, api);
    }
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------ close */

PyDoc_STRVAR(region_close_doc,
             "close($self, /)\n--\n\n"
             "Unmap the memory and close the handles; twice is harmless.\n\n"
             "Any thread may call it.\n\n"
             "Raises:\n"
             "    BufferError: A memoryview, an array or a view() of it is\n"
             "        alive, or a call runs in another thread.\n"
             "    OSError: Windows cannot unmap or close.\n\n"
             "Win32: UnmapViewOfFile, CloseHandle.");

static int
region_traverse(PyObject *op, visitproc visit, void *arg)
{
    RegionObject *self = (RegionObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->name);
    Py_VISIT(self->owner);
    return 0;
}

/* ------------------------------------------------------------- properties */

PyObject *
wi_region_get_size(PyObject *op, void *offset)
{
    Py_ssize_t size = *(Py_ssize_t *)((char *)op + (size_t)offset);
    return PyLong_FromSsize_t(wi_bytes_is_open(op) ? size : 0);
}

static PyGetSetDef region_getset[] = {
    {"mapped_size", wi_region_get_size, NULL,
     "How many bytes follow address up to the end of the last page.",
     (void *)offsetof(RegionObject, mapped)},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef region_members[] = {
    {"_mode", T_BYTE, offsetof(RegionObject, access), Py_READONLY, NULL},
    {"name", T_OBJECT, offsetof(RegionObject, name), Py_READONLY,
     "The name of the kernel object as it was given, or None."},
    {"offset", T_ULONGLONG, offsetof(RegionObject, offset), Py_READONLY,
     "Where the first byte is in the whole mapping."},
    {"size_is_exact", T_BOOL, offsetof(RegionObject, exact), Py_READONLY,
     "False if size comes from Windows, which rounds it up to whole pages:\n"
     "the creator may have asked for less."},
    {NULL, 0, 0, 0, NULL},
};

/* ------------------------------------------------------------------- type */

static PyMethodDef region_methods[] = {
    {"flush", WI_FAST(region_flush), region_flush_doc},
    {"close", wi_bytes_close, METH_NOARGS, region_close_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(
    region_doc,
    "A run of mapped memory: what SharedMapping and its views share.");

static PyType_Slot region_slots[] = {
    {Py_tp_doc, (void *)region_doc},
    {Py_tp_new, wi_no_new},
    {Py_tp_traverse, region_traverse},
    {Py_tp_methods, region_methods},
    {Py_tp_members, region_members},
    {Py_tp_getset, region_getset},
    {0, NULL},
};

static PyType_Spec region_spec = {
    .name = "winipc._core.MappedMemory",
    .basicsize = sizeof(RegionObject),
    .flags = WI_TYPE_FLAGS,
    .slots = region_slots,
};

int
wi_region_init(PyObject *module, wi_state *state)
{
    return wi_add_subtype(module, &region_spec, state->bytes_type,
                          &state->region_type);
}
