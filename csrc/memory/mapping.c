/* mapping.c: SharedMapping, and the views of one.
 *
 * CreateFileMapping, OpenFileMapping, MapViewOfFile. A SharedMapping owns the
 * section's handle, its first view of it and, when it opened the file behind
 * it, that file's handle; a MappingView owns another view and keeps the
 * mapping from closing. What can be done with the memory is in region.c.
 *
 * Windows maps at multiples of its allocation granularity (64 KiB) and in
 * whole pages; callers ask for any offset and size, and the difference stays
 * here. What was mapped is asked of VirtualQuery unless this process has made
 * it: a peer may have made the section smaller, reserved but not committed, or
 * an executable image. */
#include "region.h"
#include "sync/waitable.h"

#include "../../include/winipc.h"
#include "base/guard.h"

/* winternl.h does not have these. */
typedef struct {
    void *base;
    ULONG attributes;
    LARGE_INTEGER size;
} section_basic_information;

LONG NTAPI NtQuerySection(HANDLE section, int kind, void *information,
                          SIZE_T length, SIZE_T *result);

#ifndef SEC_FILE
#define SEC_FILE 0x00800000
#endif
#ifndef FILE_MAP_LARGE_PAGES
#define FILE_MAP_LARGE_PAGES 0x20000000
#endif

DWORD WINAPI K32GetMappedFileNameW(HANDLE process, void *address,
                                   wchar_t *name, DWORD size);

/* -------------------------------------------------------------- arguments */

static int
mapping_access_converter(PyObject *value, void *out)
{
    int access = 0;
    if (PyUnicode_Check(value)) {
        if (PyUnicode_CompareWithASCIIString(value, "readwrite") == 0) {
            access = REGION_WRITE;
        }
        else if (PyUnicode_CompareWithASCIIString(value, "read") == 0) {
            access = REGION_READ;
        }
        else if (PyUnicode_CompareWithASCIIString(value, "copy") == 0) {
            access = REGION_COPY;
        }
    }
    if (access == 0) {
        PyErr_Format(PyExc_ValueError,
                     "access must be 'read', 'readwrite' or 'copy', not %R",
                     value);
        return 0;
    }
    *(int *)out = access;
    return 1;
}

/* A size or offset: not negative, None for 0. */
static int
mapping_size_converter(PyObject *value, void *out)
{
    if (value == Py_None) {
        *(uint64_t *)out = 0;
        return 1;
    }
    PyObject *index = PyNumber_Index(value);
    if (index == NULL) {
        return 0;
    }
    long long number = PyLong_AsLongLong(index);
    Py_DECREF(index);
    if (number == -1 && PyErr_Occurred()) {
        return 0;
    }
    if (number < 0) {
        PyErr_Format(PyExc_ValueError,
                     "sizes and offsets must not be negative, not %lld",
                     number);
        return 0;
    }
    *(uint64_t *)out = (uint64_t)number;
    return 1;
}

static DWORD
mapping_page_protection(int access)
{
    return access == REGION_READ    ? PAGE_READONLY
           : access == REGION_WRITE ? PAGE_READWRITE
                                    : PAGE_WRITECOPY;
}

/* The rights for a handle; a copy view needs no more than reading does. */
static DWORD
mapping_section_access(int access)
{
    return access == REGION_WRITE ? FILE_MAP_READ | FILE_MAP_WRITE
                                  : FILE_MAP_READ;
}

static DWORD
mapping_view_access(int access)
{
    return access == REGION_COPY ? FILE_MAP_COPY
                                 : mapping_section_access(access);
}

/* Check the name and make it wide; NULL stays NULL. */
static int
mapping_name(PyObject *name, wchar_t **wide)
{
    if (wi_wide_name(name, wide) < 0) {
        return -1;
    }
    if (*wide != NULL && (*wide)[0] == L'\0') {
        PyMem_Free(*wide);
        *wide = NULL;
        PyErr_SetString(PyExc_ValueError,
                        "a name must not be empty (None is for no name)");
        return -1;
    }
    return 0;
}

/* ---------------------------------------------------------------- mapping */

/* What the memory is good for: bytes from base that are committed and may be
 * touched as `access` says, and bytes up to the end of the view. */
static void
mapping_measure(const char *base, int access, SIZE_T *usable, SIZE_T *total)
{
    const DWORD writable = PAGE_READWRITE | PAGE_WRITECOPY |
                           PAGE_EXECUTE_READWRITE | PAGE_EXECUTE_WRITECOPY;
    const DWORD readable =
        writable | PAGE_READONLY | PAGE_EXECUTE | PAGE_EXECUTE_READ;
    const DWORD wanted = access == REGION_READ ? readable : writable;
    MEMORY_BASIC_INFORMATION info;
    const char *at = base;
    BOOL going = TRUE;
    *usable = 0;
    *total = 0;
    while (VirtualQuery(at, &info, sizeof(info)) == sizeof(info) &&
           info.AllocationBase == (void *)base && info.State != MEM_FREE) {
        going = going && info.State == MEM_COMMIT &&
                (info.Protect & wanted) != 0 &&
                (info.Protect & PAGE_GUARD) == 0;
        if (going) {
            *usable += info.RegionSize;
        }
        *total += info.RegionSize;
        at += info.RegionSize;
    }
}

/* The section's own idea of its size, exact for files; 0 when the handle may
 * not ask. `file` is set when a file other than the page file is behind. */
