/* section.c: SharedSection, a variable in a shared section of a DLL.
 *
 *     s = SharedSection.load()              # the DLL that comes with winipc
 *     s = SharedSection.load(path, "counter", size=8)
 *     s.write(b"hello"), s[:5], s.get(0, "i32"), s.atomic(8)
 *     s.variables, s.variable("other")
 *     s.created, s.attach_count             # of all processes
 *     s.close()                             # FreeLibrary
 *
 * Owner: the object owns the module's handle, and the handle of a named event
 * that exists only to be counted: the kernel knows how many handles an event
 * has, and closes those of a process that died. Thread: any. GIL: given up to
 * load and free the DLL, which runs the DLL's own code.
 *
 * _load() maps the DLL, winipc.pe reads its headers through _image(), and
 * _bind() makes a range of it the memory of this object. The headers may be
 * false, so _bind() checks the range by VirtualQuery and GetProcAddress. */
#include "base/bytes.h"

#include "base/nt.h"

#include <sddl.h>

typedef struct {
    WI_BYTES_HEAD       /* base is NULL before _bind(), and when closed */
        HMODULE module; /* NULL when closed */
    Py_ssize_t extent;  /* bytes of the image */
    HANDLE attached;    /* the counted event, or NULL */
    char created;       /* no other object held the event */
} SectionObject;

/* --------------------------------------------------- the image in memory */

/* How much address space the loader gave the image. */
static Py_ssize_t
section_image_extent(const char *base)
{
    MEMORY_BASIC_INFORMATION info;
    const char *at = base;
    while (VirtualQuery(at, &info, sizeof(info)) != 0 &&
           info.AllocationBase == (const void *)base) {
        at = (const char *)info.BaseAddress + info.RegionSize;
    }
    return at - base;
}

/* Whether the range lies in the image. */
static int
section_holds(const SectionObject *self, Py_ssize_t offset, Py_ssize_t size)
{
    return offset >= 0 && size >= 0 && offset <= self->extent &&
           size <= self->extent - offset;
}

/* The object counts as open after _bind(); its image can be read from _load()
 * on. */
static int
section_check_loaded(SectionObject *self)
{
    if (self->module != NULL && self->bytes.base == NULL) {
        return 0;
    }
    return wi_bytes_check_open((PyObject *)self);
}

static PyObject *
section_image(PyObject *op, PyObject *args)
{
    SectionObject *self = (SectionObject *)op;
    Py_ssize_t offset, size;
    if (!PyArg_ParseTuple(args, "nn:_image", &offset, &size) ||
        section_check_loaded(self) < 0) {
        return NULL;
    }
    if (!section_holds(self, offset, size)) {
        PyErr_SetString(PyExc_ValueError, "the range leaves the image");
        return NULL;
    }
    self->bytes.pins++;
    PyObject *data = PyBytes_FromStringAndSize(NULL, size);
    if (data != NULL) {
        /* Not memcpy: a page that cannot be read is an error here. */
        const char *from = (const char *)self->module + offset;
        char *to = PyBytes_AsString(data);
        SIZE_T done;
        BOOL ok;
        DWORD err;
        WI_CALL(err,
                ok = size == 0 || ReadProcessMemory(GetCurrentProcess(), from,
                                                    to, (SIZE_T)size, &done));
        if (!ok) {
            wi_raise_format(err, "ReadProcessMemory", "the image at %p", from);
            Py_CLEAR(data);
        }
    }
    wi_bytes_unpin(op);
    return data;
}

/* Whether all of the range is committed memory of the image that may be read.
 * Clears *writable if a part of it may not be written. */
