/* section.c: SharedSection, a variable in a shared section of a DLL.
 *
 *     s = SharedSection.load()              # the DLL that winipc brings
 *     s = SharedSection.load(path, "counter", size=8)
 *     s.write(b"hello"), s[:5], s.get(0, "i32"), s.atomic(8)
 *     s.variables, s.variable("other")
 *     s.created, s.attach_count             # of all processes
 *     s.close()                             # FreeLibrary
 *
 * It owns the module's handle, and the handle of a named event that exists
 * only to be counted: the kernel knows how many handles an event has, and
 * takes back those of a process that died. Any thread may call; loading and
 * freeing run without the GIL, as they run the DLL's own code.
 *
 * All processes that load the same DLL file see one copy of a section with
 * IMAGE_SCN_MEM_SHARED; without that flag each has a copy of its own, silently,
 * and several toolchains lose the flag. So the headers of the loaded image are
 * read (by pe_image.c, which trusts none of them) before anything is handed
 * out. */
#include "base/bytes.h"

#include "base/nt.h"
#include "pe_image.h"

#include <sddl.h>

/* The machine that this process runs, as image headers name it. */
#if defined(_M_ARM64) || defined(__aarch64__)
#define SECTION_MACHINE 0xAA64
#elif defined(_M_X64) || defined(__x86_64__)
#define SECTION_MACHINE 0x8664
#else
#define SECTION_MACHINE 0x014C
#endif

typedef struct {
    WI_BYTES_HEAD
    HMODULE module;  /* NULL when closed */
    HANDLE attached; /* the counted event, or NULL */
    PyObject *path;
    PyObject *symbol;
    PyObject *section_name;
    uint32_t flags; /* of the section */
    uint32_t rva;   /* of the symbol */
    uint32_t start; /* of the section, as an RVA */
    uint32_t whole; /* bytes of the section */
    char created;   /* nobody else had it attached */
} SectionObject;

/* --------------------------------------------------- the image in memory */

/* The last region that VirtualQuery told about. */
typedef struct {
    const char *base;
    const char *start;
    const char *end;
    int readable;
} section_region;

static int
section_is_readable(const MEMORY_BASIC_INFORMATION *info)
{
    return info->State == MEM_COMMIT &&
           !(info->Protect & (PAGE_GUARD | PAGE_NOACCESS)) &&
           info->Protect != PAGE_EXECUTE;
}

static int
section_readable(void *context, size_t offset, size_t size)
{
    section_region *region = context;
    const char *at = region->base + offset;
    const char *end = at + size;
    while (at < end) {
        if (at < region->start || at >= region->end) {
            MEMORY_BASIC_INFORMATION info;
            if (VirtualQuery(at, &info, sizeof(info)) == 0) {
                return 0;
            }
            region->start = info.BaseAddress;
            region->end = region->start + info.RegionSize;
            region->readable = section_is_readable(&info);
        }
        if (!region->readable) {
            return 0;
        }
        at = region->end;
    }
    return 1;
}

/* How much address space the loader gave the image. */
static size_t
section_image_extent(const char *base)
{
    MEMORY_BASIC_INFORMATION info;
    const char *at = base;
    while (VirtualQuery(at, &info, sizeof(info)) != 0 &&
           info.AllocationBase == (const void *)base) {
        at = (const char *)info.BaseAddress + info.RegionSize;
    }
    return (size_t)(at - base);
}

static void
section_open_image(HMODULE module, wi_pe *pe, section_region *region)
{
    /* Data files have the low bits set; those come from no LoadLibrary here,
     * but a handle is only a number. */
    memset(pe, 0, sizeof(*pe));
    memset(region, 0, sizeof(*region));
    region->base = (const char *)((uintptr_t)module & ~(uintptr_t)3);
    pe->base = (const unsigned char *)region->base;
    pe->size = section_image_extent(region->base);
    pe->mapped = 1;
    pe->readable = section_readable;
    pe->context = region;
}

/* ------------------------------------------------- an image as plain data */