static uint64_t
mapping_section_size(HANDLE section, char *file)
{
    section_basic_information info;
    memset(&info, 0, sizeof(info));
    if (NtQuerySection(section, 0, &info, sizeof(info), NULL) < 0) {
        *file = -1;
        return 0;
    }
    *file = (info.attributes & SEC_FILE) != 0;
    return (uint64_t)info.size.QuadPart;
}

/* An error of the view, told better where the reason can be found out. */
static void
mapping_raise_view(RegionObject *self, DWORD err, HANDLE section,
                   uint64_t offset, uint64_t size)
{
    char file;
    uint64_t whole = mapping_section_size(section, &file);
    PyObject *label = wi_region_label(self);
    if (label == NULL) {
        return;
    }
    if (whole != 0 && (offset > whole || size > whole - offset)) {
        PyErr_Format(PyExc_ValueError,
                     "%llu bytes at offset %llu leave the %llu bytes of %R",
                     size, offset, whole, label);
    }
    else {
        wi_raise(err, "MapViewOfFile", label);
    }
    Py_DECREF(label);
}

/* What Windows maps by. */
typedef struct {
    volatile DWORD granularity;
    DWORD page;
} mapping_units;

/* Asked once: it costs as much as a small view. Two threads may both be the
 * first; they write the same, and the granularity last. */
static const mapping_units *
mapping_get_units(void)
{
    static mapping_units units;
    if (units.granularity == 0) {
        SYSTEM_INFO system;
        GetSystemInfo(&system);
        units.page = system.dwPageSize;
        MemoryBarrier();
        units.granularity = system.dwAllocationGranularity;
    }
    return &units;
}

/* What was mapped. */
typedef struct {
    SIZE_T usable, total; /* as mapping_measure() tells */
    uint64_t whole;       /* of the section; 0 when that is not known */
    char file;            /* a file other than the page file is behind */
} mapping_extent;

static void
mapping_look(char *base, HANDLE section, int access, mapping_extent *extent)
{
    extent->whole = mapping_section_size(section, &extent->file);
    mapping_measure(base, access, &extent->usable, &extent->total);
    if (extent->file == -1) {
        /* Too little room for the name is an answer as well. */
        wchar_t unused[4];
        extent->file =
            K32GetMappedFileNameW(GetCurrentProcess(), base, unused, 4) ||
            GetLastError() == ERROR_INSUFFICIENT_BUFFER;
    }
}

/* Map size bytes (0: all that follow) at offset into self, which is closed
 * and owns nothing yet. fresh is the size of a section that this process has
 * just made of committed pages of the page file, of which nothing has to be
 * asked, or 0. 0, or -1 with an exception. */
static int
mapping_map(RegionObject *self, HANDLE section, int access, uint64_t offset,
            uint64_t size, DWORD more_access, uint64_t fresh)
{
    const mapping_units *units = mapping_get_units();
    /* Large pages are mapped whole: a view has to end where one of them
     * does, as the section does. */
    BOOL all = (more_access & FILE_MAP_LARGE_PAGES) != 0;
    uint64_t delta = all ? offset : offset % units->granularity;
    uint64_t start = offset - delta;
    if (size > (uint64_t)PY_SSIZE_T_MAX - delta) {
        PyErr_SetString(PyExc_OverflowError,
                        "size does not fit in the address space");
        return -1;
    }
    SIZE_T length = size == 0 || all ? 0 : (SIZE_T)(delta + size);
    DWORD view_access = mapping_view_access(access) | more_access;
    char *base;
    DWORD err;
    WI_CALL(err,
            base = MapViewOfFile(section, view_access, (DWORD)(start >> 32),
                                 (DWORD)(start & 0xffffffff), length));
    if (base == NULL) {
        mapping_raise_view(self, err, section, offset, size);
        return -1;
    }

    mapping_extent extent = {.whole = fresh};
    if (fresh != 0) {
        SIZE_T page = units->page;
        SIZE_T bytes = length != 0 ? length : (SIZE_T)(fresh - start);
        extent.usable = extent.total = (bytes + page - 1) / page * page;
    }
    else {
        mapping_look(base, section, access, &extent);
    }
    uint64_t after = extent.usable > delta ? extent.usable - delta : 0;
    self->mapped = (Py_ssize_t)after;
    self->total =
        extent.total > delta ? (Py_ssize_t)(extent.total - delta) : 0;
    if (extent.file && extent.whole > offset &&
        after > extent.whole - offset) {
        after = extent.whole - offset; /* a file's length is exact */
    }
    self->bytes.size = (Py_ssize_t)(size != 0 && size < after ? size : after);
    self->exact = size != 0 || extent.file > 0;
    self->bytes.guarded = extent.file != 0;
    self->access = (char)access;
    self->offset = offset;

    if (self->total == 0) {
        PyErr_Format(PyExc_ValueError,
                     "offset %llu leaves the %llu bytes that can be mapped",
                     offset, (unsigned long long)extent.total + start);
        goto failed;
    }
    if (size > after && self->total == self->mapped) {
        PyErr_Format(PyExc_ValueError,
                     "only %llu of the %llu bytes at offset %llu can be used "
                     "with access='%s'",
                     after, size, offset,
                     access == REGION_READ    ? "read"
                     : access == REGION_WRITE ? "readwrite"
                                              : "copy");
        goto failed;
    }
    if (self->bytes.guarded && wi_guard_new(&self->guard) < 0) {
        PyErr_NoMemory();
        goto failed;
    }
    self->start = base;
    self->bytes.base = base + delta;
    self->bytes.readonly = access == REGION_READ;
    return 0;

failed:
    UnmapViewOfFile(base);
    return -1;
}