static int
section_may_use(const SectionObject *self, Py_ssize_t offset, Py_ssize_t size,
                int *writable)
{
    /* Wine says copy-on-write of a shared section, and yet shares it. */
    const DWORD writing = PAGE_READWRITE | PAGE_WRITECOPY |
                          PAGE_EXECUTE_READWRITE | PAGE_EXECUTE_WRITECOPY;
    const DWORD reading = writing | PAGE_READONLY | PAGE_EXECUTE_READ;
    if (size == 0 || !section_holds(self, offset, size)) {
        return 0;
    }
    const char *at = (const char *)self->module + offset;
    const char *end = at + size;
    while (at < end) {
        MEMORY_BASIC_INFORMATION info;
        if (VirtualQuery(at, &info, sizeof(info)) == 0 ||
            info.AllocationBase != (void *)self->module ||
            info.State != MEM_COMMIT || (info.Protect & PAGE_GUARD) ||
            !(info.Protect & reading)) {
            return 0;
        }
        if (!(info.Protect & writing)) {
            *writable = 0;
        }
        at = (const char *)info.BaseAddress + info.RegionSize;
    }
    return 1;
}

static PyObject *
section_bind(PyObject *op, PyObject *args)
{
    SectionObject *self = (SectionObject *)op;
    const char *symbol;
    Py_ssize_t offset, size;
    int writable;
    if (!PyArg_ParseTuple(args, "ynnp:_bind", &symbol, &offset, &size,
                          &writable)) {
        return NULL;
    }
    if (self->module == NULL || self->bytes.base != NULL) {
        PyErr_SetString(PyExc_ValueError, "it is closed or bound already");
        return NULL;
    }
    /* The range is checked first: GetProcAddress trusts the headers. */
    const char *at = (const char *)self->module + offset;
    if (!section_may_use(self, offset, size, &writable) ||
        (const char *)(uintptr_t)GetProcAddress(self->module, symbol) != at) {
        Py_RETURN_FALSE;
    }
    self->bytes.base = (char *)at;
    self->bytes.size = size;
    self->bytes.readonly = !writable;
    Py_RETURN_TRUE;
}

/* ---------------------------------------------------------------- release */

static int
section_release(PyObject *op)
{
    SectionObject *self = (SectionObject *)op;
    HMODULE module = self->module;
    HANDLE attached = self->attached;
    BOOL ok = TRUE;
    DWORD err = ERROR_SUCCESS;
    self->bytes.base = NULL;
    self->bytes.size = 0;
    self->module = NULL;
    self->attached = NULL;
    if (module != NULL) {
        WI_CALL(err, ok = FreeLibrary(module));
    }
    if (attached != NULL) {
        CloseHandle(attached);
    }
    if (!ok) {
        wi_raise_format(err, "FreeLibrary", "module %p", (void *)module);
    }
    return ok ? 0 : -1;
}

/* ------------------------------------------------------------------- load */

/* Open or create the event that is counted. Its name has the file's identity:
 * a copy of the DLL is other memory, a hard link is the same. Every process
 * may hold the event, and none can set it. It stays NULL if the file has no
 * identity or the event is denied. ERROR_SUCCESS, or the error of opening the
 * file. */
static DWORD
section_attach(SectionObject *self, const wchar_t *path)
{
    BY_HANDLE_FILE_INFORMATION info;
    SECURITY_ATTRIBUTES attributes = {sizeof(attributes), NULL, FALSE};
    wchar_t name[64] = L"Global\\winipc-section-";
    DWORD err = ERROR_SUCCESS;
    HANDLE file =
        CreateFileW(path, FILE_READ_ATTRIBUTES,
                    FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                    NULL, OPEN_EXISTING, 0, NULL);
    if (file == INVALID_HANDLE_VALUE) {
        return GetLastError();
    }
    BOOL known = GetFileInformationByHandle(file, &info);
    CloseHandle(file);
    if (!known) {
        return ERROR_SUCCESS; /* a file system without identities */
    }

    const DWORD identity[] = {info.dwVolumeSerialNumber, info.nFileIndexHigh,
                              info.nFileIndexLow};
    wchar_t *digit = name + wcslen(name);
    for (size_t i = 0; i < Py_ARRAY_LENGTH(identity); i++) {
        for (int shift = 28; shift >= 0; shift -= 4) {
            *digit++ = L"0123456789abcdef"[identity[i] >> shift & 15];
        }
    }
    *digit = L'\0';

    if (!ConvertStringSecurityDescriptorToSecurityDescriptorW(
            L"D:(A;;0x100000;;;WD)", SDDL_REVISION_1,
            &attributes.lpSecurityDescriptor, NULL)) {
        attributes.lpSecurityDescriptor = NULL;
    }
    SetLastError(ERROR_SUCCESS);
    self->attached = CreateEventExW(&attributes, name, 0, SYNCHRONIZE);
    err = GetLastError();
    self->created = self->attached != NULL && err != ERROR_ALREADY_EXISTS;
    if (attributes.lpSecurityDescriptor != NULL) {
        LocalFree(attributes.lpSecurityDescriptor);
    }
    return ERROR_SUCCESS;
}

