/* mapping.c: SharedMapping and its views.
 *
 *     m = SharedMapping.create("Local\\state", 4096)   # or open(name)
 *     m[0:5] = b"hello"                # checked; region.c has the rest
 *     memoryview(m)[0]                 # the memory itself
 *     v = m.view(70_000, 1000)         # more of the same section
 *     m.duplicate_to(pid)              # a handle for from_handle() there
 *     m.close()                        # BufferError while v is open
 *
 * Owner: a SharedMapping owns the section's handle, the first view of the
 * section, and the handle of the file behind it, if any. A MappingView owns
 * another view and pins its mapping. Thread: any. GIL: given up to map, open
 * and wait.
 *
 * Windows maps at multiples of its allocation granularity (64 KiB) and in
 * whole pages. Callers ask for any offset and size; this file hides the
 * difference. Unless this process has just made the section, VirtualQuery
 * tells what was mapped: a peer may have made the section smaller, reserved
 * but not committed, or an executable image. */
#include "region.h"

#include "../../include/winipc.h"
#include "base/guard.h"
#include "base/handles.h"
#include "base/nt.h"

#include <psapi.h>

#ifndef SEC_FILE
#define SEC_FILE 0x00800000
#endif
#ifndef FILE_MAP_LARGE_PAGES
#define FILE_MAP_LARGE_PAGES 0x20000000
#endif

/* -------------------------------------------------------------- arguments */