/* ----------------------------------------------------------------- header */

/* How long a header may take to appear after its mapping did. */
#define MAPPING_HEADER_PATIENCE_MS 500

typedef struct {
    winipc_mapping_header copy;
    const char *from;
} header_read;

static void
mapping_header_copy(void *arg)
{
    header_read *job = arg;
    const volatile uint32_t *magic = (const volatile uint32_t *)job->from;
    uint32_t first = *magic;
    MemoryBarrier(); /* acquire: the rest is read after the magic */
    memcpy(&job->copy, job->from, sizeof(job->copy));
    job->copy.magic = first;
}

/* From here on self is what lies behind its header. */
static void
mapping_header_hide(RegionObject *self, const winipc_mapping_header *header)
{
    self->header = header->header_size;
    self->payload = header->size;
    self->version = header->version;
    self->owner_pid = header->owner_pid;
    self->bytes.base += header->header_size;
    self->bytes.size = (Py_ssize_t)header->size;
    self->mapped -= header->header_size;
    self->total -= header->header_size;
    self->exact = 1;
}

/* The creator's part: the magic comes last. */
static void
mapping_header_write(RegionObject *self, uint64_t size)
{
    winipc_mapping_header header;
    memset(&header, 0, sizeof(header));
    header.version = WINIPC_MAPPING_VERSION;
    header.header_size = sizeof(header);
    header.size = size;
    header.owner_pid = GetCurrentProcessId();
    FILETIME now;
    GetSystemTimeAsFileTime(&now);
    header.created =
        (uint64_t)now.dwHighDateTime << 32 | (uint64_t)now.dwLowDateTime;
    memcpy(self->bytes.base, &header, sizeof(header));
    MemoryBarrier(); /* release */
    *(volatile uint32_t *)self->bytes.base = WINIPC_MAPPING_MAGIC;
    mapping_header_hide(self, &header);
}

/* The opener's part: wait for the magic a little, check a private copy, and
 * take [offset, offset + size) of what follows (size 0: to the end). self is
 * the whole mapping. 0, or -1 with an exception. */
static int
mapping_header_accept(RegionObject *self, uint64_t offset, uint64_t size)
{
    header_read job;
    const char *fault;
    ULONGLONG start = GetTickCount64();
    for (;;) {
        memset(&job, 0, sizeof(job));
        job.from = self->bytes.base;
        if (self->bytes.size >= (Py_ssize_t)sizeof(job.copy)) {
            DWORD err = ERROR_SUCCESS;
            if (self->bytes.guarded) {
                err = wi_guarded(mapping_header_copy, &job, self->bytes.base,
                                 self->bytes.base + self->bytes.size);
            }
            else {
                mapping_header_copy(&job);
            }
            if (err != ERROR_SUCCESS) {
                wi_raise(err, "reading the header", self->name);
                return -1;
            }
        }
        fault =
            winipc_mapping_header_fault(&job.copy, (uint64_t)self->bytes.size);
        if (fault == NULL || job.copy.magic != 0 ||
            self->bytes.size < (Py_ssize_t)sizeof(job.copy) ||
            GetTickCount64() - start >= MAPPING_HEADER_PATIENCE_MS) {
            break;
        }
        Py_BEGIN_ALLOW_THREADS
        Sleep(1);
        Py_END_ALLOW_THREADS
        if (PyErr_CheckSignals() < 0) {
            return -1;
        }
    }
    PyObject *label = wi_region_label(self);
    if (label == NULL) {
        return -1;
    }
    int result = -1;
    if (fault != NULL) {
        PyErr_Format(PyExc_ValueError, "%R has %s", label, fault);
    }
    else if (offset > job.copy.size || size > job.copy.size - offset) {
        PyErr_Format(PyExc_ValueError,
                     "%llu bytes at offset %llu leave the %llu bytes of %R",
                     size, offset, job.copy.size, label);
    }
    else {
        mapping_header_hide(self, &job.copy);
        self->bytes.base += offset;
        self->bytes.size =
            (Py_ssize_t)(size != 0 ? size : job.copy.size - offset);
        self->mapped -= (Py_ssize_t)offset;
        self->total -= (Py_ssize_t)offset;
        self->offset = offset;
        result = 0;
    }
    Py_DECREF(label);
    return result;
}

/* A closed region of `type` that is called `name`. */
static RegionObject *
mapping_new(PyObject *type, PyObject *name)
{
    RegionObject *self = wi_alloc((PyTypeObject *)type);
    if (self != NULL && name != NULL && name != Py_None) {
        self->name = Py_NewRef(name);
    }
    return self;
}

/* Give up a region that nobody has seen; it owns at most its view. */
static void
mapping_drop(RegionObject **self)
{
    const char *api;
    if (*self != NULL) {
        wi_region_release(*self, &api);
        Py_CLEAR(*self);
    }
}

/* ----------------------------------------------------------------- create */

typedef struct {
    PyObject *name;
    PyObject *file; /* None, str or the int of a handle */
    PyObject *security;
    uint64_t size;
    uint64_t offset;
    int access;
    int exist_ok;
    int reserve;
    int large_pages;
    int header;
} mapping_options;