/* Duplicate the event of an object that has the same module; FALSE if it has
 * another module or no event. */
static BOOL
section_attach_as(SectionObject *self, const SectionObject *other)
{
    return self->module == other->module && other->attached != NULL &&
           DuplicateHandle(GetCurrentProcess(), other->attached,
                           GetCurrentProcess(), &self->attached, 0, FALSE,
                           DUPLICATE_SAME_ACCESS);
}

/* Load the DLL and attach to it. NULL, or the name of the call that failed
 * with its error in *err. `other` is pinned, or NULL. Runs without the GIL: a
 * file server may not answer for long. */
static const char *
section_load_now(SectionObject *self, const wchar_t *path,
                 const SectionObject *other, DWORD *err)
{
    /* Before LoadLibrary, which gives one error for a missing DLL and for a
     * missing DLL that it needs. */
    if (other == NULL || other->module == NULL) {
        *err = section_attach(self, path);
        if (*err != ERROR_SUCCESS) {
            return "CreateFileW";
        }
        other = NULL;
    }
    /* A full path finds the DLL itself. The flags say where to find the DLLs
     * that it needs: its own folder, the system's, and those of
     * AddDllDirectory, but neither the current folder nor PATH. */
    self->module = LoadLibraryExW(path, NULL,
                                  LOAD_LIBRARY_SEARCH_DEFAULT_DIRS |
                                      LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR);
    if (self->module == NULL) {
        *err = GetLastError();
        return "LoadLibraryExW";
    }
    if (other != NULL && !section_attach_as(self, other)) {
        *err = section_attach(self, path);
        return *err == ERROR_SUCCESS ? NULL : "CreateFileW";
    }
    return NULL;
}

static PyObject *
section_load(PyObject *cls, PyObject *args)
{
    PyObject *path, *like;
    SectionObject *other = NULL;
    wchar_t *wide;
    DWORD err = ERROR_SUCCESS;
    const char *failed;
    if (!PyArg_ParseTuple(args, "UO:_load", &path, &like)) {
        return NULL;
    }
    if (like != Py_None) {
        wi_state *state = wi_state_of((PyTypeObject *)cls);
        if (state == NULL) {
            return NULL;
        }
        if (!PyObject_TypeCheck(like, state->section_type)) {
            PyErr_Format(PyExc_TypeError, "%R is no SharedSection", like);
            return NULL;
        }
        other = (SectionObject *)like;
    }
    if (wi_wide_name(path, &wide) < 0) {
        return NULL;
    }
    SectionObject *self = wi_alloc((PyTypeObject *)cls);
    if (self == NULL) {
        goto done;
    }
    self->bytes.release = section_release;
    if (other != NULL) {
        other->bytes.pins++;
    }
    Py_BEGIN_ALLOW_THREADS
    failed = section_load_now(self, wide, other, &err);
    Py_END_ALLOW_THREADS
    if (failed != NULL) {
        wi_raise(err, failed, path);
        Py_CLEAR(self);
    }
    else {
        self->extent = section_image_extent((const char *)self->module);
    }
    if (other != NULL) {
        wi_bytes_unpin(like);
    }
done:
    PyMem_Free(wide);
    return (PyObject *)self;
}