/* O& converter of a size or offset, which is not negative; None gives 0. */
static int
mapping_size_converter(PyObject *value, void *out)
{
    long long number = 0;
    if (value != Py_None) {
        PyObject *index = PyNumber_Index(value);
        if (index == NULL) {
            return wi_wrong_type("sizes and offsets must be ints", value);
        }
        number = PyLong_AsLongLong(index);
        Py_DECREF(index);
    }
    if (number < 0) {
        if (!PyErr_Occurred()) {
            PyErr_Format(PyExc_ValueError,
                         "sizes and offsets must not be negative, not %lld",
                         number);
        }
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

/* The rights of a handle. A copy view needs the right to read only. */
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

/* Measure the memory at base: *usable is how many bytes are committed and may
 * be touched as `access` says, *total how many bytes the view has. */
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

/* What is behind a section. */
typedef enum {
    BACKING_COMMITTED, /* the page file, and all of it is committed */
    BACKING_PAGEFILE,
    BACKING_FILE,
    BACKING_UNKNOWN
} mapping_backing;

/* The section's size as Windows has it, which is exact for files; 0 if the
 * handle lacks SECTION_QUERY. */
static uint64_t
mapping_section_size(HANDLE section, mapping_backing *backing)
{
    wi_section_info info;
    memset(&info, 0, sizeof(info));
    if (!WI_NT_SUCCESS(
            NtQuerySection(section, 0, &info, sizeof(info), NULL))) {
        *backing = BACKING_UNKNOWN;
        return 0;
    }
    *backing = info.attributes & SEC_FILE      ? BACKING_FILE
               : info.attributes == SEC_COMMIT ? BACKING_COMMITTED
                                               : BACKING_PAGEFILE;
    return (uint64_t)info.size.QuadPart;
}

/* The rights that a duplicate of the handle gets. If the handle itself lacks
 * SECTION_QUERY (see _open), no duplicate can have it. */
static DWORD
mapping_rights(HANDLE section, int access)
{
    mapping_backing backing;
    DWORD rights = mapping_section_access(access);
    mapping_section_size(section, &backing);
    return backing == BACKING_UNKNOWN ? rights : rights | SECTION_QUERY;
}

static void
mapping_raise_range(RegionObject *self, uint64_t offset, uint64_t size,
                    uint64_t whole)
{
    PyErr_Format(PyExc_ValueError,
                 "%llu bytes at offset %llu do not fit in the %llu of '%V'",
                 size, offset, whole, WI_REGION_LABEL(self));
}

/* Raise MapViewOfFile's error, or a clearer ValueError if the range is
 * wrong. */
static void
mapping_raise_view(RegionObject *self, DWORD err, HANDLE section,
                   uint64_t offset, uint64_t size)
{
    mapping_backing backing;
    uint64_t whole = mapping_section_size(section, &backing);
    if (whole != 0 && (offset >= whole || size > whole - offset)) {
        mapping_raise_range(self, offset, size, whole);
    }
    else {
        wi_region_raise(self, err, "MapViewOfFile");
    }
}

/* The units in which Windows maps, on every processor. */
enum { MAPPING_GRANULARITY = 0x10000, MAPPING_PAGE = 0x1000 };

/* What was mapped. */
typedef struct {
    SIZE_T usable, total; /* as mapping_measure() tells */
    uint64_t whole;       /* of the section; 0 if that is not known */
    mapping_backing backing;
} mapping_extent;

/* Find out what was mapped at base: length bytes (0: all) of the section, from
 * start on. If all pages are committed and of the page file, all of them are
 * usable. fresh is the size of such a section if it is known, else 0. */
static void
mapping_look(char *base, HANDLE section, int access, uint64_t start,
             SIZE_T length, uint64_t fresh, mapping_extent *extent)
{
    extent->whole = fresh;
    extent->backing = BACKING_COMMITTED;
    if (fresh == 0) {
        extent->whole = mapping_section_size(section, &extent->backing);
    }
    if (extent->backing == BACKING_COMMITTED) {
        SIZE_T bytes = length != 0 ? length : (SIZE_T)(extent->whole - start);
        extent->usable = extent->total =
            (bytes + MAPPING_PAGE - 1) / MAPPING_PAGE * MAPPING_PAGE;
        return;
    }
    mapping_measure(base, access, &extent->usable, &extent->total);
    if (extent->backing == BACKING_UNKNOWN) {
        wchar_t unused[4]; /* too short for any name: only the error counts */
        if (!K32GetMappedFileNameW(GetCurrentProcess(), base, unused, 4) &&
            GetLastError() == ERROR_FILE_INVALID) {
            extent->backing = BACKING_PAGEFILE;
        }
    }
}

enum {
    MAP_LARGE_PAGES = 1, /* the section has large pages */
    MAP_RESERVED = 2,    /* fewer than size bytes may be committed yet */
};

/* Map size bytes (0: all that follow) at offset into self, which is closed and
 * owns nothing yet. fresh is the size of the section if this process has just
 * made it of committed pages of the page file, so that Windows need not be
 * asked; else 0. */
static int
mapping_map(RegionObject *self, HANDLE section, int access, uint64_t offset,
            uint64_t size, int flags, uint64_t fresh)
{
    /* Large pages are mapped as a whole: a view must end where a page ends. */
    BOOL all = flags & MAP_LARGE_PAGES;
    uint64_t delta = all ? offset : offset % MAPPING_GRANULARITY;
    uint64_t start = offset - delta;
    if (size > (uint64_t)PY_SSIZE_T_MAX - delta) {
        PyErr_SetString(PyExc_OverflowError,
                        "size does not fit in the address space");
        return -1;
    }
    SIZE_T length = size == 0 || all ? 0 : (SIZE_T)(delta + size);
    DWORD view_access =
        mapping_view_access(access) | (all ? FILE_MAP_LARGE_PAGES : 0);
    char *base;
    DWORD err;
    WI_CALL(err,
            base = MapViewOfFile(section, view_access, (DWORD)(start >> 32),
                                 (DWORD)(start & 0xffffffff), length));
    if (base == NULL) {
        mapping_raise_view(self, err, section, offset, size);
        return -1;
    }

    mapping_extent extent;
    mapping_look(base, section, access, start, length, fresh, &extent);
    uint64_t after = extent.usable > delta ? extent.usable - delta : 0;
    self->mapped = (Py_ssize_t)after;
    self->total =
        extent.total > delta ? (Py_ssize_t)(extent.total - delta) : 0;
    const BOOL pagefile = extent.backing <= BACKING_PAGEFILE;
    if (!pagefile && extent.whole > offset && after > extent.whole - offset) {
        after = extent.whole - offset; /* a file's length is exact */
    }
    self->bytes.size = (Py_ssize_t)(size != 0 && size < after ? size : after);
    self->exact = size != 0 || extent.backing == BACKING_FILE;
    self->bytes.guarded = !pagefile;
    self->access = (char)access;
    self->offset = offset;

    if (self->total == 0) {
        PyErr_Format(PyExc_ValueError,
                     "offset %llu is beyond the %llu bytes that can be mapped",
                     offset, (unsigned long long)extent.total + start);
        goto failed;
    }
    if (size > after && !(flags & MAP_RESERVED)) {
        PyErr_Format(PyExc_ValueError,
                     "only %llu of the %llu bytes at offset %llu can be used "
                     "with this access%s",
                     after, size, offset,
                     self->total > self->mapped
                         ? ": more is reserved, for commit() after an open() "
                           "without size"
                         : "");
        goto failed;
    }
    if (self->bytes.guarded) {
        if (wi_guard_hold() < 0) {
            PyErr_NoMemory();
            goto failed;
        }
        self->guard = 1;
    }
    self->start = base;
    self->bytes.base = base + delta;
    self->bytes.readonly = access == REGION_READ;
    self->bytes.to_write = ": open the mapping with access='readwrite'";
    return 0;

failed:
    UnmapViewOfFile(base);
    return -1;
}

/* ----------------------------------------------------------------- header */

/* How long after its mapping a header may take to appear. */
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

/* Make self the memory behind its header. */
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

/* The bytes of a header with `size` bytes about a layout: a hash, which is in
 * the header itself, and a description behind it. */
static size_t
mapping_header_room(Py_ssize_t size)
{
    const size_t hash = sizeof(uint64_t), unit = sizeof(winipc_mapping_header);
    size_t described = (size_t)size > hash ? (size_t)size - hash : 0;
    return (1 + (described + unit - 1) / unit) * unit;
}

/* Write the header, as its creator. The magic comes last. */
static void
mapping_header_write(RegionObject *self, uint64_t size, const char *layout,
                     Py_ssize_t layout_size)
{
    winipc_mapping_header header;
    memset(&header, 0, sizeof(header));
    header.version = WINIPC_MAPPING_VERSION;
    header.header_size = (uint16_t)mapping_header_room(layout_size);
    header.size = size;
    if (layout_size >= (Py_ssize_t)sizeof(header.layout)) {
        memcpy(&header.layout, layout, sizeof(header.layout));
        memcpy(self->bytes.base + sizeof(header),
               layout + sizeof(header.layout),
               (size_t)layout_size - sizeof(header.layout));
    }
    header.owner_pid = GetCurrentProcessId();
    header.created = wi_filetime_now();
    memcpy(self->bytes.base, &header, sizeof(header));
    MemoryBarrier(); /* release */
    *(volatile uint32_t *)self->bytes.base = WINIPC_MAPPING_MAGIC;
    mapping_header_hide(self, &header);
}

/* Accept a header that another process wrote: wait a little for the magic,
 * check a private copy, and make self [offset, offset + size) of the bytes
 * behind it (size 0: to the end). self is the whole mapping before. */
static int
mapping_header_accept(RegionObject *self, uint64_t offset, uint64_t size)
{
    header_read job = {.from = self->bytes.base};
    const winipc_mapping_header *header = &job.copy;
    uint64_t mapped = (uint64_t)self->bytes.size;
    ULONGLONG start = GetTickCount64();
    while (mapped >= sizeof(*header)) {
        if (wi_bytes_guarded((PyObject *)self, mapping_header_copy, &job) <
            0) {
            return -1;
        }
        if (header->magic != 0) {
            break;
        }
        if (GetTickCount64() - start >= MAPPING_HEADER_PATIENCE_MS) {
            wi_raise_text(PyExc_TimeoutError, ERROR_TIMEOUT,
                          "its header is still 0: its creator died, or made "
                          "it without one",
                          "reading the header",
                          self->name != NULL ? self->name : Py_None);
            return -1;
        }
        Py_BEGIN_ALLOW_THREADS
        Sleep(1);
        Py_END_ALLOW_THREADS
        if (PyErr_CheckSignals() < 0) {
            return -1;
        }
    }
    const char *fault = winipc_mapping_header_fault(header, mapped);
    if (fault != NULL) {
        PyErr_Format(PyExc_ValueError, "'%V' has %s", WI_REGION_LABEL(self),
                     fault);
        return -1;
    }
    if (offset > header->size || size > header->size - offset) {
        mapping_raise_range(self, offset, size, header->size);
        return -1;
    }
    if (header->layout != 0) {
        self->described = PyBytes_FromStringAndSize(NULL, header->header_size);
        if (self->described == NULL ||
            wi_bytes_copy((PyObject *)self, PyBytes_AsString(self->described),
                          self->bytes.base, header->header_size) < 0) {
            return -1;
        }
    }
    mapping_header_hide(self, header);
    self->bytes.base += offset;
    self->bytes.size = (Py_ssize_t)(size != 0 ? size : header->size - offset);
    self->mapped -= (Py_ssize_t)offset;
    self->total -= (Py_ssize_t)offset;
    self->offset = offset;
    return 0;
}

/* A closed region of this type and name. */
static RegionObject *
mapping_new(PyObject *type, PyObject *name)
{
    RegionObject *self = wi_alloc((PyTypeObject *)type);
    if (self != NULL) {
        self->bytes.release = wi_region_release;
        self->name = name == Py_None ? NULL : Py_XNewRef(name);
    }
    return self;
}

/* Free a region that Python code has not seen; it owns at most its view. Keeps
 * the current exception. */
static void
mapping_drop(RegionObject **self)
{
    WI_KEEP_ERROR
    if (*self != NULL && wi_region_release((PyObject *)*self) < 0) {
        PyErr_Clear();
    }
    Py_CLEAR(*self);
    WI_END_KEEP_ERROR
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
    const char *layout; /* NULL without a header */
    Py_ssize_t layout_size;
} mapping_options;

/* Open the file to map by its path, or duplicate its handle. *made is whether
 * this call has created the file. */
static int
mapping_open_file(const mapping_options *options, HANDLE *out, BOOL *made)
{
    HANDLE file = INVALID_HANDLE_VALUE;
    DWORD err;
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
    *made = how == OPEN_ALWAYS && err != ERROR_ALREADY_EXISTS;
    return 0;
}

/* Delete a file that this call has created. By its handle: the path may be
 * that of another file by now. */
static void
mapping_unmake_file(HANDLE file)
{
    HANDLE again = ReOpenFile(
        file, DELETE, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
        FILE_FLAG_DELETE_ON_CLOSE);
    if (again != INVALID_HANDLE_VALUE) {
        CloseHandle(again);
    }
}

/* Whether the file behind the page at base is this one, by any path. FALSE for
 * memory without a file, and if it is not known. */
static BOOL
mapping_is_of_file(void *base, HANDLE file)
{
    static const wchar_t root[] = L"\\\\?\\GLOBALROOT";
    enum { ROOT = Py_ARRAY_LENGTH(root) - 1, ROOM = 32768 };
    BY_HANDLE_FILE_INFORMATION ours, theirs;
    BOOL same = FALSE;
    const SIZE_T room = sizeof(wi_unicode_string) + ROOM * sizeof(*root);
    /* Not K32GetMappedFileNameW, which takes 260 characters at most. */
    wi_unicode_string *name =
        HeapAlloc(GetProcessHeap(), 0, room + sizeof(root));
    if (name == NULL) {
        return FALSE;
    }
    if (WI_NT_SUCCESS(NtQueryVirtualMemory(GetCurrentProcess(), base,
                                           WI_MAPPED_FILE_NAME, name, room,
                                           NULL))) {
        wchar_t *path = name->buffer;
        memmove(path + ROOT, path, name->length);
        path[ROOT + name->length / sizeof(*path)] = L'\0';
        memcpy(path, root, ROOT * sizeof(*path));
        wchar_t *from = path; /* \\?\GLOBALROOT\Device\HarddiskVolume1\... */
        if (wcsncmp(path + ROOT, L"\\??\\", 4) == 0) {
            from += ROOT; /* of Wine: make it \\?\C:\... */
            from[1] = L'\\';
        }
        HANDLE other = CreateFileW(
            from, 0, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
            NULL, OPEN_EXISTING, 0, NULL);
        if (other != INVALID_HANDLE_VALUE) {
            same = GetFileInformationByHandle(file, &ours) &&
                   GetFileInformationByHandle(other, &theirs) &&
                   ours.dwVolumeSerialNumber == theirs.dwVolumeSerialNumber &&
                   ours.nFileIndexHigh == theirs.nFileIndexHigh &&
                   ours.nFileIndexLow == theirs.nFileIndexLow;
            CloseHandle(other);
        }
    }
    wi_heap_free(name);
    return same;
}

/* Set *out to the size of the section to create; 0: as large as the file. */
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
        if (options->layout != NULL) {
            *out += mapping_header_room(options->layout_size);
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
    WI_CALL(err, *section = CreateFileMappingW(
                     file != NULL ? file : INVALID_HANDLE_VALUE, security,
                     protection, (DWORD)(maximum >> 32),
                     (DWORD)(maximum & 0xffffffff), name));
    if (*section != NULL) {
        *created = err != ERROR_ALREADY_EXISTS;
        if (*created || options->exist_ok) {
            return 0;
        }
        CloseHandle(*section);
        *section = NULL;
        err = ERROR_ALREADY_EXISTS;
    }
    if (options->name == Py_None && options->file == Py_None) {
        wi_raise_format(err, "CreateFileMappingW", "unnamed mapping");
    }
    else {
        wi_raise(err, "CreateFileMappingW",
                 options->name != Py_None ? options->name : options->file);
    }
    return -1;
}

/* By position only: after a system call the processor's caches are cold, and
 * ten keywords would cost some microseconds. */
static PyObject *
mapping_create(PyObject *cls, PyObject *args)
{
    mapping_options options = {
        .file = Py_None, .security = Py_None, .access = REGION_WRITE};
    wi_security security;
    memset(&security, 0, sizeof(security));
    if (!PyArg_ParseTuple(
            args, "OO&iOO&pOppz#:_create", &options.name,
            mapping_size_converter, &options.size, &options.access,
            &options.file, mapping_size_converter, &options.offset,
            &options.exist_ok, &options.security, &options.reserve,
            &options.large_pages, &options.layout, &options.layout_size)) {
        return NULL;
    }
    if (mapping_header_room(options.layout_size) > UINT16_MAX) {
        PyErr_SetString(PyExc_ValueError, "too long a description");
        return NULL;
    }

    RegionObject *self = NULL;
    wchar_t *name = NULL;
    HANDLE file = NULL;
    HANDLE section = NULL;
    uint64_t maximum;
    BOOL created, same = TRUE, made = FALSE;
    int ok = 0;
    if (mapping_name(options.name, &name) < 0 ||
        wi_security_init(&security, options.security) < 0 ||
        mapping_open_file(&options, &file, &made) < 0 ||
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
                    options.layout != NULL ? 0 : options.size,
                    (options.large_pages ? MAP_LARGE_PAGES : 0) |
                        (options.reserve ? MAP_RESERVED : 0),
                    fresh ? maximum : 0) < 0) {
        goto done;
    }
    if (!created && file != NULL) {
        Py_BEGIN_ALLOW_THREADS
        same = mapping_is_of_file(self->start, file);
        Py_END_ALLOW_THREADS
    }
    if (!same) {
        wi_raise_text(PyExc_FileExistsError, ERROR_ALREADY_EXISTS,
                      "the name is that of a mapping without this file",
                      "CreateFileMappingW", options.name);
        goto done;
    }
    if (options.layout != NULL && created) {
        mapping_header_write(self, options.size, options.layout,
                             options.layout_size);
    }
    else if (options.layout != NULL &&
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
        Py_BEGIN_ALLOW_THREADS
        if (made) {
            mapping_unmake_file(file);
        }
        if (file != NULL) {
            CloseHandle(file);
        }
        Py_END_ALLOW_THREADS
    }
    wi_security_clear(&security);
    PyMem_Free(name);
    return (PyObject *)self;
}

/* ------------------------------------------------------------------- open */

/* A new object for a section. On success the object owns the handle. */
static PyObject *
mapping_adopt(PyObject *cls, HANDLE section, PyObject *name, int access,
              uint64_t offset, uint64_t size, int header)
{
    RegionObject *self = mapping_new(cls, name);
    if (self == NULL) {
        return NULL;
    }
    int failed =
        header ? mapping_map(self, section, access, 0, 0, 0, 0) < 0 ||
                     mapping_header_accept(self, offset, size) < 0
               : mapping_map(self, section, access, offset, size, 0, 0) < 0;
    if (failed) {
        mapping_drop(&self);
    }
    else {
        self->section = section;
    }
    return (PyObject *)self;
}

static PyObject *
mapping_open(PyObject *cls, PyObject *args)
{
    PyObject *name;
    uint64_t offset = 0, size = 0;
    int access = REGION_WRITE, header = 0;
    if (!PyArg_ParseTuple(args, "UiO&O&p:_open", &name, &access,
                          mapping_size_converter, &offset,
                          mapping_size_converter, &size, &header)) {
        return NULL;
    }
    wchar_t *wide;
    if (mapping_name(name, &wide) < 0) {
        return NULL;
    }
    DWORD rights = mapping_section_access(access);
    HANDLE section;
    DWORD err;
    WI_CALL(err,
            section = OpenFileMappingW(rights | SECTION_QUERY, FALSE, wide));
    if (section == NULL && err == ERROR_ACCESS_DENIED) {
        /* Without SECTION_QUERY the size is not known; all else works. */
        WI_CALL(err, section = OpenFileMappingW(rights, FALSE, wide));
    }
    PyMem_Free(wide);
    if (section == NULL) {
        return wi_raise(err, "OpenFileMappingW", name);
    }
    PyObject *self =
        mapping_adopt(cls, section, name, access, offset, size, header);
    if (self == NULL) {
        CloseHandle(section);
    }
    return self;
}

static PyObject *
mapping_from_handle(PyObject *cls, PyObject *args)
{
    PyObject *name = Py_None;
    uint64_t offset = 0, size = 0;
    int access = REGION_WRITE, header = 0;
    HANDLE section;
    wchar_t *wide; /* only to check the name */
    if (!PyArg_ParseTuple(args, "O&iO&O&Op:_from_handle", wi_handle_converter,
                          &section, &access, mapping_size_converter, &offset,
                          mapping_size_converter, &size, &name, &header) ||
        mapping_name(name, &wide) < 0) {
        return NULL;
    }
    PyMem_Free(wide);
    return mapping_adopt(cls, section, name, access, offset, size, header);
}

/* ------------------------------------------------------------------ views */

static PyObject *
mapping_view(PyObject *op, PyObject *args)
{
    RegionObject *self = (RegionObject *)op;
    PyObject *type;
    uint64_t offset = 0, size = 0;
    int access;
    if (!PyArg_ParseTuple(args, "OiO&O&:_view", &type, &access,
                          mapping_size_converter, &offset,
                          mapping_size_converter, &size)) {
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
        /* Offsets begin behind the header; the header's size is the end. */
        uint64_t whole = self->payload;
        if (offset > whole || size > whole - offset || offset == whole) {
            mapping_raise_range(self, offset, size, whole);
            Py_DECREF(view);
            return NULL;
        }
        shift = self->header;
        size = size != 0 ? size : whole - offset;
    }
    self->bytes.pins++; /* the view's, once it is made */
    if (mapping_map(view, self->section, access, shift + offset, size, 0, 0) <
        0) {
        mapping_drop(&view);
        wi_bytes_unpin(op);
        return NULL;
    }
    view->offset = offset;
    view->owner = Py_NewRef(op);
    return (PyObject *)view;
}

/* ----------------------------------------------------------- commit, share */

PyDoc_STRVAR(
    mapping_commit_doc,
    "commit($self, size=0, /)\n--\n\n"
    "Commit at least `size` bytes of a reserved mapping.\n\n"
    "Returns how many bytes can be used now, with those that peers have\n"
    "committed. Committed memory stays so as long as the mapping exists.\n"
    "Any thread; runs without the GIL.\n\n"
    "Raises:\n"
    "    ValueError: `size` is more than was reserved.\n"
    "    TypeError: The mapping is not writable.\n"
    "    OSError: The system is out of memory (winerror 1455,\n"
    "        ERROR_COMMITMENT_LIMIT).\n\n"
    "Win32: VirtualAlloc, VirtualQuery.");

static PyObject *
mapping_commit(PyObject *op, PyObject *args)
{
    RegionObject *self = (RegionObject *)op;
    Py_ssize_t size = 0;
    if (!PyArg_ParseTuple(args, "|O&:commit", wi_size_converter, &size) ||
        wi_bytes_check_open(op) < 0) {
        return NULL;
    }
    if (size > self->total) {
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
            return wi_region_raise(self, err, "VirtualAlloc");
        }
        /* The `with` block may have ended meanwhile. */
        if (wi_bytes_check_open(op) < 0) {
            return NULL;
        }
    }
    SIZE_T usable, total;
    mapping_measure(self->start, self->access, &usable, &total);
    Py_ssize_t mapped = usable > delta ? (Py_ssize_t)(usable - delta) : 0;
    if (mapped > self->mapped) {
        self->mapped = mapped;
        /* Of what peers committed, only whole pages are known. */
        self->bytes.size = size > self->bytes.size ? size : mapped;
        self->exact = size == self->bytes.size;
    }
    else if (size > self->bytes.size) {
        self->bytes.size = size;
        self->exact = 1;
    }
    return PyLong_FromSsize_t(self->bytes.size);
}