/* The file to map: opened by path, or a duplicate of a handle. */
static int
mapping_open_file(const mapping_options *options, HANDLE *out)
{
    HANDLE file = INVALID_HANDLE_VALUE;
    DWORD err;
    *out = NULL;
    if (options->file == Py_None) {
        return 0;
    }
    if (!PyUnicode_Check(options->file)) {
        HANDLE given;
        BOOL ok;
        if (!wi_handle_converter(options->file, &given)) {
            return -1;
        }
        WI_CALL(err, ok = DuplicateHandle(GetCurrentProcess(), given,
                                          GetCurrentProcess(), &file, 0, FALSE,
                                          DUPLICATE_SAME_ACCESS));
        if (!ok) {
            wi_raise(err, "DuplicateHandle", options->file);
            return -1;
        }
        *out = file;
        return 0;
    }
    wchar_t *path = PyUnicode_AsWideCharString(options->file, NULL);
    if (path == NULL) {
        return -1;
    }
    DWORD rights = GENERIC_READ;
    DWORD how = OPEN_EXISTING;
    if (options->access == REGION_WRITE) {
        rights |= GENERIC_WRITE;
        how = options->size != 0 ? OPEN_ALWAYS : OPEN_EXISTING;
    }
    WI_CALL(err, file = CreateFileW(path, rights,
                                    FILE_SHARE_READ | FILE_SHARE_WRITE |
                                        FILE_SHARE_DELETE,
                                    NULL, how, FILE_ATTRIBUTE_NORMAL, NULL));
    PyMem_Free(path);
    if (file == INVALID_HANDLE_VALUE) {
        wi_raise(err, "CreateFileW", options->file);
        return -1;
    }
    *out = file;
    return 0;
}

/* How large the section has to be. 0, or -1 with an exception. */
static int
mapping_maximum(const mapping_options *options, HANDLE file, uint64_t *out)
{
    *out = 0;
    /* A file may be larger than a 32-bit process's memory. */
    if (options->size > (uint64_t)PY_SSIZE_T_MAX ||
        options->offset > (uint64_t)INT64_MAX - options->size) {
        PyErr_SetString(PyExc_OverflowError,
                        "offset + size does not fit in the address space");
        return -1;
    }
    if (file == NULL) {
        if (options->size == 0) {
            PyErr_SetString(PyExc_ValueError,
                            "size must be 1 or more (only a file has one of "
                            "its own)");
            return -1;
        }
        *out = options->offset + options->size;
        if (options->header) {
            *out += sizeof(winipc_mapping_header);
        }
        if (options->large_pages) {
            uint64_t page = GetLargePageMinimum();
            if (page == 0) {
                PyErr_SetString(PyExc_OSError,
                                "this processor has no large pages");
                return -1;
            }
            *out = (*out + page - 1) / page * page;
        }
        return 0;
    }
    LARGE_INTEGER length;
    DWORD err;
    BOOL ok;
    WI_CALL(err, ok = GetFileSizeEx(file, &length));
    if (!ok) {
        wi_raise(err, "GetFileSizeEx", options->file);
        return -1;
    }
    uint64_t end = options->offset + options->size;
    uint64_t have = (uint64_t)length.QuadPart;
    if (options->size == 0 ? end >= have
                           : end > have && options->access != REGION_WRITE) {
        PyErr_Format(PyExc_ValueError,
                     "the file %R has %llu bytes, none or too few after "
                     "offset %llu (only access='readwrite' with a size grows "
                     "it)",
                     options->file, have, options->offset);
        return -1;
    }
    *out = end > have ? end : 0; /* 0: as large as the file */
    return 0;
}

/* What does not go together, said before anything is made. */
static int
mapping_check_options(const mapping_options *options)
{
    const char *why = NULL;
    if (options->header && options->file != Py_None) {
        why = "header is not for files, which have an exact size";
    }
    else if (options->header && options->access != REGION_WRITE) {
        why = "only access='readwrite' can write a header";
    }
    else if (options->header && options->offset != 0) {
        why = "create() with a header maps all of it: offset must be 0";
    }
    else if (options->header && options->reserve) {
        why = "header and reserve do not go together";
    }
    else if (options->reserve && options->file != Py_None) {
        why = "reserve is for memory without a file";
    }
    else if (options->large_pages && options->file != Py_None) {
        why = "large_pages is for memory without a file";
    }
    else if (options->reserve && options->large_pages) {
        why = "large pages cannot be reserved only";
    }
    if (why == NULL) {
        return 0;
    }
    PyErr_SetString(PyExc_ValueError, why);
    return -1;
}

/* Enable the privilege for large pages on this thread only, so that nothing
 * changes for the process. TRUE when RevertToSelf() has to follow. A user who
 * has not got it finds out from CreateFileMapping. A thread that already acts
 * for somebody keeps that token as it is: it could not be put back. */
static BOOL
mapping_lock_memory_begin(void)
{
    TOKEN_PRIVILEGES privileges = {.PrivilegeCount = 1};
    HANDLE token;
    if (OpenThreadToken(GetCurrentThread(), TOKEN_QUERY, TRUE, &token)) {
        CloseHandle(token);
        return FALSE;
    }
    if (GetLastError() != ERROR_NO_TOKEN) {
        return FALSE; /* there is one, which we may not even look at */
    }
    privileges.Privileges[0].Attributes = SE_PRIVILEGE_ENABLED;
    if (!ImpersonateSelf(SecurityImpersonation)) {
        return FALSE;
    }
    if (LookupPrivilegeValueW(NULL, L"SeLockMemoryPrivilege",
                              &privileges.Privileges[0].Luid) &&
        OpenThreadToken(GetCurrentThread(), TOKEN_ADJUST_PRIVILEGES, TRUE,
                        &token)) {
        AdjustTokenPrivileges(token, FALSE, &privileges, 0, NULL, NULL);
        CloseHandle(token);
    }
    return TRUE;
}