/* ------------------------------------------------------------- properties */

static PyObject *
section_get_module(PyObject *op, void *Py_UNUSED(closure))
{
    return wi_bytes_check_open(op) < 0
               ? NULL
               : PyLong_FromVoidPtr(((SectionObject *)op)->module);
}

static PyObject *
section_get_attach_count(PyObject *op, void *Py_UNUSED(closure))
{
    SectionObject *self = (SectionObject *)op;
    wi_object_basic_info info;
    if (wi_bytes_check_open(op) < 0) {
        return NULL;
    }
    if (self->attached == NULL ||
        !WI_NT_SUCCESS(NtQueryObject(self->attached, WI_OBJECT_BASIC, &info,
                                     sizeof(info), NULL))) {
        Py_RETURN_NONE;
    }
    return PyLong_FromUnsignedLong(info.handle_count);
}

static PyMethodDef section_methods[] = {
    {"_load", section_load, METH_VARARGS | METH_CLASS,
     "_load($type, path, like, /)\n--\n\n"
     "`like`: None, or a SharedSection that may have the same DLL open.\n\n"
     "Win32: LoadLibraryExW, CreateFileW, CreateEventExW."},
    {"_image", section_image, METH_VARARGS,
     "_image($self, offset, size, /)\n--\n\nWin32: ReadProcessMemory."},
    {"_bind", section_bind, METH_VARARGS,
     "_bind($self, symbol, offset, size, writable, /)\n--\n\n"
     "Win32: VirtualQuery, GetProcAddress."},
    {"close", wi_bytes_close, METH_NOARGS,
     "close($self)\n--\n\n"
     "Free the DLL; twice is harmless.\n\n"
     "The memory lasts while any process has the DLL loaded; the next load\n"
     "after that starts with zeros. Any thread; runs without the GIL.\n\n"
     "Raises:\n"
     "    BufferError: A memoryview, an array or an Atomic uses the\n"
     "        memory.\n\n"
     "Win32: FreeLibrary."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef section_members[] = {
    {"_extent", Py_T_PYSSIZET, offsetof(SectionObject, extent), Py_READONLY,
     NULL},
    {"_module", Py_T_PYSSIZET, offsetof(SectionObject, module), Py_READONLY,
     NULL},
    {"readonly", T_BOOL, offsetof(SectionObject, bytes.readonly), Py_READONLY,
     "Whether the memory may not be written."},
    {"created", T_BOOL, offsetof(SectionObject, created), Py_READONLY,
     "Whether no other SharedSection, in any process, was attached to the\n"
     "DLL when this one was loaded. Programs that do not use winipc are not\n"
     "counted."},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef section_getset[] = {
    {"module", section_get_module, NULL, "The DLL's module handle (HMODULE).",
     NULL},
    {"attach_count", section_get_attach_count, NULL,
     "How many SharedSection objects of all processes are attached to this\n"
     "DLL now. Those of a process that died do not count, nor do programs\n"
     "that do not use winipc. None if Windows does not say.\n\n"
     "Win32: NtQueryObject.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot section_slots[] = {
    {Py_tp_doc, "A variable in a shared section of a DLL."},
    {Py_tp_new, wi_no_new},
    {Py_tp_methods, section_methods},
    {Py_tp_members, section_members},
    {Py_tp_getset, section_getset},
    {0, NULL},
};

static PyType_Spec section_spec = {
    .name = "winipc._core.SharedSection",
    .basicsize = sizeof(SectionObject),
    .flags = WI_SUBTYPE_FLAGS,
    .slots = section_slots,
};

int
wi_section_init(PyObject *module, wi_state *state)
{
    return wi_add_subtype(module, &section_spec, state->bytes_type,
                          &state->section_type);
}
