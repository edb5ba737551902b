/* block.c: GlobalMemory, a block of this process's memory with an address.
 *
 *     block = GlobalMemory(b"data")     # or a size; kind=MemoryKind.VIRTUAL
 *     block.address, block.size         # for RemoteProcess.read in a peer
 *     block.read(4), block[0], memoryview(block)
 *     address = block.detach()          # another owner frees it
 *     block.close()                     # or leave its `with`
 *
 * The object owns a fixed block of the heap (GlobalAlloc, as older programs
 * hand memory over) or whole pages (VirtualAlloc). Any thread may call any
 * method; only the allocation runs without the GIL. */
#include "base/bytes.h"

enum { KIND_GLOBAL = 0, KIND_VIRTUAL = 1 };

typedef struct {
    WI_BYTES_HEAD /* base is NULL once closed or detached */
        int kind; /* KIND_GLOBAL or KIND_VIRTUAL */
} MemoryObject;

/* ---------------------------------------------------- release, finalise */

static int
memory_release(PyObject *op)
{
    MemoryObject *self = (MemoryObject *)op;
    char *base = self->bytes.base;
    self->bytes.base = NULL;
    self->bytes.size = 0;
    if (base == NULL) {
        return 0;
    }
    SetLastError(ERROR_SUCCESS);
    if (self->kind == KIND_GLOBAL ? GlobalFree((HGLOBAL)base) == NULL
                                  : VirtualFree(base, 0, MEM_RELEASE)) {
        return 0;
    }
    wi_raise_format(GetLastError(),
                    self->kind == KIND_GLOBAL ? "GlobalFree" : "VirtualFree",
                    "block at %p", (void *)base);
    return -1;
}

/* --------------------------------------------------------- constructor */

PyDoc_STRVAR(memory_create_doc,
             "_create($type, size, kind, /)\n--\n\n"
             "Allocate size zeroed bytes: kind 0 by GlobalAlloc, 1 by "
             "VirtualAlloc.");

static PyObject *
memory_create(PyObject *cls, PyObject *args)
{
    Py_ssize_t size;
    int kind;
    if (!PyArg_ParseTuple(args, "O&i:_create", wi_size_converter, &size,
                          &kind)) {
        return NULL;
    }
    if (kind != KIND_GLOBAL && kind != KIND_VIRTUAL) {
        PyErr_Format(PyExc_ValueError, "unknown kind %d", kind);
        return NULL;
    }
    MemoryObject *self = wi_alloc((PyTypeObject *)cls);
    if (self == NULL) {
        return NULL;
    }
    self->bytes.release = memory_release;
    self->bytes.size = size;
    self->kind = kind;
    /* An empty block needs an address too: a peer may be given it. */
    SIZE_T bytes = size > 0 ? (SIZE_T)size : 1;
    DWORD err;
    if (kind == KIND_GLOBAL) {
        WI_CALL(err, self->bytes.base = (char *)GlobalAlloc(GPTR, bytes));
    }
    else {
        WI_CALL(err, self->bytes.base =
                         VirtualAlloc(NULL, bytes, MEM_RESERVE | MEM_COMMIT,
                                      PAGE_READWRITE));
    }
    if (self->bytes.base == NULL) {
        Py_DECREF(self);
        return wi_raise_format(err ? err : ERROR_NOT_ENOUGH_MEMORY,
                               kind == KIND_GLOBAL ? "GlobalAlloc"
                                                   : "VirtualAlloc",
                               "%zd bytes", size);
    }
    return (PyObject *)self;
}

/* -------------------------------------------------------------- methods */

PyDoc_STRVAR(memory_close_doc, "close($self, /)\n--\n\n"
                               "Free the block; more calls do nothing.\n\n"
                               "Any thread may call it.\n\n"
                               "Raises:\n"
                               "    BufferError: A buffer of it is exported.\n"
                               "    OSError: Windows cannot free it.\n\n"
                               "Win32: GlobalFree, VirtualFree");

PyDoc_STRVAR(
    memory_detach_doc,
    "detach($self, /)\n--\n\n"
    "Give the block away: return its address; the object is closed then.\n\n"
    "The new owner frees it, with GlobalFree or VirtualFree by its kind.\n"
    "Any thread may call it.\n\n"
    "Raises:\n"
    "    BufferError: A buffer of it is exported.\n"
    "    ValueError: It is closed.\n\n"
    "Win32: none.");

static PyObject *
memory_detach(PyObject *op, PyObject *Py_UNUSED(unused))
{
    MemoryObject *self = (MemoryObject *)op;
    PyObject *address = PyLong_FromVoidPtr(self->bytes.base);
    if (address == NULL || wi_bytes_check_open(op) < 0 ||
        wi_bytes_check_unpinned(op) < 0) {
        Py_XDECREF(address);
        return NULL;
    }
    self->bytes.base = NULL;
    self->bytes.size = 0;
    return address;
}

static PyObject *
memory_repr(PyObject *op)
{
    MemoryObject *self = (MemoryObject *)op;
    PyObject *name = PyType_GetName(Py_TYPE(op));
    if (name == NULL) {
        return NULL;
    }
    PyObject *repr =
        !wi_bytes_is_open(op)
            ? PyUnicode_FromFormat("<%U closed>", name)
            : PyUnicode_FromFormat("<%U of %zd bytes at %p>", name,
                                   self->bytes.size, (void *)self->bytes.base);
    Py_DECREF(name);
    return repr;
}

/* --------------------------------------------------------------- tables */

static PyMethodDef memory_methods[] = {
    {"_create", memory_create, METH_VARARGS | METH_CLASS, memory_create_doc},
    {"close", wi_bytes_close, METH_NOARGS, memory_close_doc},
    {"detach", memory_detach, METH_NOARGS, memory_detach_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef memory_members[] = {
    {"_kind", T_INT, offsetof(MemoryObject, kind), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(memory_doc,
             "A block of memory of this process, which peers can read.");

static PyType_Slot memory_slots[] = {
    {Py_tp_doc, (void *)memory_doc}, {Py_tp_new, wi_no_new},
    {Py_tp_repr, memory_repr},       {Py_tp_methods, memory_methods},
    {Py_tp_members, memory_members}, {0, NULL},
};

static PyType_Spec memory_spec = {
    .name = "winipc._core.GlobalMemory",
    .basicsize = sizeof(MemoryObject),
    .flags = WI_SUBTYPE_FLAGS,
    .slots = memory_slots,
};

int
wi_memory_init(PyObject *module, wi_state *state)
{
    return wi_add_subtype(module, &memory_spec, state->bytes_type, NULL);
}