static PyObject *
mapping_duplicate(PyObject *op, PyObject *args)
{
    RegionObject *self = (RegionObject *)op;
    DWORD pid;
    int access;
    if (!PyArg_ParseTuple(args, "O&i:_duplicate_to", wi_u32_converter, &pid,
                          &access)) {
        return NULL;
    }
    PyObject *label = PyUnicode_FromFormat("%V", WI_REGION_LABEL(self));
    if (label == NULL) {
        return NULL;
    }
    if (wi_bytes_check_open(op) < 0) {
        Py_DECREF(label);
        return NULL;
    }
    HANDLE copy;
    self->bytes.pins++;
    int failed =
        wi_duplicate_to(pid, self->section,
                        mapping_rights(self->section, access), label, &copy);
    wi_bytes_unpin(op);
    Py_DECREF(label);
    return failed ? NULL : PyLong_FromVoidPtr(copy);
}

/* ------------------------------------------------------------- properties */

static PyObject *
mapping_get_handle(PyObject *op, void *Py_UNUSED(closure))
{
    RegionObject *self = (RegionObject *)op;
    if (wi_bytes_check_open(op) < 0) {
        return NULL;
    }
    return PyLong_FromVoidPtr(self->section);
}

static PyObject *
mapping_get_rights(PyObject *op, void *Py_UNUSED(closure))
{
    RegionObject *self = (RegionObject *)op;
    return PyLong_FromUnsignedLong(
        mapping_rights(self->section, self->access));
}