static PyObject *
section_describe_sections(const wi_pe *pe, PyObject *what)
{
    PyObject *list = PyList_New(0);
    for (unsigned i = 0; list != NULL && i < pe->section_count; i++) {
        wi_pe_section section;
        wi_pe_status status = wi_pe_section_at(pe, i, &section);
        if (status != WI_PE_OK) {
            PyErr_Format(PyExc_ValueError, "%R: %s", what,
                         wi_pe_message(status));
            Py_CLEAR(list);
            break;
        }
        PyObject *name = PyUnicode_DecodeLatin1(
            section.name, (Py_ssize_t)strlen(section.name), NULL);
        PyObject *item = name == NULL
                             ? NULL
                             : Py_BuildValue("(OIIIII)", name, section.rva,
                                             section.size, section.raw_offset,
                                             section.raw_size, section.flags);
        Py_XDECREF(name);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    return list;
}

/* (name or None, ordinal, rva, forwarder), unnamed ones last. */
static PyObject *
section_describe_exports(wi_pe *pe, PyObject *what)
{
    char name[WI_PE_MAX_NAME];
    wi_pe_export export;
    size_t total = 0;
    PyObject *list = PyList_New(0);
    if (list == NULL) {
        return NULL;
    }
    wi_pe_status status = wi_pe_open_exports(pe);
    if (status == WI_PE_NO_EXPORTS) {
        return list;
    }
    for (uint32_t i = 0; status == WI_PE_OK && i < pe->name_count; i++) {
        status = wi_pe_name_at(pe, i, name, sizeof(name), &export);
        if (status != WI_PE_OK) {
            break;
        }
        total += strlen(name) + 1;
        if (total > pe->size) { /* entries that share one long name */
            status = WI_PE_BAD_EXPORTS;
            break;
        }
        PyObject *text = PyUnicode_DecodeUTF8(name, (Py_ssize_t)strlen(name),
                                              "backslashreplace");
        PyObject *item =
            text == NULL
                ? NULL
                : Py_BuildValue("(OIO)", text, export.rva,
                                export.forwarder ? Py_True : Py_False);
        Py_XDECREF(text);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_XDECREF(item);
            Py_DECREF(list);
            return NULL;
        }
        Py_DECREF(item);
    }
    for (uint32_t i = 0; status == WI_PE_OK && i < pe->function_count; i++) {
        status = wi_pe_function_at(pe, i, &export);
        if (status != WI_PE_OK || export.rva == 0) {
            continue;
        }
        PyObject *item = Py_BuildValue("(OIO)", Py_None, export.rva,
                                       export.forwarder ? Py_True : Py_False);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_XDECREF(item);
            Py_DECREF(list);
            return NULL;
        }
        Py_DECREF(item);
    }
    if (status != WI_PE_OK) {
        PyErr_Format(PyExc_ValueError, "%R: %s", what, wi_pe_message(status));
        Py_CLEAR(list);
    }
    return list;
}

static PyObject *
section_describe(wi_pe *pe, PyObject *what)
{
    wi_pe_status status = wi_pe_open(pe);
    if (status != WI_PE_OK) {
        PyErr_Format(PyExc_ValueError, "%R: %s", what, wi_pe_message(status));
        return NULL;
    }
    PyObject *result = NULL;
    PyObject *sections = section_describe_sections(pe, what);
    PyObject *exports =
        sections == NULL ? NULL : section_describe_exports(pe, what);
    if (exports != NULL) {
        result =
            Py_BuildValue("(kkkOO)", (unsigned long)pe->machine,
                          (unsigned long)pe->characteristics,
                          (unsigned long)pe->image_size, sections, exports);
    }
    Py_XDECREF(sections);
    Py_XDECREF(exports);
    return result;
}

/* pe_describe(data, mapped=False, what="image"): sections and exports of an
 * image in a buffer, which is never loaded or run. */
static PyObject *
section_pe_describe(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer data;
    int mapped = 0;
    PyObject *what = NULL;
    PyObject *label = NULL;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "y*|pO:pe_describe", &data, &mapped, &what)) {
        return NULL;
    }
    label = what != NULL ? Py_NewRef(what) : PyUnicode_FromString("image");
    if (label != NULL) {
        wi_pe pe;
        memset(&pe, 0, sizeof(pe));
        pe.base = data.buf;
        pe.size = (size_t)data.len;
        pe.mapped = mapped;
        result = section_describe(&pe, label);
        Py_DECREF(label);
    }
    PyBuffer_Release(&data);
    return result;
}

/* ---------------------------------------------------------------- refusal */

static int
section_refuse(SectionObject *self, wi_state *state, const char *why)
{
    PyErr_Format(state->SectionError, "%R of %R is refused: %s", self->symbol,
                 self->path, why);
    return -1;
}

/* Find the symbol in the loaded image and check all that makes it a shared
 * variable. 0, or -1 with an exception. */