/* CreateFileMappingW; 0 with *section and *created, or -1. */
static int
mapping_create_section(const mapping_options *options, const wchar_t *name,
                       HANDLE file, uint64_t maximum,
                       SECURITY_ATTRIBUTES *security, HANDLE *section,
                       BOOL *created)
{
    DWORD protection = mapping_page_protection(options->access);
    if (options->reserve) {
        protection |= SEC_RESERVE;
    }
    if (options->large_pages) {
        protection |= SEC_COMMIT | SEC_LARGE_PAGES;
    }
    DWORD err;
    BOOL impersonates = options->large_pages && mapping_lock_memory_begin();
    WI_CALL(err, *section = CreateFileMappingW(
                     file != NULL ? file : INVALID_HANDLE_VALUE, security,
                     protection, (DWORD)(maximum >> 32),
                     (DWORD)(maximum & 0xffffffff), name));
    if (impersonates) {
        RevertToSelf();
    }
    PyObject *label = options->name != Py_None   ? options->name
                      : options->file != Py_None ? options->file
                                                 : NULL;
    if (*section == NULL && label == NULL) {
        label = PyUnicode_FromString("unnamed mapping");
        if (label != NULL) {
            wi_raise(err, "CreateFileMappingW", label);
            Py_DECREF(label);
        }
        return -1;
    }
    if (*section == NULL) {
        wi_raise(err, "CreateFileMappingW", label);
        return -1;
    }
    *created = err != ERROR_ALREADY_EXISTS;
    if (!*created && !options->exist_ok) {
        CloseHandle(*section);
        *section = NULL;
        wi_raise(ERROR_ALREADY_EXISTS, "CreateFileMappingW", options->name);
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(mapping_create_doc,
             "_create($type, name, size, access='readwrite', file=None,"
             " offset=0,\n        exist_ok=False, security=None,"
             " reserve=False, large_pages=False, header=False, /)\n--\n\n"
             "What SharedMapping.create() calls.\n\n"
             "Win32: CreateFileW, CreateFileMappingW, MapViewOfFile.");

/* Positions only: what runs after a system call runs from cold caches, where
 * ten keywords cost some microseconds. */
static PyObject *
mapping_create(PyObject *cls, PyObject *args)
{
    mapping_options options = {
        .file = Py_None, .security = Py_None, .access = REGION_WRITE};
    wi_security security;
    memset(&security, 0, sizeof(security));
    if (!PyArg_ParseTuple(
            args, "OO&|O&OO&pOppp:_create", &options.name,
            mapping_size_converter, &options.size, mapping_access_converter,
            &options.access, &options.file, mapping_size_converter,
            &options.offset, &options.exist_ok, &options.security,
            &options.reserve, &options.large_pages, &options.header)) {
        return NULL;
    }

    RegionObject *self = NULL;
    wchar_t *name = NULL;
    HANDLE file = NULL;
    HANDLE section = NULL;
    uint64_t maximum;
    BOOL created;
    int ok = 0;
    if (mapping_check_options(&options) < 0 ||
        mapping_name(options.name, &name) < 0 ||
        wi_security_init(&security, options.security) < 0 ||
        mapping_open_file(&options, &file) < 0 ||
        mapping_maximum(&options, file, &maximum) < 0 ||
        mapping_create_section(&options, name, file, maximum,
                               wi_security_attributes(&security), &section,
                               &created) < 0) {
        goto done;
    }
    BOOL fresh =
        created && file == NULL && !options.reserve && !options.large_pages;
    self = mapping_new(cls, options.name);
    if (self == NULL ||
        mapping_map(self, section, options.access, options.offset,
                    options.header ? 0 : options.size,
                    options.large_pages ? FILE_MAP_LARGE_PAGES : 0,
                    fresh ? maximum : 0) < 0) {
        goto done;
    }
    if (options.header && created) {
        mapping_header_write(self, options.size);
    }
    else if (options.header &&
             mapping_header_accept(self, 0, options.size) < 0) {
        goto done;
    }
    self->created = (char)created;
    self->section = section;
    self->file = file;
    ok = 1;
done:
    if (!ok) {
        mapping_drop(&self);
        if (section != NULL) {
            CloseHandle(section);
        }
        if (file != NULL) {
            CloseHandle(file);
        }
    }
    wi_security_clear(&security);
    PyMem_Free(name);
    return (PyObject *)self;
}

/* ------------------------------------------------------------------- open */

/* mapping_map(), or the same behind a header. */
static int
mapping_map_behind(RegionObject *self, HANDLE section, int access,
                   uint64_t offset, uint64_t size, int header)
{
    if (!header) {
        return mapping_map(self, section, access, offset, size, 0, 0);
    }
    if (mapping_map(self, section, access, 0, 0, 0, 0) < 0) {
        return -1;
    }
    return mapping_header_accept(self, offset, size);
}

PyDoc_STRVAR(mapping_open_doc,
             "_open($type, name, access='readwrite', offset=0,"
             " size=None,\n      header=False, /)\n--\n\n"
             "What SharedMapping.open() calls.\n\n"
             "Win32: OpenFileMappingW, MapViewOfFile.");

static PyObject *
mapping_open(PyObject *cls, PyObject *args)
{
    PyObject *name;
    uint64_t offset = 0, size = 0;
    int access = REGION_WRITE, header = 0;
    if (!PyArg_ParseTuple(args, "U|O&O&O&p:_open", &name,
                          mapping_access_converter, &access,
                          mapping_size_converter, &offset,
                          mapping_size_converter, &size, &header)) {
        return NULL;
    }
    wchar_t *wide;
    if (mapping_name(name, &wide) < 0) {
        return NULL;
    }
    DWORD rights = mapping_section_access(access);
    RegionObject *self = NULL;
    HANDLE section;
    DWORD err;
    WI_CALL(err,
            section = OpenFileMappingW(rights | SECTION_QUERY, FALSE, wide));
    if (section == NULL && err == ERROR_ACCESS_DENIED) {
        /* Asking for the size is a right that can be done without. */
        WI_CALL(err, section = OpenFileMappingW(rights, FALSE, wide));
    }
    if (section == NULL) {
        wi_raise(err, "OpenFileMappingW", name);
        goto done;
    }
    self = mapping_new(cls, name);
    if (self == NULL ||
        mapping_map_behind(self, section, access, offset, size, header) < 0) {
        mapping_drop(&self);
        CloseHandle(section);
        goto done;
    }
    self->section = section;
done:
    PyMem_Free(wide);
    return (PyObject *)self;
}

PyDoc_STRVAR(mapping_from_handle_doc,
             "_from_handle($type, handle, access='readwrite', offset=0,"
             "\n             size=None, name=None, header=False, /)\n--\n\n"
             "What SharedMapping.from_handle() calls.\n\n"
             "Win32: MapViewOfFile.");

static PyObject *
mapping_from_handle(PyObject *cls, PyObject *args)
{
    PyObject *name = Py_None;
    uint64_t offset = 0, size = 0;
    int access = REGION_WRITE, header = 0;
    HANDLE section;
    if (!PyArg_ParseTuple(
            args, "O&|O&O&O&Op:_from_handle", wi_handle_converter, &section,
            mapping_access_converter, &access, mapping_size_converter, &offset,
            mapping_size_converter, &size, &name, &header)) {
        return NULL;
    }
    wchar_t *wide; /* only to check it */
    if (mapping_name(name, &wide) < 0) {
        return NULL;
    }
    PyMem_Free(wide);
    RegionObject *self = mapping_new(cls, name);
    if (self != NULL &&
        mapping_map_behind(self, section, access, offset, size, header) < 0) {
        mapping_drop(&self);
    }
    if (self != NULL) {
        self->section = section;
    }
    return (PyObject *)self;
}

/* -------------------------------------------------------------- diagnosis */

PyDoc_STRVAR(mapping_probe_doc,
             "_probe(name, /)\n--\n\n"
             "The winerror of opening `name` for reading; 0 when it opens.\n\n"
             "Win32: OpenFileMappingW.");

static PyObject *
mapping_probe(PyObject *unused, PyObject *name)
{
    WI_UNUSED(unused);
    wchar_t *wide;
    if (wi_wide_name(name, &wide) < 0) {
        return NULL;
    }
    HANDLE section;
    DWORD err;
    WI_CALL(err, section = OpenFileMappingW(FILE_MAP_READ, FALSE, wide));
    if (section != NULL) {
        CloseHandle(section);
        err = ERROR_SUCCESS;
    }
    PyMem_Free(wide);
    return PyLong_FromUnsignedLong(err);
}

PyDoc_STRVAR(mapping_session_doc,
             "_session()\n--\n\n"
             "The number of the session of this process.\n\n"
             "Win32: ProcessIdToSessionId.");

static PyObject *
mapping_session(PyObject *unused, PyObject *unused_too)
{
    WI_UNUSED(unused);
    WI_UNUSED(unused_too);
    DWORD session, err;
    BOOL ok;
    WI_CALL_GIL(err,
                ok = ProcessIdToSessionId(GetCurrentProcessId(), &session));
    if (!ok) {
        PyObject *label = PyUnicode_FromString("this process");
        if (label != NULL) {
            wi_raise(err, "ProcessIdToSessionId", label);
            Py_DECREF(label);
        }
        return NULL;
    }
    return PyLong_FromUnsignedLong(session);
}

/* ------------------------------------------------------------------ views */

PyDoc_STRVAR(mapping_view_doc,
             "_view($self, type, access=None, offset=0, size=None, /)"
             "\n--\n\n"
             "What SharedMapping.view() calls.\n\n"
             "Win32: MapViewOfFile.");

static PyObject *
mapping_view(PyObject *op, PyObject *args)
{
    RegionObject *self = (RegionObject *)op;
    PyObject *type, *access_name = Py_None;
    uint64_t offset = 0, size = 0;
    int access = self->access;
    if (!PyArg_ParseTuple(args, "O|OO&O&:_view", &type, &access_name,
                          mapping_size_converter, &offset,
                          mapping_size_converter, &size)) {
        return NULL;
    }
    if (access_name != Py_None &&
        !mapping_access_converter(access_name, &access)) {
        return NULL;
    }
    wi_state *state = wi_state_of(Py_TYPE(op));
    if (state == NULL) {
        return NULL;
    }
    if (!PyType_Check(type) ||
        !PyType_IsSubtype((PyTypeObject *)type, state->view_type)) {
        PyErr_Format(PyExc_TypeError, "%R is not a MappingView type", type);
        return NULL;
    }
    RegionObject *view = mapping_new(type, self->name);
    if (view == NULL) {
        return NULL;
    }
    if (wi_bytes_check_open(op) < 0) {
        Py_DECREF(view);
        return NULL;
    }
    uint64_t shift = 0;
    if (self->header != 0) {
        /* Offsets are those behind the header, and its size is the end. */
        uint64_t whole = self->payload;
        if (offset > whole || size > whole - offset || offset == whole) {
            PyErr_Format(PyExc_ValueError,
                         "%llu bytes at offset %llu leave the %llu bytes of "
                         "%R",
                         size, offset, whole, op);
            Py_DECREF(view);
            return NULL;
        }
        shift = self->header;
        size = size != 0 ? size : whole - offset;
    }
    self->bytes.pins++;
    int failed =
        mapping_map(view, self->section, access, shift + offset, size, 0, 0);
    wi_bytes_unpin(op);
    if (failed) {
        mapping_drop(&view);
        return NULL;
    }
    view->offset = offset;
    view->owner = Py_NewRef(op);
    self->views++;
    return (PyObject *)view;
}

/* ----------------------------------------------------------- commit, share */

PyDoc_STRVAR(
    mapping_commit_doc,
    "commit($self, size=0, /)\n--\n\n"
    "Make at least `size` bytes of a reserved mapping usable.\n\n"
    "Also takes notice of what peers committed, and returns the size\n"
    "that can be used now. Memory is never taken away again.\n"
    "Raises ValueError for more than was reserved, TypeError for a\n"
    "mapping that is not writable, and OSError (winerror 1455) when\n"
    "the system is out of memory. Any thread.\n\n"
    "Win32: VirtualAlloc, VirtualQuery.");

static PyObject *
mapping_commit(PyObject *op, PyObject *args)
{
    RegionObject *self = (RegionObject *)op;
    Py_ssize_t size = 0;
    if (!PyArg_ParseTuple(args, "|n:commit", &size) ||
        wi_bytes_check_open(op) < 0) {
        return NULL;
    }
    if (size < 0 || size > self->total) {
        PyErr_Format(PyExc_ValueError,
                     "cannot commit %zd bytes: %zd are reserved", size,
                     self->total);
        return NULL;
    }
    SIZE_T delta = (SIZE_T)(self->bytes.base - self->start);
    if (size > self->mapped) {
        if (self->access != REGION_WRITE) {
            PyErr_Format(PyExc_TypeError,
                         "only access='readwrite' can commit, not %R", op);
            return NULL;
        }
        DWORD err;
        void *done;
        self->bytes.pins++;
        WI_CALL(err, done = VirtualAlloc(self->start, delta + (SIZE_T)size,
                                         MEM_COMMIT, PAGE_READWRITE));
        wi_bytes_unpin(op);
        if (done == NULL) {
            PyObject *label = wi_region_label(self);
            if (label != NULL) {
                wi_raise(err, "VirtualAlloc", label);
                Py_DECREF(label);
            }
            return NULL;
        }
    }
    SIZE_T usable, total;
    mapping_measure(self->start, self->access, &usable, &total);
    Py_ssize_t mapped = usable > delta ? (Py_ssize_t)(usable - delta) : 0;
    if (mapped > self->mapped) {
        self->mapped = mapped;
        /* What peers committed is known in whole pages only. */
        self->bytes.size = size > self->bytes.size ? size : mapped;
        self->exact = size == self->bytes.size;
    }
    else if (size > self->bytes.size) {
        self->bytes.size = size;
        self->exact = 1;
    }
    return PyLong_FromSsize_t(self->bytes.size);
}

PyDoc_STRVAR(mapping_duplicate_doc,
             "_duplicate_to($self, pid, access=None, /)\n--\n\n"
             "What SharedMapping.duplicate_to() calls.\n\n"
             "Win32: OpenProcess, DuplicateHandle.");

static PyObject *
mapping_duplicate(PyObject *op, PyObject *args)
{
    RegionObject *self = (RegionObject *)op;
    PyObject *access_name = Py_None;
    DWORD pid;
    int access = self->access;
    if (!PyArg_ParseTuple(args, "O&|O:_duplicate_to", wi_u32_converter, &pid,
                          &access_name)) {
        return NULL;
    }
    if ((access_name != Py_None &&
         !mapping_access_converter(access_name, &access)) ||
        wi_bytes_check_open(op) < 0) {
        return NULL;
    }
    DWORD rights = mapping_section_access(access) | SECTION_QUERY;
    HANDLE process, copy = NULL;
    PyObject *result = NULL;
    BOOL ok = FALSE;
    DWORD err;
    self->bytes.pins++;
    WI_CALL(err, process = OpenProcess(PROCESS_DUP_HANDLE, FALSE, pid));
    if (process == NULL) {
        PyObject *label = PyUnicode_FromFormat("pid %lu", (unsigned long)pid);
        if (label != NULL) {
            wi_raise_as(err == ERROR_INVALID_PARAMETER
                            ? PyExc_ProcessLookupError
                            : PyExc_OSError,
                        err, "OpenProcess", label);
            Py_DECREF(label);
        }
        goto done;
    }
    WI_CALL(err, ok = DuplicateHandle(GetCurrentProcess(), self->section,
                                      process, &copy, rights, FALSE, 0));
    if (!ok && err == ERROR_ACCESS_DENIED) {
        /* Our own handle may lack SECTION_QUERY (see _open). */
        rights &= ~(DWORD)SECTION_QUERY;
        WI_CALL(err, ok = DuplicateHandle(GetCurrentProcess(), self->section,
                                          process, &copy, rights, FALSE, 0));
    }
    if (!ok) {
        PyObject *label = wi_region_label(self);
        if (label != NULL) {
            wi_raise(err, "DuplicateHandle", label);
            Py_DECREF(label);
        }
        goto done;
    }
    result = PyLong_FromVoidPtr(copy);
done:
    wi_bytes_unpin(op);
    if (process != NULL) {
        CloseHandle(process);
    }
    return result;
}

/* ------------------------------------------------------------- properties */

static PyObject *
mapping_get_handle(PyObject *op, void *closure)
{
    WI_UNUSED(closure);
    RegionObject *self = (RegionObject *)op;
    if (wi_bytes_check_open(op) < 0) {
        return NULL;
    }
    return PyLong_FromVoidPtr(self->section);
}

/* The rights that a duplicate of the handle is to have. */
static PyObject *
mapping_get_rights(PyObject *op, void *closure)
{
    WI_UNUSED(closure);
    RegionObject *self = (RegionObject *)op;
    DWORD rights = mapping_section_access(self->access);
    ACCESS_MASK granted =
        self->section != NULL ? sync_granted_access(self->section) : 0;
    if (granted == 0 || granted & SECTION_QUERY) { /* 0: not known */
        rights |= SECTION_QUERY;
    }
    return PyLong_FromUnsignedLong(rights);
}

static PyObject *
mapping_get_created(PyObject *op, void *closure)
{
    WI_UNUSED(closure);
    return PyBool_FromLong(((RegionObject *)op)->created);
}

static PyObject *
mapping_get_owner_pid(PyObject *op, void *closure)
{
    WI_UNUSED(closure);
    RegionObject *self = (RegionObject *)op;
    if (self->header == 0) {
        return Py_NewRef(Py_None);
    }
    return PyLong_FromUnsignedLong(self->owner_pid);
}

static PyObject *
mapping_get_version(PyObject *op, void *closure)
{
    WI_UNUSED(closure);
    RegionObject *self = (RegionObject *)op;
    if (self->header == 0) {
        return Py_NewRef(Py_None);
    }
    return PyLong_FromLong(self->version);
}

static PyGetSetDef mapping_getset[] = {
    {"owner_pid", mapping_get_owner_pid, NULL,
     "The process that created it, as its header says; None without header.",
     NULL},
    {"layout_version", mapping_get_version, NULL,
     "The version of the header in front; None without header.", NULL},
    {"handle", mapping_get_handle, NULL,
     "The section's handle; it stays this object's.", NULL},
    {"_access", mapping_get_rights, NULL, NULL, NULL},
    {"created", mapping_get_created, NULL,
     "Whether this object made the mapping (and did not find it there).",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef mapping_members[] = {
    {"reserved", Py_T_PYSSIZET, offsetof(RegionObject, total), Py_READONLY,
     "How many bytes commit() can make usable, in whole pages."},
    {"views", Py_T_PYSSIZET, offsetof(RegionObject, views), Py_READONLY,
     "How many views of view() are open."},
    {NULL, 0, 0, 0, NULL},
};

static PyMemberDef view_members[] = {
    {"mapping", T_OBJECT, offsetof(RegionObject, owner), Py_READONLY,
     "The SharedMapping that this is a view of."},
    {NULL, 0, 0, 0, NULL},
};

/* ------------------------------------------------------------------ types */

static PyMethodDef mapping_methods[] = {
    {"_create", mapping_create, METH_VARARGS | METH_CLASS, mapping_create_doc},
    {"_open", mapping_open, METH_VARARGS | METH_CLASS, mapping_open_doc},
    {"_from_handle", mapping_from_handle, METH_VARARGS | METH_CLASS,
     mapping_from_handle_doc},
    {"_probe", mapping_probe, METH_O | METH_STATIC, mapping_probe_doc},
    {"_session", mapping_session, METH_NOARGS | METH_STATIC,
     mapping_session_doc},
    {"_view", mapping_view, METH_VARARGS, mapping_view_doc},
    {"commit", mapping_commit, METH_VARARGS, mapping_commit_doc},
    {"_duplicate_to", mapping_duplicate, METH_VARARGS, mapping_duplicate_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(mapping_doc, "A section and a view of it.");
PyDoc_STRVAR(view_doc, "One more view of a mapping, at another offset.");

static PyType_Slot mapping_slots[] = {
    {Py_tp_doc, (void *)mapping_doc}, {Py_tp_traverse, wi_region_traverse},
    {Py_tp_methods, mapping_methods}, {Py_tp_members, mapping_members},
    {Py_tp_getset, mapping_getset},   {0, NULL},
};

static PyType_Slot view_slots[] = {
    {Py_tp_doc, (void *)view_doc},
    {Py_tp_traverse, wi_region_traverse},
    {Py_tp_members, view_members},
    {0, NULL},
};

#define MAPPING_FLAGS                                                         \
    (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |          \
     Py_TPFLAGS_IMMUTABLETYPE)

static PyType_Spec mapping_spec = {
    .name = "winipc._core.SharedMapping",
    .basicsize = sizeof(RegionObject),
    .flags = MAPPING_FLAGS,
    .slots = mapping_slots,
};

static PyType_Spec view_spec = {
    .name = "winipc._core.MappingView",
    .basicsize = sizeof(RegionObject),
    .flags = MAPPING_FLAGS,
    .slots = view_slots,
};

static int
mapping_add_type(PyObject *module, PyType_Spec *spec, PyTypeObject *base,
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
wi_mapping_init(PyObject *module, wi_state *state)
{
    if (mapping_add_type(module, &mapping_spec, state->region_type,
                         &state->mapping_type) < 0 ||
        mapping_add_type(module, &view_spec, state->region_type,
                         &state->view_type) < 0) {
        return -1;
    }
    return 0;
}