/* Getter of a field of the header, or None without a header. */
static PyObject *
mapping_get_header(PyObject *op, void *offset)
{
    if (((RegionObject *)op)->header == 0) {
        Py_RETURN_NONE;
    }
    return PyLong_FromUnsignedLong(*(uint32_t *)((char *)op + (size_t)offset));
}

static PyGetSetDef mapping_getset[] = {
    {"owner_pid", mapping_get_header, NULL,
     "The id of the process that created it, as its header says; None\n"
     "without a header.",
     (void *)offsetof(RegionObject, owner_pid)},
    {"layout_version", mapping_get_header, NULL,
     "The version of its header; None without a header.",
     (void *)offsetof(RegionObject, version)},
    {"handle", mapping_get_handle, NULL,
     "The section's handle as an int; this object still owns it.", NULL},
    {"_access", mapping_get_rights, NULL, NULL, NULL},
    {"reserved", wi_region_get_size, NULL,
     "How many bytes commit() can make usable, committed ones included.",
     (void *)offsetof(RegionObject, total)},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef mapping_members[] = {
    {"_described", T_OBJECT, offsetof(RegionObject, described), Py_READONLY,
     "The header that this object found, if it describes a layout."},
    {"created", T_BOOL, offsetof(RegionObject, created), Py_READONLY,
     "True if this object made the mapping, False if it found one."},
    {NULL, 0, 0, 0, NULL},
};

static PyMemberDef view_members[] = {
    {"mapping", T_OBJECT, offsetof(RegionObject, owner), Py_READONLY,
     "The SharedMapping that this is a view of."},
    {NULL, 0, 0, 0, NULL},
};

/* ------------------------------------------------------------------ types */

static PyMethodDef mapping_methods[] = {
    {"_create", mapping_create, METH_VARARGS | METH_CLASS,
     "_create($type, name, size, access, file, offset, exist_ok,\n"
     "security, reserve, large_pages, header, /)\n--\n\nWin32: "
     "CreateFileMappingW, MapViewOfFile."},
    {"_open", mapping_open, METH_VARARGS | METH_CLASS,
     "_open($type, name, access, offset, size, header, /)\n--\n\nWin32: "
     "OpenFileMappingW, MapViewOfFile."},
    {"_from_handle", mapping_from_handle, METH_VARARGS | METH_CLASS,
     "_from_handle($type, handle, access, offset, size, name, header, "
     "/)\n--\n\nWin32: MapViewOfFile."},
    {"_view", mapping_view, METH_VARARGS,
     "_view($self, type, access, offset, size, /)\n--\n\n"
     "Win32: MapViewOfFile."},
    {"commit", mapping_commit, METH_VARARGS, mapping_commit_doc},
    {"_duplicate_to", mapping_duplicate, METH_VARARGS,
     "_duplicate_to($self, pid, access, /)\n--\n\n"
     "Win32: OpenProcess, DuplicateHandle."},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(mapping_doc, "A section and a view of it.");
PyDoc_STRVAR(view_doc, "One more view of a mapping, at another offset.");

static PyType_Slot mapping_slots[] = {
    {Py_tp_doc, (void *)mapping_doc},
    {Py_tp_methods, mapping_methods},
    {Py_tp_members, mapping_members},
    {Py_tp_getset, mapping_getset},
    {0, NULL},
};

static PyType_Slot view_slots[] = {
    {Py_tp_doc, (void *)view_doc},
    {Py_tp_members, view_members},
    {0, NULL},
};

static PyType_Spec mapping_spec = {
    .name = "winipc._core.SharedMapping",
    .basicsize = sizeof(RegionObject),
    .flags = WI_SUBTYPE_FLAGS,
    .slots = mapping_slots,
};

static PyType_Spec view_spec = {
    .name = "winipc._core.MappingView",
    .basicsize = sizeof(RegionObject),
    .flags = WI_SUBTYPE_FLAGS,
    .slots = view_slots,
};

int
wi_mapping_init(PyObject *module, wi_state *state)
{
    if (wi_add_subtype(module, &mapping_spec, state->region_type, NULL) < 0) {
        return -1;
    }
    return wi_add_subtype(module, &view_spec, state->region_type,
                          &state->view_type);
}