static int
section_locate(SectionObject *self, wi_state *state, const char *symbol,
               Py_ssize_t wanted)
{
    wi_pe pe;
    wi_pe_export export;
    wi_pe_section section;
    section_region region;
    uint32_t end;

    section_open_image(self->module, &pe, &region);
    wi_pe_status status = wi_pe_open(&pe);
    if (status == WI_PE_OK && pe.machine != SECTION_MACHINE) {
        /* Wine does load a DLL for another machine when it holds no code. */
        wi_raise(ERROR_BAD_EXE_FORMAT, "LoadLibraryExW", self->path);
        return -1;
    }
    if (status == WI_PE_OK) {
        status = wi_pe_open_exports(&pe);
    }
    if (status == WI_PE_OK) {
        status = wi_pe_find(&pe, symbol, &export);
    }
    if (status == WI_PE_NO_SYMBOL || status == WI_PE_NO_EXPORTS) {
        wi_raise_format(ERROR_PROC_NOT_FOUND, "GetProcAddress", "%U!%U",
                        self->path, self->symbol);
        return -1;
    }
    if (status == WI_PE_OK && export.forwarder) {
        return section_refuse(self, state,
                              "it is a forwarder to another DLL; load that "
                              "one");
    }
    if (status == WI_PE_OK) {
        status = wi_pe_section_of(&pe, export.rva, &section);
    }
    if (status == WI_PE_OK) {
        status = wi_pe_end_of(&pe, &section, export.rva, &end);
    }
    if (status != WI_PE_OK) {
        return section_refuse(self, state, wi_pe_message(status));
    }
    if (section.flags & (WI_PE_SCN_MEM_EXECUTE | WI_PE_SCN_CODE)) {
        return section_refuse(self, state,
                              "it is a function: its section holds code");
    }
    if (!(section.flags & WI_PE_SCN_MEM_SHARED)) {
        PyErr_Format(state->SectionError,
                     "%R of %R is refused: its section '%s' is not shared "
                     "(IMAGE_SCN_MEM_SHARED is not set), so each process "
                     "would have a copy of its own",
                     self->symbol, self->path, section.name);
        return -1;
    }
    /* Only now, as it believes every header that it reads. */
    const char *base = (const char *)pe.base;
    FARPROC address = GetProcAddress(self->module, symbol);
    if ((const char *)(uintptr_t)address != base + export.rva) {
        return section_refuse(self, state,
                              "GetProcAddress says another address than the "
                              "export directory");
    }
    uint32_t room = section.rva + section.size - export.rva;
    if (wanted < 0) {
        wanted = end - export.rva;
    }
    else if ((uint64_t)wanted > room) {
        PyErr_Format(state->SectionError,
                     "%R of %R is refused: %zd bytes leave its section '%s', "
                     "which has %lu bytes from there",
                     self->symbol, self->path, wanted, section.name,
                     (unsigned long)room);
        return -1;
    }

    /* What the loader made of it counts more than what the header says. */
    const char *at = base + export.rva;
    const char *stop = at + wanted;
    int readonly = !(section.flags & WI_PE_SCN_MEM_WRITE);
    while (at < stop) {
        MEMORY_BASIC_INFORMATION info;
        if (VirtualQuery(at, &info, sizeof(info)) == 0 ||
            info.AllocationBase != (const void *)base ||
            !section_is_readable(&info)) {
            return section_refuse(self, state, "its memory cannot be read");
        }
        /* Wine calls a shared section copy-on-write, and yet shares it. */
        if (!(info.Protect &
              (PAGE_READWRITE | PAGE_WRITECOPY | PAGE_EXECUTE_READWRITE |
               PAGE_EXECUTE_WRITECOPY))) {
            readonly = 1;
        }
        at = (const char *)info.BaseAddress + info.RegionSize;
    }

    self->section_name = PyUnicode_DecodeLatin1(
        section.name, (Py_ssize_t)strlen(section.name), NULL);
    if (self->section_name == NULL) {
        return -1;
    }
    self->flags = section.flags;
    self->rva = export.rva;
    self->start = section.rva;
    self->whole = section.size;
    self->bytes.base = (char *)base + export.rva;
    self->bytes.size = wanted;
    self->bytes.readonly = readonly;
    return 0;
}

/* ---------------------------------------------------------------- release */

static DWORD
section_release(SectionObject *self)
{
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
    return ok ? ERROR_SUCCESS : err;
}

