/* regions.c: the address space of a RemoteProcess.
 *
 *     for region in process.regions(paths=True):
 *         print(region.base, region.size, region.path)
 *     with process.alloc(4096) as block:
 *         with process.protect(block.address, 4096, PAGE_READONLY):
 *             ...
 *
 * Owner: nothing here is owned; RemoteBlock frees what it allocates. Thread:
 * any. GIL: given up for each call. process.c has the docs of these methods. */
#include "base/handles.h"
#include "base/nt.h"
#include "process.h"

#define REGIONS_AT_ONCE 256

PyObject *
wi_process_regions(PyObject *op, PyObject *args)
{
    wi_process *self = (wi_process *)op;
    uintptr_t start, stop;
    MEMORY_BASIC_INFORMATION found[REGIONS_AT_ONCE];
    if (!PyArg_ParseTuple(args, "O&O&:_regions", wi_address_converter, &start,
                          wi_address_converter, &stop) ||
        wi_check_open(self, self->handle) < 0) {
        return NULL;
    }
    Py_ssize_t count = 0;
    DWORD err = 0;
    HANDLE target = wi_process_pin(self);
    Py_BEGIN_ALLOW_THREADS
    uintptr_t address = start;
    while (count < REGIONS_AT_ONCE && address < stop) {
        if (!wi_remote_query(target, address, &found[count])) {
            err = GetLastError();
            break;
        }
        uintptr_t end =
            (uintptr_t)found[count].BaseAddress + found[count].RegionSize;
        count++;
        if (end <= address) {
            break; /* the top of the address space */
        }
        address = end;
    }
    Py_END_ALLOW_THREADS
    wi_process_unpin(self);
    /* ERROR_INVALID_PARAMETER (87): beyond the address space. */
    if (count == 0 && err != 0 &&
        (err != ERROR_INVALID_PARAMETER || wi_process_gone(self, 0))) {
        return wi_process_raise(self, err, "VirtualQueryEx",
                                PROCESS_QUERY_INFORMATION);
    }
    PyObject *result = PyList_New(count);
    for (Py_ssize_t i = 0; result != NULL && i < count; i++) {
        const MEMORY_BASIC_INFORMATION *region = &found[i];
        PyObject *row = Py_BuildValue(
            "(KKkkkKk)", (unsigned long long)(uintptr_t)region->BaseAddress,
            (unsigned long long)region->RegionSize, region->State,
            region->Protect, region->Type,
            (unsigned long long)(uintptr_t)region->AllocationBase,
            region->AllocationProtect);
        if (row == NULL || PyList_SetItem(result, i, row) < 0) {
            Py_CLEAR(result);
        }
    }
    return result;
}

PyObject *
wi_process_mapped_name(PyObject *op, PyObject *value)
{
    wi_process *self = (wi_process *)op;
    uintptr_t address;
    wi_ntstatus status;
    PyObject *result = NULL;
    const size_t room = sizeof(wi_unicode_string) + 2 * WI_PATH_ROOM;
    if (!wi_address_converter(value, &address)) {
        return NULL;
    }
    /* Not GetMappedFileName, which has room for 260 characters only. */
    wi_unicode_string *name = PyMem_Malloc(room);
    if (name == NULL) {
        return PyErr_NoMemory();
    }
    if (wi_check_open(self, self->handle) < 0) {
        goto done;
    }
    HANDLE handle = wi_process_pin(self);
    Py_BEGIN_ALLOW_THREADS
    status = NtQueryVirtualMemory(handle, (void *)address, WI_MAPPED_FILE_NAME,
                                  name, room, NULL);
    Py_END_ALLOW_THREADS
    wi_process_unpin(self);
    /* It fails for memory without a file. */
    result =
        WI_NT_SUCCESS(status)
            ? PyUnicode_FromWideChar(
                  name->buffer, (Py_ssize_t)(name->length / sizeof(wchar_t)))
            : Py_NewRef(Py_None);
done:
    PyMem_Free(name);
    return result;
}

PyObject *
wi_process_change(PyObject *op, PyObject *args)
{
    static const struct {
        const char *name, *api;
    } kinds[] = {
        [WI_VM_ALLOC] = {"alloc", "VirtualAllocEx"},
        [WI_VM_PROTECT] = {"protect", "VirtualProtectEx"},
        [WI_VM_FREE] = {"free", "VirtualFreeEx"},
    };
    wi_process *self = (wi_process *)op;
    wi_vm_call call = {.kind = WI_VM_QUERY};
    const char *name;
    Py_ssize_t size;
    uintptr_t result;
    DWORD err;
    if (!PyArg_ParseTuple(args, "sO&O&O&O&:_change", &name,
                          wi_address_converter, &call.address,
                          wi_size_converter, &size, wi_u32_converter,
                          &call.type, wi_u32_converter, &call.protection)) {
        return NULL;
    }
    for (int i = WI_VM_ALLOC; i <= WI_VM_FREE; i++) {
        if (strcmp(name, kinds[i].name) == 0) {
            call.kind = (wi_vm_kind)i;
        }
    }
    /* Only VirtualFreeEx takes 0: all of the allocation. */
    if (size < (call.kind == WI_VM_FREE ? 0 : 1)) {
        PyErr_SetString(PyExc_ValueError, "size must be >= 1");
        return NULL;
    }
    if (call.kind == WI_VM_QUERY) {
        PyErr_Format(PyExc_ValueError, "cannot %s", name);
        return NULL;
    }
    if (wi_check_open(self, self->handle) < 0) {
        return NULL;
    }
    call.size = (size_t)size;
    call.process = wi_process_pin(self);
    WI_CALL(err, result = wi_remote_vm(&call));
    wi_process_unpin(self);
    wi_process_changed(self, call.address, SIZE_MAX);
    if (result == 0) {
        return wi_process_raise(self, err, kinds[call.kind].api,
                                PROCESS_VM_OPERATION);
    }
    return PyLong_FromSize_t(call.kind == WI_VM_PROTECT ? call.protection
                                                        : result);
}