static PyObject *
section_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    SectionObject *self = (SectionObject *)op;
    if (!wi_bytes_is_open(op)) {
        Py_RETURN_NONE;
    }
    if (wi_bytes_check_unpinned(op) < 0) {
        return NULL;
    }
    DWORD err = section_release(self);
    if (err != ERROR_SUCCESS) {
        return wi_raise(err, "FreeLibrary", self->path);
    }
    Py_RETURN_NONE;
}

static void
section_let_go(PyObject *op)
{
    SectionObject *self = (SectionObject *)op;
    DWORD err = section_release(self);
    if (err != ERROR_SUCCESS) {
        wi_raise(err, "FreeLibrary", self->path);
        PyErr_WriteUnraisable(op);
    }
    if (self->bytes.finalised) {
        Py_CLEAR(self->path);
        Py_CLEAR(self->symbol);
        Py_CLEAR(self->section_name);
    }
}

/* ------------------------------------------------------------------- load */

/* The event that is counted, named after the file's identity: a copy of the
 * DLL is other memory, a hard link is the same. Everyone may hold it, and
 * nobody can do anything with it. NULL where rights do not allow it. 0, or
 * the error of opening the file. */
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

PyDoc_STRVAR(section_load_doc,
             "_load($type, path, symbol, size, /)\n--\n\n"
             "Load the DLL at a full path and take its variable.");

static PyObject *
section_load(PyObject *cls, PyObject *args)
{
    PyObject *path, *symbol, *size_arg;
    PyObject *encoded = NULL;
    wchar_t *wide = NULL;
    SectionObject *self = NULL;
    PyObject *result = NULL;
    char *name;
    Py_ssize_t wanted = -1;
    DWORD err;
    if (!PyArg_ParseTuple(args, "UUO:_load", &path, &symbol, &size_arg)) {
        return NULL;
    }
    if (size_arg != Py_None) {
        wanted = wi_bytes_offset(size_arg, PY_SSIZE_T_MAX);
        if (wanted < 0) {
            return NULL;
        }
        if (wanted == 0) {
            PyErr_SetString(PyExc_ValueError, "size must not be 0");
            return NULL;
        }
    }
    wi_state *state = wi_state_of((PyTypeObject *)cls);
    if (state == NULL) {
        return NULL;
    }
    encoded = PyUnicode_AsUTF8String(symbol);
    if (encoded == NULL || PyBytes_AsStringAndSize(encoded, &name, NULL) < 0) {
        goto done; /* a NUL inside is a ValueError */
    }
    if (wi_wide_name(path, &wide) < 0) {
        goto done;
    }
    self = wi_alloc((PyTypeObject *)cls);
    if (self == NULL) {
        goto done;
    }
    self->bytes.release = section_let_go;
    self->path = Py_NewRef(path);
    self->symbol = Py_NewRef(symbol);
    DWORD failed;
    WI_CALL(err, failed = section_attach(self, wide)); /* a server may hang */
    if (failed != ERROR_SUCCESS) {
        wi_raise(failed, "CreateFileW", path);
        goto done;
    }
    /* A full path finds the DLL itself; the flags do the same for what it
     * needs: its own folder, the system's, and what AddDllDirectory added,
     * but neither the current folder nor PATH. */
    WI_CALL(err, self->module =
                     LoadLibraryExW(wide, NULL,
                                    LOAD_LIBRARY_SEARCH_DEFAULT_DIRS |
                                        LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR));
    if (self->module == NULL) {
        wi_raise(err, "LoadLibraryExW", path);
        goto done;
    }
    if (section_locate(self, state, name, wanted) < 0) {
        goto done;
    }
    result = Py_NewRef((PyObject *)self);
done:
    Py_XDECREF((PyObject *)self);
    Py_XDECREF(encoded);
    PyMem_Free(wide);
    return result;
}

/* ------------------------------------------------------------- properties */

static PyObject *
section_repr(PyObject *op)
{
    SectionObject *self = (SectionObject *)op;
    if (self->path == NULL || self->symbol == NULL) { /* finalised */
        return PyUnicode_FromString("<SharedSection closed>");
    }
    if (!wi_bytes_is_open(op)) {
        return PyUnicode_FromFormat("<SharedSection %R of %R closed>",
                                    self->symbol, self->path);
    }
    return PyUnicode_FromFormat("<SharedSection %R of %R size=%zd at %p%s>",
                                self->symbol, self->path, self->bytes.size,
                                self->bytes.base,
                                self->bytes.readonly ? " readonly" : "");
}

static PyObject *
section_image(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    SectionObject *self = (SectionObject *)op;
    wi_pe pe;
    section_region region;
    if (wi_bytes_check_open(op) < 0) {
        return NULL;
    }
    section_open_image(self->module, &pe, &region);
    self->bytes.pins++; /* an allocation may run a collection, and that all */
    PyObject *result = section_describe(&pe, self->path);
    wi_bytes_unpin(op);
    return result;
}

static PyObject *
section_get_module(PyObject *op, void *Py_UNUSED(closure))
{
    if (wi_bytes_check_open(op) < 0) {
        return NULL;
    }
    return PyLong_FromVoidPtr(((SectionObject *)op)->module);
}

static PyObject *
section_get_readonly(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((SectionObject *)op)->bytes.readonly);
}

static PyObject *
section_get_created(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((SectionObject *)op)->created);
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
    {"_load", section_load, METH_VARARGS | METH_CLASS, section_load_doc},
    {"_image", section_image, METH_NOARGS,
     "_image($self)\n--\n\n"
     "Sections and exports of the loaded image, as pe_describe() gives them."},
    {"close", section_close, METH_NOARGS,
     "close($self)\n--\n\n"
     "Let go of the DLL; may be called twice.\n\n"
     "The memory lasts while any process has the DLL loaded, and starts anew\n"
     "after that. Raises BufferError while a memoryview, an array or an\n"
     "Atomic uses it.\n\nWin32: FreeLibrary."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef section_members[] = {
    {"path", T_OBJECT, offsetof(SectionObject, path), Py_READONLY,
     "The full path of the DLL."},
    {"symbol", T_OBJECT, offsetof(SectionObject, symbol), Py_READONLY,
     "The name of the exported variable."},
    {"section_name", T_OBJECT, offsetof(SectionObject, section_name),
     Py_READONLY, "The name of the section, such as '.MYSEC'."},
    {"_flags", T_UINT, offsetof(SectionObject, flags), Py_READONLY, NULL},
    {"_rva", T_UINT, offsetof(SectionObject, rva), Py_READONLY, NULL},
    {"_section_rva", T_UINT, offsetof(SectionObject, start), Py_READONLY,
     NULL},
    {"section_size", T_UINT, offsetof(SectionObject, whole), Py_READONLY,
     "Bytes in the whole section."},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef section_getset[] = {
    {"module", section_get_module, NULL, "The DLL's module handle (HMODULE).",
     NULL},
    {"readonly", section_get_readonly, NULL,
     "Whether the section is shared without the right to write.", NULL},
    {"created", section_get_created, NULL,
     "Whether no other SharedSection, in any process, had the DLL attached\n"
     "when this one was loaded. Programs that do not use winipc are not\n"
     "counted.",
     NULL},
    {"attach_count", section_get_attach_count, NULL,
     "How many SharedSection objects of all processes are attached to this\n"
     "DLL now; a process that died no longer counts. None where Windows does\n"
     "not say. Programs that do not use winipc are not counted.\n\n"
     "Win32: NtQueryObject.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot section_slots[] = {
    {Py_tp_doc, "A variable in a shared section of a DLL."},
    {Py_tp_new, wi_no_new},
    {Py_tp_repr, section_repr},
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

static PyMethodDef section_functions[] = {
    {"pe_describe", section_pe_describe, METH_VARARGS,
     "pe_describe($module, data, mapped=False, what='image', /)\n--\n\n"
     "(machine, characteristics, image size, sections, exports) of a PE "
     "image\n"
     "in a buffer, which is neither loaded nor trusted."},
    {NULL, NULL, 0, NULL},
};

int
wi_section_init(PyObject *module, wi_state *state)
{
    state->SectionError = PyErr_NewExceptionWithDoc(
        "winipc.SectionError",
        "A DLL whose variable is not in shared memory: its section lacks the\n"
        "shared flag, the symbol is a function or a forwarder, the size\n"
        "leaves the section, or the image is damaged.",
        PyExc_ValueError, NULL);
    if (state->SectionError == NULL ||
        PyModule_AddObjectRef(module, "SectionError", state->SectionError) <
            0 ||
        wi_add_subtype(module, &section_spec, state->bytes_type,
                       &state->section_type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, section_functions);
}
